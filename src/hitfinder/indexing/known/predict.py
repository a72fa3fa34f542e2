"""Compiled: which reflections an orientation predicts where, and how well the pixels agree.

The likelihood ratio of a frame with a crystal to one without, for photons counted on pixels p with
background b_p, is Σ_p n_p ln(1 + S f_p / b_p) - S Σ_p f_p for each reflection of S photons whose
footprint has the share f_p in each pixel; where only the distribution of S is known, it is the
mean of that ratio over the distribution. What a single reflection counts for is limited.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.indexing.known.band import excited

FS, SS, PHOTONS, ROW, N_COLUMNS = range(5)
"""Columns of predicted reflections: position in the stored frame (pixels, corner convention),
photons of `ExpectedReflections` that the orientation excites, with polarisation, row of the
reflection."""

SIDE = 3
"""A footprint's pixels along a side."""

MOST_PREDICTED = 4000
"""Reflections of one orientation for which there is room."""

WIDE_BLUR_PX, BLUR_PX, SHARP_BLUR_PX = 0.8, 0.45, 0.2
"""Standard deviation of spots about where they are predicted: far from the likeliest orientation,
near it, and at it."""

MOST_GAIN = 14.0
"""What a single reflection may add to the log likelihood ratio: one bright pixel alone, which may
be a cosmic ray or a hot pixel as well, is no evidence of a lattice."""


@numba.njit(cache=True, nogil=True, fastmath=True)
def on_frame(x, y, z, lookup, inverse, extent):  # type: ignore[no-untyped-def]
    """Return (fs, ss) in the stored frame where a ray hits, -1 where it hits no panel.

    Parameters
    ----------
    x, y, z : float
        Direction.
    lookup : tuple
        (panel of each cell, x/z and y/z of the first cell's corner, cells per unit): see
        `hitfinder.indexing.known.crystal.panel_lookup`.
    inverse, extent : ndarray
        Of `hitfinder.simulation.panels.PanelArrays`.
    """
    cells, left, top, per_unit = lookup
    if z <= 0.0:
        return -1.0, -1.0
    column = int((x / z - left) * per_unit)
    row = int((y / z - top) * per_unit)
    if column < 0 or row < 0 or row >= cells.shape[0] or column >= cells.shape[1]:
        return -1.0, -1.0
    n = cells[row, column]
    if n < 0:
        return -1.0, -1.0
    m = inverse[n]
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
    fs = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z) / w
    ss = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z) / w
    if fs < 0.0 or ss < 0.0 or fs >= extent[n, 2] or ss >= extent[n, 3]:
        return -1.0, -1.0
    return fs + extent[n, 0], ss + extent[n, 1]


@numba.njit(cache=True, nogil=True, fastmath=True)
def excited_rows(turn, near, rows):  # type: ignore[no-untyped-def]
    """List the reflections that the band excites in an orientation.

    Parameters
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the crystal.
    near : ndarray of float32, shape (5, m)
        As in `predict`.
    rows : ndarray of int64, shape (m + 1,)
        Receives their rows, rising.

    Returns
    -------
    int
        Their number.
    """
    # A loop that processors do in parallel, and one over eight answers at a time: few are yes.
    x, y, z = np.float32(turn[2, 0]), np.float32(turn[2, 1]), np.float32(turn[2, 2])
    excited = np.empty(near.shape[1], np.uint8)
    for row in range(len(excited)):
        along = x * near[0, row] + y * near[1, row] + z * near[2, row]
        excited[row] = (along >= near[3, row]) & (along <= near[4, row])
    eights = excited.view(np.uint64)
    n = 0
    for eight in range(len(eights)):
        if eights[eight] == 0:
            continue
        for row in range(8 * eight, 8 * eight + 8):
            rows[n] = row
            n += int(excited[row])
    return n


