"""Rings of ice, in profiles made here and in frames that are simulated with ice."""

import numpy as np
import pytest

from hitfinder.crystal.ice import ICE_A
from hitfinder.monitor.ice import ice_rings

Q = np.arange(0.1, 2.3, 0.005)
N_READINGS = np.full(len(Q), 4000 * 200)


def water(q):
    """Return something like the light of water: a broad ring at 3.2 Å."""
    return 0.004 * (0.5 + np.exp(-0.5 * ((q - 2.0) / 0.3) ** 2))


def counted(level, seed=1):
    """Return the mean of counted photons."""
    return np.random.default_rng(seed).poisson(level * N_READINGS) / N_READINGS


def with_rings(heights):
    level = water(Q)
    for resolution, height in heights.items():
        at = 2 * np.pi / resolution
        level = level + height * water(at) * np.exp(-0.5 * ((Q - at) / 0.008) ** 2)
    return counted(level)


def test_water_alone_has_no_rings_of_ice():
    for seed in range(20):
        assert ice_rings(Q, counted(water(Q), seed), N_READINGS) == []


def test_rings_are_found_with_their_height():
    found = ice_rings(Q, with_rings({3.897: 0.5, 3.669: 1.0}), N_READINGS)
    assert [ring.resolution_a for ring in found] == [3.897, 3.669]
    # The mean over the width of a ring is lower than its top.
    assert found[1].excess == pytest.approx(2 * found[0].excess, rel=0.2)
    assert 0.3 < found[1].excess < 1


def test_a_ring_of_something_else_is_none():
    assert ice_rings(Q, with_rings({4.5: 1.0, 3.79: 1.0}), N_READINGS) == []


def test_what_cannot_be_seen_is_not_denied():
    few = np.full(len(Q), 10)
    assert ice_rings(Q, water(Q), few) is None
    near = Q < 1.5
    assert ice_rings(Q[near], water(Q[near]), N_READINGS[near]) is None
    assert ice_rings(Q, np.full(len(Q), np.nan), N_READINGS) is None
    assert max(ICE_A) == ICE_A[0]
