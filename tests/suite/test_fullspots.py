"""Spots of a full frame, and of a real one, thinned."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.suite import thinned
from hitfinder.suite.fullspots import full_spots, read_seen

REAL = Path(__file__).parents[3] / "shared" / "data" / "real"
PILATUS = REAL / "DLS_I03_smargon_0001.cbf.gz"
PLACES = [(20, 30), (60, 80), (90, 15)]


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    out = rng.poisson(0.5, (120, 100))
    for row, column in PLACES:
        out[row : row + 2, column : column + 2] += rng.poisson(15, (2, 2))
    return out


def test_planted_spots_are_certain_and_noise_is_not(counts):
    spots = full_spots(counts, np.zeros(counts.shape, bool), {}, 3.0)
    certain = spots.table[spots.table["certain"]]
    at = sorted(zip(np.rint(certain["ss"] - 1), np.rint(certain["fs"] - 1), strict=True))
    assert at == sorted(PLACES)
    assert np.all(np.abs(certain["photons"] - 60) < 30)


def test_a_spot_no_other_finder_saw_is_not_certain_and_what_they_saw_is_no_false_peak(counts):
    seen = {"other": np.array([[31.0, 21.0], [50.0, 50.0]])}
    spots = full_spots(counts, np.zeros(counts.shape, bool), seen, 3.0)
    assert spots.table["certain"].sum() == 1
    last = spots.table[-1]
    assert (last["fs"], last["ss"], last["photons"]) == (50, 50, 0)


def test_nothing_is_found_where_nothing_is():
    spots = full_spots(np.zeros((40, 40), int), np.zeros((40, 40), bool), {}, 3.0)
    assert len(spots.table) == 0


def test_a_window_around_a_pixel_below_the_mean_has_a_place():
    counts = np.full((60, 60), 2)
    counts[29:32, 39:42] = 5
    counts[30, 40] = 1
    table = full_spots(counts, np.zeros(counts.shape, bool), {}, 3.0).table
    assert [(spot["fs"], spot["ss"], spot["n_pixels"]) for spot in table] == [(40.5, 30.5, 1)]


def test_thinned_spots_hold_the_share_of_their_photons(counts):
    spots = full_spots(counts, np.zeros(counts.shape, bool), {}, 3.0)
    rng = np.random.default_rng(1)
    mean = np.mean([spots.net_photons(rng.binomial(counts, 0.1), 0.1) for _ in range(400)], 0)
    assert mean == pytest.approx(0.1 * spots.table["photons"], abs=0.6)


def test_a_list_of_peaks_with_other_columns_is_refused(tmp_path):
    path = tmp_path / "seen.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(SourceError, match="Columns: finder, fs, ss"):
        read_seen(path)


@pytest.mark.slow
@pytest.mark.skipif(not PILATUS.exists(), reason="the real frames are not here")
def test_a_measured_frame_becomes_conditions():
    full = thinned.FullFrame(PILATUS)
    assert full.geometry.detector.name == "pilatus-6m"
    assert full.geometry.photon_energy_ev == pytest.approx(12700, abs=1)
    assert 150 < full.spots.table["certain"].sum() < 500
    recipes = thinned.recipes(full)
    assert [r.condition.groups for r in recipes] == [("3 %",), ("1 %",), ("0.3 %",)]
    frame, spots = recipes[0].hit(np.random.default_rng(0), 0)
    assert frame.sum() == pytest.approx(0.03 * full.counts.sum(), rel=0.02)
    assert spots["must"].any()


def test_a_frame_of_a_file_of_many_is_chosen_by_its_number(tmp_path):
    frames = np.random.default_rng(1).poisson(1.0, (3, 40, 50)).astype(np.uint16)
    with h5py.File(tmp_path / "run_master.h5", "w") as file:
        file["entry/data/data"] = frames
        detector = file.create_group("entry/instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        for name, value in (("beam_center_x", 200.0), ("beam_center_y", 20.0)):
            detector[name] = value
        for name, value in (
            ("detector_distance", 0.1),
            ("x_pixel_size", 75e-6),
            ("y_pixel_size", 75e-6),
        ):
            detector[name] = value
            detector[name].attrs["units"] = "m"
        file["entry/instrument/beam/incident_energy"] = 9000.0
        file["entry/instrument/beam/incident_energy"].attrs["units"] = "eV"
    with pytest.raises(SourceError, match="holds 3 frames"):
        thinned.FullFrame(tmp_path / "run_master.h5")
    full = thinned.FullFrame(tmp_path / "run_master.h5", number=2)
    assert np.array_equal(full.counts, frames[2])


def test_a_file_that_says_nothing_of_its_geometry_is_refused(tmp_path):
    np.save(tmp_path / "frame.npy", np.zeros((1, 195, 487), np.uint16))
    with pytest.raises(HitfinderError):
        thinned.FullFrame(tmp_path / "frame.npy")
