import numpy as np
import pytest

from hitfinder.finding.crowded import crowded_rings
from hitfinder.network.finder import NetworkFinder


def test_a_ring_with_far_more_than_the_rings_around_it_is_crowded():
    rng = np.random.default_rng(1)
    ring = np.concatenate([rng.integers(0, 700, 200), rng.integers(300, 302, 15)])
    found = np.flatnonzero(crowded_rings(ring, 700))
    assert {300, 301} <= set(found) <= set(range(298, 304))


def test_candidates_on_masked_pixels_are_of_no_ring():
    assert not crowded_rings(np.full(30, -1), 700).any()
    found = crowded_rings(np.array([-1] * 20 + [40] * 20), 700)
    assert np.flatnonzero(found).tolist() == [38, 39, 40, 41, 42]
    assert not crowded_rings(np.full(20, -1), 1).any()
    assert crowded_rings(np.zeros(20, int), 2).shape == (2,)


@pytest.mark.parametrize("n", [0, 5, 300, 5000])
def test_candidates_of_all_rings_are_not(n):
    assert not crowded_rings(np.random.default_rng(2).integers(0, 700, n), 700).any()


def test_many_rings_with_some_are_not_crowded():
    # As many peaks as the rings are long: hundreds, more outside.
    rng = np.random.default_rng(3)
    assert not crowded_rings((700 * np.sqrt(rng.random(1500))).astype(int), 700).any()


@pytest.fixture(scope="module")
def off_centre(sharp_ring):
    """Expected photons with a sharp ring, and a finder whose beam centre is 3 pixels off."""
    expected, geometry = sharp_ring
    return expected, NetworkFinder(geometry)


def test_a_sharp_ring_off_centre_makes_no_hit(off_centre):
    expected, finder = off_centre
    rng = np.random.default_rng(4)
    results = [finder(rng.poisson(expected).astype("u2")) for _ in range(40)]
    assert sum(result.hit for result in results) <= 4
    assert sum(len(result.peaks) for result in results) <= 4


def test_peaks_beside_a_sharp_ring_off_centre_are_found(off_centre):
    expected, finder = off_centre
    rng = np.random.default_rng(5)
    frame = rng.poisson(expected).astype("u2")
    spots = np.array([(80, 90), (300, 340), (60, 330), (330, 60), (200, 260)])
    frame[spots[:, 0], spots[:, 1]] += 40
    result = finder(frame)
    assert result.hit
    at = np.stack([result.peaks["ss"], result.peaks["fs"]], 1)
    assert len(at) <= len(spots) + 1
    assert np.abs(at[:, None] - spots - 0.5).max(axis=2).min(axis=0).max() < 1
