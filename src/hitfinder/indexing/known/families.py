"""Compiled: orientations that put many bright pixels on reflections, one family after the other.

A bright pixel and a reflection of the same length leave one angle open: the crystal may still turn
about their common direction. Every other bright pixel votes for the angles at which it lies on a
reflection too. Directions are exact whatever the wavelength of the band that is diffracted; only
lengths spread.
"""

from __future__ import annotations

import math

import numba
import numpy as np

PER_E = 4
"""Steps of a table of votes in a factor e of expected photons over background."""

LOWEST = -4.0
"""Natural log of the ratio at the first step."""

N_STEPS = 72
_BINS = 512
_LENGTHS = 64
_IN_A_ROW = 0.9995
_SPREAD = 0.6
"""Of the angle that two pixels leave open at most, the part over which a vote counts."""


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
def vote(families, gains, reflections, pixels, n_angles, floor, hypotheses, scores):  # type: ignore[no-untyped-def]
    """Collect the votes of all bright pixels in each family, and list the angles with many.

    Parameters
    ----------
    families : ndarray of int64, shape (n_families, 2)
        Reflection and bright pixel of each, those of one reflection in a row.
    gains : ndarray, shape (n_families,)
        What the two say for each other, as a log likelihood ratio.
    reflections : tuple
        (directions (m, 3), lengths (m,), log of the expected photons (m,)).
    pixels : tuple
        (directions (n, 3), lengths (n,), how far directions may be apart (n,), how far lengths may
        be apart (n,), log of one over the background (n,), votes (n, N_STEPS)).
    n_angles : int
        Steps of the angle.
    floor : float
        Votes that are asked for, the family's own gain included. Where more hypotheses have them
        than there is room for, the best are listed.
    hypotheses : ndarray of int32, shape (n_most, 2)
        Receives family and step of the angle.
    scores : ndarray of float32, shape (n_most,)
        Receives the votes.

    Returns
    -------
    int
        Hypotheses listed.
    """
    g, lengths, log_photons = reflections
    q, q_length, q_reach, q_spread, log_rate, votes = pixels
    shortest = lengths.min() * 0.99
    step = (lengths.max() * 1.001 - shortest) / _LENGTHS
    first = np.zeros(_LENGTHS * _BINS + 2, np.int32)
    place = np.zeros(_LENGTHS * _BINS + 2, np.int32)
    cell, cosine = np.empty(len(g), np.int64), np.empty(len(g))
    k_range, apart = np.empty((len(q), 2), np.int32), np.empty(len(q))
    for i in range(len(q)):
        k_range[i, 0] = max(int((q_length[i] - q_spread[i] - shortest) / step), 0)
        k_range[i, 1] = min(int((q_length[i] + q_spread[i] - shortest) / step), _LENGTHS - 1)
    # The table of a family's reflection, in the order of its cells: length, cosine of the angle to
    # it, log of the expected photons, and the components across it.
    table = np.empty((len(g), 5), np.float32)
    a, b, c, d = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    hist = np.zeros(n_angles + 1, np.float32)
    touched = np.empty(1 << 17, np.int64)
    per_rad = n_angles / (2.0 * math.pi)
    last, n_found = -1, 0
    for m in range(len(families)):
        j_0, i_0 = families[m, 0], families[m, 1]
        if j_0 != last:
            last = j_0
            basis(g[j_0], a, b)
            first[:] = 0
            for j in range(len(g)):
                cosine[j] = g[j_0, 0] * g[j, 0] + g[j_0, 1] * g[j, 1] + g[j_0, 2] * g[j, 2]
                at = min(max(int((cosine[j] + 1.0) * 0.5 * _BINS), 0), _BINS - 1)
                cell[j] = int((lengths[j] - shortest) / step) * _BINS + at
                first[cell[j] + 1] += 1
            for k in range(len(first) - 1):
                first[k + 1] += first[k]
            place[:] = first
            for j in range(len(g)):
                p = place[cell[j]]
                place[cell[j]] += 1
                table[p, 0], table[p, 1], table[p, 2] = lengths[j], cosine[j], log_photons[j]
                table[p, 3] = g[j, 0] * a[0] + g[j, 1] * a[1] + g[j, 2] * a[2]
                table[p, 4] = g[j, 0] * b[0] + g[j, 1] * b[1] + g[j, 2] * b[2]
        basis(q[i_0], c, d)
        for i in range(len(q)):
            apart[i] = q[i_0, 0] * q[i, 0] + q[i_0, 1] * q[i, 1] + q[i_0, 2] * q[i, 2]
        n_touched = 0
        for i in range(len(q)):
            cos = apart[i]
            if i == i_0 or abs(cos) > _IN_A_ROW:
                continue
            sine = math.sqrt(1.0 - cos * cos)
            near = (q_reach[i] + q_reach[i_0]) * sine
            low, high = q_length[i] - q_spread[i], q_length[i] + q_spread[i]
            at_low = max(int((cos - near + 1.0) * 0.5 * _BINS), 0)
            at_high = min(int((cos + near + 1.0) * 0.5 * _BINS), _BINS - 1)
            blur = -1.0
            for k in range(k_range[i, 0], k_range[i, 1] + 1):
                for p in range(first[k * _BINS + at_low], first[k * _BINS + at_high + 1]):
                    if table[p, 0] < low or table[p, 0] > high or abs(table[p, 1] - cos) > near:
                        continue
                    n = int((table[p, 2] + log_rate[i] - LOWEST) * PER_E)
                    if n < 0:
                        continue
                    gain = votes[i, min(n, N_STEPS - 1)]
                    if gain <= 0.0:
                        continue
                    if blur < 0.0:
                        far = q_reach[i] + q_reach[i_0] * abs(cos)
                        blur = min(_SPREAD * far / sine * per_rad, 8.0)
                        x = q[i, 0] * c[0] + q[i, 1] * c[1] + q[i, 2] * c[2]
                        y = q[i, 0] * d[0] + q[i, 1] * d[1] + q[i, 2] * d[2]
                    along, across = table[p, 3], table[p, 4]
                    angle = math.atan2(y * along - x * across, x * along + y * across)
                    if angle < 0.0:
                        angle += 2.0 * math.pi
                    # As many steps as the two pixels' places leave open.
                    least = int(angle * per_rad - blur)
                    for s in range(least, least + int(2.0 * blur) + 1):
                        at = s - n_angles if s >= n_angles else s + n_angles if s < 0 else s
                        hist[at] += gain
                        if n_touched < len(touched):
                            touched[n_touched] = at
                            n_touched += 1
        for t in range(n_touched):
            s = touched[t]
            if hist[s] <= 0.0:
                continue
            value = hist[s] + gains[m]
            hist[s] = 0.0
            if value < floor:
                continue
            if n_found == len(scores):
                floor, n_found = _better_half(hypotheses, scores)
                if value < floor:
                    continue
            hypotheses[n_found, 0], hypotheses[n_found, 1] = m, s
            scores[n_found] = value
            n_found += 1
        if n_touched == len(touched):
            hist[:] = 0.0
        for t in range(n_touched):
            hist[touched[t]] = 0.0
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
