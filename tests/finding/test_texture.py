import numpy as np
import pytest

from hitfinder.finding import texture as local
from hitfinder.finding.poisson import critical_counts


def window(values, i, j, outside):
    """Values around pixel (i, j), one by one."""
    reach = range(-local.OUTER, local.OUTER + 1)
    n_ss, n_fs = values.shape
    return [
        [
            values[i + k, j + m] if 0 <= i + k < n_ss and 0 <= j + m < n_fs else outside
            for m in reach
        ]
        for k in reach
    ]


def test_neighbourhoods_are_cut_out_where_they_are():
    rng = np.random.default_rng(8)
    values = rng.integers(1, 1000, (40, 51), np.int32)
    points = np.array([[0, 0], [39, 50], [20, 25], [3, 47]], np.int32)
    found = local.patches(points, values)
    patch = np.empty((local.SIDE, local.SIDE), np.int32)
    for p, (i, j) in enumerate(points):
        assert found[p].tolist() == window(values, i, j, 0)
        local._cut_out(i, j, values, patch)
        assert patch.tolist() == window(values, i, j, -1)


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
    points = local.control_points(rings.index < 0)
    maps = [local.patches(points, m) for m in (rings.index, rings.position, rings.weight)]
    rate = np.full(rings.q.size, level)
    bright = critical_counts(rate * rings.weight_range[1] * 2, -9.0)
    measured = local.texture_variance(points, work, *maps, rate, bright)
    if texture:
        assert 0.4 * texture < measured < 1.5 * texture
    else:
        assert measured < 0.002
