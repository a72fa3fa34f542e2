"""The read-out of detectors that do not count."""

import json

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.errors import ConfigError

SMALL = {"detector": "eiger2-x-500k", "uniform": 0.02, "water_um": 0.0, "blank_fraction": 1.0}


def values(**changes):
    simulator = hf.Simulator.preset("single-shot", n=2, **SMALL, **changes)
    return [frame for frame, _ in simulator], simulator.geometry


@pytest.mark.parametrize("adu", [1.0, 10.0])
def test_values_are_photons_with_noise(adu):
    (first, second), _ = values(read_noise=0.2, adu_per_photon=adu)
    (counts, _), _ = values()
    assert first.dtype == np.float32
    noise = first / adu - counts
    assert noise.mean() == pytest.approx(0, abs=0.002)
    assert noise.std() == pytest.approx(0.2, rel=0.01)
    assert not np.array_equal(first, second)
    again, _ = values(read_noise=0.2, adu_per_photon=adu)
    np.testing.assert_array_equal(again[1], second)


def test_each_panel_has_an_offset_in_each_frame():
    frames, geometry = values(read_noise=0.1, common_mode=0.3)
    offsets = [np.median(frame[panel.slices]) for frame in frames for panel in geometry.detector]
    assert len(set(np.round(offsets, 3))) == len(offsets)
    assert 0.1 < np.std(offsets) < 0.6


def test_shared_photons_are_parted_and_not_lost():
    (shared, _), _ = values(read_noise=1e-6, shared_fraction=0.4)
    (counts, _), _ = values()
    assert shared.sum() == pytest.approx(counts.sum(), rel=0.005)
    single = counts == 1
    whole = np.abs(shared[single] - 1) < 1e-3
    assert whole.mean() == pytest.approx(0.58, abs=0.05)
    assert shared[single].min() > 0.45


def test_values_are_rounded_to_whole_adu():
    (frame, _), _ = values(read_noise=0.2, adu_per_photon=3.0, whole_adu=True)
    np.testing.assert_array_equal(frame, np.rint(frame))
    assert np.std(frame[frame < 2]) == pytest.approx(0.6, rel=0.15)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"read_noise": -0.1}, "read_noise must not be negative"),
        ({"read_noise": 0.1, "shared_fraction": 2.0}, "shared_fraction must be in 0..1"),
        ({"read_noise": 0.1, "adu_per_photon": 0.0}, "adu_per_photon must be positive"),
        ({"adu_per_photon": 10.0}, "are of a detector with read_noise"),
    ],
)
def test_impossible_read_outs_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        values(**given)


def test_a_simulated_run_is_found_with_the_geometry_beside_it(tmp_path):
    given = {**SMALL, "blank_fraction": 0.0, "flux": 3e8, "camera_length_m": 0.12}
    noise = {"read_noise": 0.2, "adu_per_photon": 10.0, "common_mode": 0.1}
    made = hf.simulate(tmp_path / "sim", n=2, workers=1, seed=3, **given, **noise)
    run = hf.run(
        made, tmp_path / "run", geometry=made.geometry_file, finder="likelihood", workers=1
    )
    told = json.loads((run.folder / "run.json").read_text())["geometry"]
    assert told["adu_per_photon"] == 10
    assert told["noise_photons"] == pytest.approx(0.2, rel=0.05)
    judged = hf.compare(run.peaks, made.truth, min_photons=15)
    assert judged.recall > 0.9
    with pytest.raises(hf.HitfinderError, match="Give --adu-per-photon 10"):
        hf.run(made, tmp_path / "other", finder="likelihood", workers=1)
