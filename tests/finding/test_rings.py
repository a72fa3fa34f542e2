"""Pixels sorted into rings, against plain NumPy."""

import numpy as np

from hitfinder.finding.rings import Rings


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
