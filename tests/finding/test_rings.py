"""Pixels sorted into rings, against plain NumPy."""

import dataclasses

import numpy as np

from hitfinder.finding.rings import Rings, ring_centres


def test_numbers_of_each_ring_are_those_of_its_pixels(small_geometry):
    rings = Rings.of(small_geometry)
    masked = small_geometry.detector.full_mask
    np.testing.assert_array_equal(rings.index < 0, masked)
    assert rings.n_pixels.sum() == (~masked).sum()
    assert (rings.n_pixels > 1).sum() > 100
    for ring in range(len(rings.n_pixels)):
        weight = rings.weight[rings.index == ring].astype(float)
        assert rings.n_pixels[ring] == len(weight)
        if len(weight):
            assert rings.weight_range[:, ring].tolist() == [weight.min(), weight.max()]
            np.testing.assert_allclose(rings.weight_sum[ring], weight.sum(), rtol=1e-6)
        else:
            assert rings.weight_range[:, ring].tolist() == [0, 0]


def test_the_centres_alone_are_those_of_the_rings(small_geometry):
    assert np.array_equal(ring_centres(small_geometry), Rings.of(small_geometry).q)


def test_the_rings_of_a_geometry_are_sorted_once_and_those_of_another_mask_anew(small_geometry):
    rings = Rings.of(small_geometry)
    assert Rings.of(small_geometry) is rings
    mask = np.zeros(small_geometry.shape, bool)
    mask[:5] = True
    masked = dataclasses.replace(small_geometry, detector=small_geometry.detector.with_mask(mask))
    assert (Rings.of(masked).index[:5] == -1).all()
    assert (rings.index[:5] >= 0).all()
