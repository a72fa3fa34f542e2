"""The absolute scale of structure factors, by Wilson statistics."""

from __future__ import annotations

import dataclasses
import logging

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.reflections import StructureFactors, space_group

LOGGER = logging.getLogger("hitfinder.crystal")

FAR_OFF = 5.0
"""Factor by which |F|² may differ from those of an average protein: contents of cells differ."""

LEAST_VOLUME_A3 = 20_000.0
"""Smallest cell that is taken for that of a protein."""

LEAST_REFLECTIONS = 200
_RESOLVED_A = 4.5
"""Resolution beyond which |F|² falls off as those of independent atoms do."""

_USUAL_B_A2 = 25.0
_BINS = 20
_ATOMS_PER_A3 = 0.041
"""Atoms other than hydrogen per Å³ of cell half filled with protein (1IC6: 0.042)."""


def protein_mean(cell: Cell, stol2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean |F|² of an average protein that fills half of a cell, atoms at rest.

    Σ f² (A. J. C. Wilson, Acta Cryst. 2, 318 (1949)) over atoms that are C (63 %), N (17 %) and
    O (20 %); reflections of a factor ε have ε times as much.

    Parameters
    ----------
    cell : Cell
        Unit cell.
    stol2 : ndarray of float64, shape (n,)
        (sin θ / λ)² of the reflections, in Å⁻².

    Returns
    -------
    ndarray of float64, shape (n,)
        In e².
    """
    mean = np.zeros_like(stol2)
    for name, share in (("C", 0.63), ("N", 0.17), ("O", 0.20)):
        table = gemmi.Element(name).it92
        gaussians = np.exp(-np.outer(stol2, table.b)) @ np.array(table.a)
        mean += share * (gaussians + table.c) ** 2
    return mean * _ATOMS_PER_A3 * cell.volume_a3


def wilson_scale(table: StructureFactors) -> float | None:
    """Return the factor of |F|² over those of an average protein in the cell.

    The ordinate of a Wilson plot: ln of the mean ratio against sin²θ/λ², whose slope is the overall
    B factor. A list that ends before 4.5 Å gets a usual B.

    Returns
    -------
    float or None
        None if the cell is too small for a protein, or the reflections are too few.
    """
    hkl = np.asarray(table.hkl, np.int32)
    if table.cell.volume_a3 < LEAST_VOLUME_A3 or len(hkl) < LEAST_REFLECTIONS:
        return None
    stol2 = table.cell.inv_d_squared(hkl) / 4
    epsilon = space_group(table.space_group_name).operations().epsilon_factor_array(hkl)
    ratio = table.f_squared / (protein_mean(table.cell, stol2) * epsilon)
    fine = stol2 > 1 / (2 * _RESOLVED_A) ** 2
    if fine.sum() < LEAST_REFLECTIONS:
        scale = float(np.mean(ratio * np.exp(2 * _USUAL_B_A2 * stol2)))
        return scale if scale > 0 else None
    order = np.flatnonzero(fine)[np.argsort(stol2[fine])]
    bins = [part for part in np.array_split(order, _BINS) if ratio[part].mean() > 0]
    if len(bins) < 2:
        return None
    middle = [stol2[part].mean() for part in bins]
    logs = [np.log(ratio[part].mean()) for part in bins]
    return float(np.exp(np.polyfit(middle, logs, 1)[1]))


def on_absolute_scale(table: StructureFactors) -> StructureFactors:
    """Return |F|² in e²: those that are far off put on scale, with a warning.

    Programs that merge intensities leave them on a scale of their own.
    """
    scale = wilson_scale(table)
    if scale is None or 1 / FAR_OFF <= scale <= FAR_OFF:
        return table
    LOGGER.warning(
        "%s: |F|² are %.3g times those of a protein crystal of this cell, so they are not in e²: "
        "put on scale by Wilson statistics",
        table.source or "structure factors",
        scale,
    )
    minus = table.f_squared_minus
    return dataclasses.replace(
        table,
        f_squared=table.f_squared / scale,
        f_squared_minus=None if minus is None else minus / scale,
    )
