"""Compiled: what all pixels say of the orientations that put one reflection on one bright pixel.

A bright pixel and a reflection of the same length leave one angle open: the crystal may still turn
about their common direction. While it turns, each other reflection passes through the band, and
its place across a few pixels. What these pixels say is added up for every angle. A reflection's
place depends on its direction alone, whatever the wavelength that it diffracts.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.indexing.known.predict import on_frame
from hitfinder.indexing.known.windows import UNKNOWN


@numba.njit(cache=True, nogil=True, fastmath=True)
def basis(v, first, second):  # type: ignore[no-untyped-def]
    """Fill in two unit vectors that are perpendicular to a unit vector and to each other."""
    x, y, z = 1.0, 0.0, 0.0
    if abs(v[0]) > 0.9:
        x, y = 0.0, 1.0
    along = x * v[0] + y * v[1] + z * v[2]
    x, y, z = x - along * v[0], y - along * v[1], z - along * v[2]
    size = 1.0 / math.sqrt(x * x + y * y + z * z)
    first[0], first[1], first[2] = x * size, y * size, z * size
    second[0] = v[1] * first[2] - v[2] * first[1]
    second[1] = v[2] * first[0] - v[0] * first[2]
    second[2] = v[0] * first[1] - v[1] * first[0]


@numba.njit(cache=True, nogil=True, fastmath=True)
def rotation(g, q, angle, out):  # type: ignore[no-untyped-def]
    """Fill in the rotation that turns direction g onto q, and further about q by an angle."""
    a, b, c, d = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    basis(g, a, b)
    basis(q, c, d)
    cos, sin = math.cos(angle), math.sin(angle)
    for i in range(3):
        x, y = cos * c[i] + sin * d[i], cos * d[i] - sin * c[i]
        for j in range(3):
            out[i, j] = q[i] * g[j] + x * a[j] + y * b[j]


@numba.njit(cache=True, nogil=True, fastmath=True)
def scan(  # type: ignore[no-untyped-def]
    families, gains, reflections, pixels, codes, table, detector, n_angles, floor, hypotheses,
    scores,
):  # fmt: skip
    """Add up what the pixels say of each angle of each family, and list the best angles.

    Parameters
    ----------
    families : ndarray of int64, shape (n_families, 2)
        Reflection and bright pixel of each, those of one reflection in a row.
    gains : ndarray, shape (n_families,)
        What the two say for each other, as a log likelihood ratio.
    reflections : tuple
        (directions (m, 3), least and most of the component along the beam (m, 2) of the turned
        direction with which the band excites it, row of `table` (m,), -1 for those of too few
        photons).
    pixels : ndarray, shape (n, 3)
        Directions of the bright pixels.
    codes, table : ndarray
        From `hitfinder.indexing.known.windows`.
    detector : tuple
        (lookup, inverse, extent) as for `hitfinder.indexing.known.predict.on_frame`.
    n_angles : int
        Steps of the angle.
    floor : float
        Least sum that is listed. Where more hypotheses have it than there is room for, the best
        are listed.
    hypotheses : ndarray of int32, shape (n_most, 2)
        Receives family and step of the angle.
    scores : ndarray of float32, shape (n_most,)
        Receives the sums.

    Returns
    -------
    int
        Hypotheses listed.
    """
    g, band, step = reflections
    lookup, inverse, extent = detector
    a, b, c, d = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    hist = np.empty(n_angles, np.float32)
    # Each reflection about that of the family: along it, the two components, length and angle
    # across it.
    about = np.empty((len(step), 5))
    unit = 2.0 * math.pi / n_angles
    angles = unit * (np.arange(n_angles) + 0.5)
    cosines, sines = np.cos(angles), np.sin(angles)
    last, n_found = -1, 0
    for m in range(len(families)):
        j_0, i_0 = families[m, 0], families[m, 1]
        if j_0 != last:
            last = j_0
            basis(g[j_0], a, b)
            for j in range(len(step)):
                x = g[j, 0] * a[0] + g[j, 1] * a[1] + g[j, 2] * a[2]
                y = g[j, 0] * b[0] + g[j, 1] * b[1] + g[j, 2] * b[2]
                about[j, 0] = g[j, 0] * g[j_0, 0] + g[j, 1] * g[j_0, 1] + g[j, 2] * g[j_0, 2]
                about[j, 1], about[j, 2] = x, y
                about[j, 3], about[j, 4] = math.sqrt(x * x + y * y), math.atan2(y, x)
        q = pixels[i_0]
        basis(q, c, d)
        slant, towards = math.sqrt(c[2] * c[2] + d[2] * d[2]), math.atan2(d[2], c[2])
        hist[:] = gains[m]
        for j in range(len(step)):
            along, across = about[j, 0], about[j, 3]
            if step[j] < 0 or across < 1e-3:
                continue
            reach = across * slant
            low, high = band[j, 0] - along * q[2], band[j, 1] - along * q[2]
            if high < -reach or low > reach:
                continue
            near = math.acos(min(max(high / reach, -1.0), 1.0))
            far = math.acos(min(max(low / reach, -1.0), 1.0))
            row = table[step[j]]
            for side in range(2):
                start = towards - about[j, 4] + (near if side == 0 else -far)
                from_step = math.ceil(start / unit - 0.5)
                n_steps = math.floor((start + far - near) / unit - 0.5) - from_step
                from_step %= n_angles
                for k in range(n_steps + 1):
                    s = from_step + k
                    s = s - n_angles if s >= n_angles else s
                    x = cosines[s] * about[j, 1] - sines[s] * about[j, 2]
                    y = sines[s] * about[j, 1] + cosines[s] * about[j, 2]
                    z = along * q[2] + x * c[2] + y * d[2]
                    fs, ss = on_frame(
                        along * q[0] + x * c[0] + y * d[0], along * q[1] + x * c[1] + y * d[1],
                        z - 0.5 / z, lookup, inverse, extent,
                    )  # fmt: skip
                    if fs < 0.0:
                        continue
                    code = codes[int(ss), int(fs)]
                    if code != UNKNOWN:
                        hist[s] += row[code]
        for s in range(n_angles):
            value = hist[s]
            if value < floor or value < hist[s - 1] or value <= hist[s + 1 - n_angles]:
                continue
            if n_found == len(scores):
                floor, n_found = _better_half(hypotheses, scores)
                if value < floor:
                    continue
            hypotheses[n_found, 0], hypotheses[n_found, 1] = m, s
            scores[n_found] = value
            n_found += 1
    return n_found


@numba.njit(cache=True, nogil=True)
def _better_half(hypotheses, scores):  # type: ignore[no-untyped-def]
    """Move the hypotheses above the median to the front; return the median and their number."""
    least = np.median(scores)
    n = 0
    for k in range(len(scores)):
        if scores[k] > least:
            hypotheses[n], scores[n] = hypotheses[k], scores[k]
            n += 1
    return least, n