@numba.njit(cache=True, nogil=True, fastmath=True)
def predict(turn, reflections, polarised, detector, out):  # type: ignore[no-untyped-def]
    """List the reflections that an orientation brings into the band and onto the detector.

    Parameters
    ----------
    turn : ndarray, shape (3, 3)
        Rotation of the crystal.
    reflections : tuple
        (vectors (n, 3), lengths (n,), photons (n,), near of float32 (5, m), shell). `near` has the
        vectors' components, and the least and the most of the turned vector's component along the
        beam with which the band excites it; m is a multiple of 8, beyond n nothing is excited.
        `shell` is that of `hitfinder.indexing.known.band.Band`.
    polarised : float
        Fraction of the beam polarised along x.
    detector : tuple
        (lookup, inverse, extent) as for `on_frame`.
    out : ndarray, shape (n, N_COLUMNS)
        Receives the reflections, as far as there is room.

    Returns
    -------
    int
        Number of reflections.
    """
    vectors, lengths, photons, near, shell = reflections
    lookup, inverse, extent = detector
    rows = np.empty(near.shape[1] + 1, np.int64)
    n = 0
    for row in rows[: excited_rows(turn, near, rows)]:
        g = vectors[row]
        gz = turn[2, 0] * g[0] + turn[2, 1] * g[1] + turn[2, 2] * g[2]
        gx = turn[0, 0] * g[0] + turn[0, 1] * g[1] + turn[0, 2] * g[2]
        gy = turn[1, 0] * g[0] + turn[1, 1] * g[1] + turn[1, 2] * g[2]
        share = 1.0
        if shell[2] > 0.0:
            share, gx, gy, gz = excited(gx, gy, gz, shell)
        k = -lengths[row] * lengths[row] / (2.0 * gz)
        fs, ss = on_frame(gx, gy, gz + k, lookup, inverse, extent)
        if fs < 0.0:
            continue
        if n == len(out):
            return n
        part = 1.0 - (polarised * gx * gx + (1.0 - polarised) * gy * gy) / (k * k)
        out[n, FS], out[n, SS], out[n, ROW] = fs, ss, row
        out[n, PHOTONS] = photons[row] * part * share
        n += 1
    return n


@numba.njit(cache=True, nogil=True, fastmath=True)
def footprint_ratio(  # type: ignore[no-untyped-def]
    found, n, blur, counts, background, scales, nodes, weights, total, most=MOST_GAIN
):
    """Log likelihood ratio of a frame with predicted reflections to one without, by scale.

    Parameters
    ----------
    found : ndarray, shape (>= n, N_COLUMNS)
        From `predict`.
    n : int
        Number of them.
    blur : float
        Standard deviation of a round footprint, in pixels.
    counts : ndarray of int32, shape of a frame
        Counts, negative where there is no reading.
    background : ndarray of float32, shape of a frame
        Expected background, in photons.
    scales : ndarray, shape (n_scales,)
        Bragg photons of a frame, on average over orientations.
    nodes, weights : ndarray, shape (k,)
        Of `ExpectedReflections`.
    total : ndarray, shape (n_scales,)
        Receives the log ratios.
    most : float
        What a single reflection may add to them.
    """
    total[:] = 0.0
    n_ss, n_fs = counts.shape
    across, down = np.empty(SIDE), np.empty(SIDE)
    number, share = np.empty(SIDE * SIDE), np.empty(SIDE * SIDE)
    parts = np.empty(len(nodes))
    for j in range(n):
        fs, ss = found[j, FS], found[j, SS]
        column, row = int(fs), int(ss)
        fill_shares(fs - column, blur, across)
        fill_shares(ss - row, blur, down)
        lit, seen = 0, 0.0
        for y in range(SIDE):
            for x in range(SIDE):
                at_y, at_x = row + y - 1, column + x - 1
                if at_y < 0 or at_x < 0 or at_y >= n_ss or at_x >= n_fs:
                    continue
                c = counts[at_y, at_x]
                if c < 0:
                    continue
                b = background[at_y, at_x]
                if b <= 0.0:
                    continue
                f = across[x] * down[y]
                seen += f
                if c > 0:
                    number[lit], share[lit] = c, f / b
                    lit += 1
        for a in range(len(scales)):
            photons = scales[a] * found[j, PHOTONS]
            gain = _gain(photons, seen, number, share, lit, nodes, weights, parts)
            total[a] += min(gain, most)


@numba.njit(cache=True, nogil=True, fastmath=True)
def _gain(photons, seen, number, share, lit, nodes, weights, parts):  # type: ignore[no-untyped-def]
    """Log likelihood ratio of a reflection's pixels."""
    most = -1e300
    for q in range(len(nodes)):
        value = -photons * nodes[q] * seen
        for p in range(lit):
            value += number[p] * math.log(1.0 + photons * nodes[q] * share[p])
        parts[q] = value
        most = max(most, value)
    if len(nodes) == 1:
        return most
    mean = 0.0
    for q in range(len(nodes)):
        mean += weights[q] * math.exp(parts[q] - most)
    return most + math.log(mean)


@numba.njit(cache=True, nogil=True, fastmath=True)
def fill_shares(place, blur, out):  # type: ignore[no-untyped-def]
    """Share of a Gaussian at `place` (0 to 1 in the middle pixel) in each of three pixels."""
    scale = 1.0 / (blur * math.sqrt(2.0))
    lower = math.erf((-1.0 - place) * scale)
    for k in range(SIDE):
        upper = math.erf((k - place) * scale)
        out[k] = 0.5 * (upper - lower)
        lower = upper
