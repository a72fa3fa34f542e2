import json

import numpy as np
import pyarrow.parquet
import pytest

import hitfinder as hf


def spread_spot(frame, ss, fs, photons, rng):
    at = np.floor(rng.normal([ss, fs], 0.5, (photons, 2))).astype(int)
    np.add.at(frame, tuple(at.T), 1)


@pytest.fixture
def with_rays(water_like, small_geometry):
    """Frames of which one in ten has a crystal and one in five a lone bright pixel; which."""
    rng = np.random.default_rng(1)
    frames = rng.poisson(0.02 * water_like, (80, *water_like.shape)).astype(np.uint16)
    crystal, ray = np.arange(80) % 10 == 0, np.arange(80) % 5 == 2
    for k in np.flatnonzero(crystal):
        for ss, fs in rng.uniform((215, 10), (390, 400), (4, 2)):
            spread_spot(frames[k], ss, fs, 25, rng)
    good = np.argwhere(~small_geometry.detector.full_mask)
    for k in np.flatnonzero(ray):
        frames[(k, *good[rng.integers(len(good))])] += rng.integers(10, 300)
    return frames, crystal, ray


@pytest.mark.parametrize("finder", ["likelihood", "network"])
def test_frames_with_a_ray_are_no_hits_and_it_is_said(
    with_rays, small_geometry, tmp_path, finder, caplog
):
    frames, crystal, ray = with_rays
    run = hf.run(frames, tmp_path, geometry=small_geometry, finder=finder, workers=1)
    hit, doubt = (run.frames[name].to_numpy() for name in ("hit", "doubt"))
    assert hit[crystal].all()
    assert (hit & ray).sum() <= 1
    assert (doubt[ray] == "one-pixel").all()
    assert not doubt[crystal].astype(bool).any()
    assert run.summary.hits == hit.sum() == len((tmp_path / "hits.lst").read_text().splitlines())
    assert run.summary.doubted_frames == (ray & ~hit).sum()
    told = json.loads((tmp_path / "run.json").read_text())["doubts"]
    assert 0.1 < told["lone_things_per_blank_frame"] < 0.4
    assert 'id="doubts"' in run.report.read_text()
    assert "rest on one bright pixel" in caplog.text


def test_a_run_without_doubt_says_nothing_of_it(water_like, small_geometry, tmp_path, caplog):
    rng = np.random.default_rng(5)
    frames = rng.poisson(0.02 * water_like, (12, *water_like.shape)).astype(np.uint16)
    run = hf.run(frames, tmp_path, geometry=small_geometry, finder="likelihood", workers=1)
    assert (run.summary.doubtful_hits, run.summary.doubted_frames) == (0, 0)
    assert 'id="doubts"' not in run.report.read_text()
    assert "rest on one" not in caplog.text


def test_a_single_frame_that_rests_on_a_pixel_is_told_apart(water_like, small_geometry, tmp_path):
    frame = np.random.default_rng(3).poisson(0.02 * water_like).astype(np.uint16)
    frame[90, 300] += 40
    run = hf.run(frame[None], tmp_path, geometry=small_geometry, finder="likelihood", workers=1)
    table = pyarrow.parquet.read_table(tmp_path / "frames.parquet").to_pylist()[0]
    assert table["doubt"] == "one-pixel"
    assert table["score"] > 2
    assert run.summary.hits + run.summary.doubted_frames == 1
