"""What the search for static places counts with, against SciPy's own functions."""

import gc
import weakref

import numpy as np
import pytest
from scipy import ndimage, stats

from hitfinder.finding.rings import Rings
from hitfinder.finding.static.drawing import chance_between
from hitfinder.finding.static.learner import StaticLearner
from hitfinder.finding.static.near import grown


@pytest.mark.parametrize("reach", [0, 1, 2, 5])
def test_a_mask_grows_by_squares(reach):
    mask = np.random.default_rng(reach).random((40, 30)) < 0.01
    mask[0, 0] = mask[-1, 7] = True
    square = np.ones((2 * reach + 1, 2 * reach + 1), bool)
    assert np.array_equal(grown(mask, reach), ndimage.binary_dilation(mask, square))


def test_a_mask_grows_beyond_what_there_is():
    assert grown(np.array([[True, False]]), 3).all()


def test_the_chance_of_marked_ones_among_those_drawn():
    rng, n = np.random.default_rng(0), 64
    marked, drawn, k = rng.integers(0, n + 1, (3, 500))
    below = chance_between(0, k, n, marked, drawn)
    beyond = chance_between(k, np.inf, n, marked, drawn)
    assert below == pytest.approx(stats.hypergeom.cdf(k, n, marked, drawn), rel=1e-9, abs=1e-300)
    assert beyond == pytest.approx(
        stats.hypergeom.sf(k - 1, n, marked, drawn), rel=1e-9, abs=1e-300
    )


def test_the_maps_of_a_learner_go_with_it(small_geometry):
    learner = StaticLearner(small_geometry)
    learner.prepare()
    rings = weakref.ref(Rings.of(learner.geometry))
    assert rings() is not None
    gc.disable()
    try:
        del learner
        assert rings() is None
    finally:
        gc.enable()
