"""Compiled: judge an orientation that is known to about a pixel, and those around it.

The reflections that a rough orientation brings near the band and the detector are predicted once,
with how their places and their excitation change as the crystal turns. All small turns of a grid
are then judged by the very pixels on which they put the reflections.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.indexing.known.band import log_share, nearest
from hitfinder.indexing.known.pixels import LOWEST, N_STEPS, PER_E, UNKNOWN
from hitfinder.indexing.known.predict import excited_rows, on_frame
from hitfinder.indexing.known.slopes import turned

_HALF = 1
"""Steps of the grid to either side, about each axis."""

_SIDE = 2 * _HALF + 1

_STEP_PX = 0.7
"""How far distant spots move in a step of the grid about each axis. Steps of 0.5 pixels, five to a
side, find as many crystals in half again the time."""

_FOLDS = np.array([0.0, 1.5, 3.0])
"""Strengths of a crystal that are tried, as powers of e of the weakest that can be told."""


def grid_steps(pixels_a_rad: float, side_px: float) -> np.ndarray:
    """Return the steps of the grid about x, y and the beam, in rad.

    Parameters
    ----------
    pixels_a_rad : float
        Pixels by which spots move as the crystal turns about an axis across the beam.
    side_px : float
        Distance of far spots from the beam, in pixels.
    """
    return _STEP_PX / np.array([pixels_a_rad, pixels_a_rad, side_px])


@numba.njit(cache=True, nogil=True)
def judge(  # type: ignore[no-untyped-def]
    turns, reflections, polarised, detector, codes, table, weakest, steps, out, ratios, photons
):
    """Fill in the likeliest turn of the grid about each orientation.

    Parameters
    ----------
    turns : ndarray, shape (n, 3, 3)
        Rotations.
    reflections, polarised, detector
        As for `hitfinder.indexing.known.predict.predict`.
    codes, table : ndarray
        From `hitfinder.indexing.known.pixels`, of single pixels.
    weakest : float
        From `hitfinder.indexing.known.pairs.weakest_crystal`.
    steps : ndarray, shape (3,)
        From `grid_steps`.
    out : ndarray, shape (n, 3, 3)
        Receives the turned rotations.
    ratios, photons : ndarray, shape (n,)
        Receive their log likelihood ratios, and the Bragg photons of a frame at which these are
        largest.
    """
    vectors, lengths, strengths, near, shell = reflections
    reach = _HALF * (steps[0] + steps[1])
    wide = near.copy()
    wide[3, : len(lengths)] -= (reach * lengths).astype(np.float32)
    wide[4, : len(lengths)] += (reach * lengths).astype(np.float32)
    rows = np.empty(near.shape[1] + 1, np.int64)
    total = np.empty((len(_FOLDS), _SIDE, _SIDE, _SIDE), np.float32)
    g, moved = np.empty(3), np.empty((3, 2))
    for t in range(len(turns)):
        turn = turns[t]
        total[:] = 0.0
        for row in rows[: excited_rows(turn, wide, rows)]:
            for a in range(3):
                g[a] = turn[a, 0] * vectors[row, 0] + turn[a, 1] * vectors[row, 1]
                g[a] += turn[a, 2] * vectors[row, 2]
            fs, ss, polarisation = _placed(
                g, steps, lengths[row], shell, polarised, detector, moved
            )
            if fs < 0.0:
                continue
            _add(fs, ss, moved, g, steps, near[3, row], near[4, row], shell,
                 weakest * strengths[row] * polarisation, codes, table, total)  # fmt: skip
        best = np.argmax(total)
        ratios[t] = total.ravel()[best]
        fold, best = best // _SIDE**3, best % _SIDE**3
        photons[t] = weakest * math.exp(_FOLDS[fold])
        x = (best // _SIDE**2 - _HALF) * steps[0]
        y = (best // _SIDE % _SIDE - _HALF) * steps[1]
        z = (best % _SIDE - _HALF) * steps[2]
        turned(turn, x, y, z, out[t])


@numba.njit(cache=True, nogil=True, fastmath=True)
def _placed(g, steps, length, shell, polarised, detector, moved):  # type: ignore[no-untyped-def]
    """Fill in how far a spot moves in a step about each axis; return its place and polarisation."""
    lookup, inverse, extent = detector
    half = 0.5 * length * length
    g_x, g_y, g_z = nearest(g[0], g[1], g[2], shell)
    k = -half / g_z
    fs, ss = on_frame(g_x, g_y, g_z + k, lookup, inverse, extent)
    if fs < 0.0:
        return fs, ss, 0.0
    for a in range(3):
        x, y, z = g[0], g[1], g[2]
        if a == 0:
            y, z = y - steps[0] * g[2], z + steps[0] * g[1]
        elif a == 1:
            x, z = x + steps[1] * g[2], z - steps[1] * g[0]
        else:
            x, y = x - steps[2] * g[1], y + steps[2] * g[0]
        x, y, z = nearest(x, y, z, shell)
        beside_fs, beside_ss = on_frame(x, y, z - half / z, lookup, inverse, extent)
        if beside_fs < 0.0:
            return -1.0, -1.0, 0.0
        moved[a, 0], moved[a, 1] = beside_fs - fs, beside_ss - ss
    return fs, ss, 1.0 - (polarised * g_x * g_x + (1.0 - polarised) * g_y * g_y) / (k * k)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _add(fs, ss, moved, g, steps, least, most, shell, photons, codes, table, total):  # type: ignore[no-untyped-def]
    """Add what the pixels of one reflection say to every turn that brings it into the band."""
    n_ss, n_fs = codes.shape
    squared, whole = g[0] * g[0] + g[1] * g[1] + g[2] * g[2], (math.log(photons) - LOWEST) * PER_E
    for x in range(_SIDE):
        about_x = x - _HALF
        for y in range(_SIDE):
            about_y = y - _HALF
            along = g[2] + about_x * steps[0] * g[1] - about_y * steps[1] * g[0]
            if along < least or along > most:
                continue
            step = whole
            if shell[2] > 0.0:
                step += log_share(along, squared, shell) * PER_E
            for z in range(_SIDE):
                about_z = z - _HALF
                column = int(fs + about_x * moved[0, 0] + about_y * moved[1, 0]
                             + about_z * moved[2, 0])  # fmt: skip
                row = int(ss + about_x * moved[0, 1] + about_y * moved[1, 1]
                          + about_z * moved[2, 1])  # fmt: skip
                if column < 0 or row < 0 or column >= n_fs or row >= n_ss:
                    continue
                code = codes[row, column]
                if code == UNKNOWN:
                    continue
                for fold in range(len(_FOLDS)):
                    s = int(step + _FOLDS[fold] * PER_E)
                    if s >= 0:
                        total[fold, x, y, z] += table[min(s, N_STEPS - 1), code]
