"""Where an indexed crystal's reflections are on the picture of a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.orientation import COLUMNS
from hitfinder.monitor.layout import Layout

MOST_INDEX, MOST_NODES = 400, 3_000_000
"""Of a reflection's indices, and of lattice nodes that are tried."""

MOST = 2000
"""Reflections that are shown, those of the lowest resolution first."""


def predicted(
    crystal: Mapping[str, Any], layout: Layout, bandwidth: float, resolution_a: float
) -> dict[str, NDArray]:
    """Return the reflections that the spectrum of the beam lets diffract.

    A node g of the reciprocal lattice diffracts at k = −|g|²/(2 g_z), where k is 1/λ and the beam
    is along z; its ray leaves along g + k z.

    Parameters
    ----------
    crystal : mapping
        A row of the table of crystals: the components of a*, b*, c* in the laboratory, in 1/m.
    layout : Layout
        Where the pixels are.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    resolution_a : float
        To which reflections are wanted, in Å.

    Returns
    -------
    dict of str to ndarray
        ``column`` and ``row`` on the picture, and ``h``, ``k``, ``l``.
    """
    geometry = layout.geometry
    star = np.array([crystal[name] for name in COLUMNS], float).reshape(3, 3)
    k0, reach = 1e10 / geometry.wavelength_a, 1e10 / resolution_a
    # |h| is at most |g| |a|, as h = g · a.
    cell = np.linalg.inv(star).T
    most = np.minimum(np.floor(reach * np.linalg.norm(cell, axis=1)).astype(int), MOST_INDEX)
    nothing = {name: np.empty(0) for name in ("column", "row", "h", "k", "l")}
    if np.prod(2 * most.astype(float) + 1) > MOST_NODES:
        return nothing
    ranges = [np.arange(-n, n + 1) for n in most]
    hkl = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3)
    g = hkl @ star
    g2 = (g**2).sum(axis=1)
    use = (g2 > 0) & (g2 <= reach**2) & (g[:, 2] < 0)
    hkl, g, g2 = hkl[use], g[use], g2[use]
    k = -g2 / (2 * g[:, 2])
    use = np.abs(k / k0 - 1) <= bandwidth / 2
    hkl, g, g2, k = hkl[use], g[use], g2[use], k[use]
    order = np.argsort(g2, kind="stable")[:MOST]
    hkl, g, k = hkl[order], g[order], k[order]
    ray = g + k[:, None] * [0, 0, 1]
    forward = ray[:, 2] > 0
    at = geometry.camera_length_m * ray[forward, :2] / ray[forward, 2:]
    view = layout.view
    places = (at @ view.axes.T - view.origin) / view.pitch_m
    inside = ((places >= 0) & (places < view.shape[::-1])).all(axis=1)
    h, k_index, l_index = hkl[forward][inside].T
    column, row = places[inside].T
    return {"column": column, "row": row, "h": h, "k": k_index, "l": l_index}
