"""Frames with more spots, or more that may be one, than most have."""

import math

import numpy as np
import pytest

from hitfinder.finding import candidates, likelihood
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.rings import Rings
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.metrics.matching import match_peaks
from hitfinder.network.finder import NetworkFinder

STEP, PHOTONS, SIGMA = 14, 300, 1.2


@pytest.fixture(scope="module")
def crowd():
    """5,328 equal spots of 300 photons all over an EIGER2 X 1M, over one photon a pixel."""
    geometry = Geometry(named_detector("eiger2-x-1m"), 0.15, 9000.0)
    n_ss, n_fs = geometry.shape
    rng = np.random.default_rng(0)
    places = np.mgrid[10 : n_ss - 10 : STEP, 10 : n_fs - 10 : STEP].reshape(2, -1).T
    centres = places + rng.uniform(0, 1, places.shape)
    frame = rng.poisson(1.0, geometry.shape)
    photons = np.repeat(centres, PHOTONS, 0)
    ss, fs = np.floor(rng.normal(photons, SIGMA)).astype(int).T
    np.add.at(frame, (ss, fs), 1)
    gap = np.pad(geometry.detector.full_mask, 6, mode="edge")
    near = [gap[int(y) : int(y) + 13, int(x) : int(x) + 13].any() for y, x in centres]
    return geometry, frame.astype(np.uint16), centres[~np.array(near)]


@pytest.mark.parametrize("finder", [LikelihoodFinder, NetworkFinder])
def test_five_thousand_spots_are_all_found(crowd, finder):
    geometry, frame, centres = crowd
    assert len(centres) > 5000
    result = finder(geometry)(frame)
    found = np.stack([result.peaks["ss"], result.peaks["fs"]], 1)
    assert len(match_peaks(found, centres, 1.5).missed) == 0
    assert len(found) < 1.03 * 5328
    assert result.peaks["n_pixels"].max() < 250
    assert not result.peaks_left_out


def test_of_more_peaks_than_are_looked_at_the_best_are_taken(crowd, monkeypatch):
    geometry, frame, _ = crowd
    monkeypatch.setattr(likelihood, "MOST_PEAKS", 300)
    everything = frame.copy()
    everything[700:, 500:] *= 3
    result = LikelihoodFinder(geometry)(everything)
    assert result.peaks_left_out
    # Of 300 that are looked at, two may be pieces of one spot.
    assert 298 <= len(result.peaks) <= 300
    bright = (result.peaks["ss"] > 690) & (result.peaks["fs"] > 490)
    assert bright.mean() > 0.99


def test_of_more_candidates_than_there_is_room_for_the_strongest_are_kept(small_geometry):
    rings = Rings.of(small_geometry)
    rng = np.random.default_rng(4)
    work = rng.poisson(0.1, small_geometry.shape).astype(np.int32)
    weak = rng.permutation(np.flatnonzero(rings.index >= 0))[:6000]
    work.flat[weak] += 5
    strong = rng.permutation(weak)[:100]
    work.flat[strong] += 40
    work[rings.index < 0] = -1
    rate = np.full(rings.q.size, 0.1)
    everything, dropped = candidates.CandidateSearch(rings, math.log(1e-4)).find(work, rate)
    assert not dropped
    most = len(everything) // 12
    kept, dropped = candidates.CandidateSearch(rings, math.log(1e-4), most).find(work, rate)
    assert dropped
    assert most // 2 <= len(kept) <= 2 * most
    of = {tuple(place) for place in kept.tolist()}
    assert of < {tuple(place) for place in everything.tolist()}
    assert {tuple(np.divmod(at, work.shape[1])) for at in strong.tolist()} <= of
    assert (np.diff(kept[:, 0]) >= 0).all()


def test_a_plateau_of_equal_candidates_leaves_as_many_as_there_is_room_for(small_geometry):
    rings = Rings.of(small_geometry)
    work = np.where(rings.index >= 0, 50, -1).astype(np.int32)
    search = candidates.CandidateSearch(rings, math.log(1e-4), 1000)
    kept, dropped = search.find(work, np.full(rings.q.size, 1e-3))
    assert dropped
    assert len(kept) >= 1000
