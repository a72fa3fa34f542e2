import numpy as np
import pytest

from hitfinder.finding import controls
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.texture import N_OCTANTS, neighbourhood


@pytest.mark.parametrize("level", [0.01, 2.0])
@pytest.mark.parametrize("is_listed", [False, True])
def test_control_points_are_neighbourhoods(finder, level, is_listed):
    """What is known beforehand, and the pixels that are not 0, make the sums over all pixels."""
    rng, rings = np.random.default_rng(8), finder.rings
    maps = rings.index, rings.position, rings.weight
    work = rng.poisson(level, rings.index.shape).astype(np.int32)
    work[rings.index < 0] = -1
    if not is_listed:
        work[rng.random(work.shape) < 0.01] = -1
        work[:30] = -1
    at = np.flatnonzero(work > 0).astype(np.int32)
    rows = np.searchsorted(at, np.arange(work.shape[0] + 1) * work.shape[1])
    listed = (at, rows) if is_listed else (at[:0], rows[:0])
    rate = level * rng.uniform(0.5, 2, rings.q.size)
    bright = critical_counts(rate, -4.0)
    points = controls.ControlPoints.of(rings)
    sums, known = np.empty((2, N_OCTANTS, 4))
    for (i, j), first, parts in zip(points.at.tolist(), points.first, points.parts, strict=True):
        neighbourhood(i, j, 1.0, work, *maps, rate, bright, known)
        controls._expect(first, parts, rate, sums)
        controls._enter_counts(i, j, bright.min(), work, *maps, rate, bright, *listed, sums)
        assert np.allclose(sums, known, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("level", "texture"), [(0.2, 0.0), (5.0, 0.0), (5.0, 0.04), (20.0, 0.01)])
def test_texture_put_in_is_measured(finder, level, texture):
    """Blocks of 40 pixels, twice a neighbourhood, keep nearly all of their variance in it."""
    rng = np.random.default_rng(9)
    rings = finder.rings
    shape = rings.index.shape
    blocks = rng.gamma(1 / texture, texture, (11, 11)) if texture else np.ones((11, 11))
    bumps = np.kron(blocks, np.ones((40, 40)))[: shape[0], : shape[1]]
    work = rng.poisson(level * rings.weight * bumps).astype(np.int32)
    work[rings.index < 0] = -1
    points = controls.ControlPoints.of(rings)
    maps = rings.index, rings.position, rings.weight
    rate = np.full(rings.q.size, level)
    bright = critical_counts(rate * rings.weight_range[1] * 2, -9.0)
    nothing = np.empty(0, np.int32), np.empty(0, np.int64)
    measured = controls.texture_variance(
        *(points.at, points.first, points.parts, work, *maps, rate, bright, *nothing)
    )
    if texture:
        assert 0.4 * texture < measured < 1.5 * texture
    else:
        assert measured < 0.002
