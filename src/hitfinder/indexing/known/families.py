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

_BINS, _LENGTHS = 1024, 64
"""Cells of the cosine to a family's reflection, and of the length, in which reflections lie."""

_IN_A_ROW = 0.9995
"""Cosine beyond which two directions are one: they leave the angle about it open."""

_SPREAD = 0.6
"""Of the angle that two pixels leave open at most, the part over which a vote counts."""

_MOST_STEPS = 8.0
"""Steps of the angle, to either side, over which a vote counts at most."""

_MOST_TOUCHED = 1 << 17
"""Votes of one family for which there is room."""


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
def vote(  # type: ignore[no-untyped-def]
    families, gains, seeds, reflections, pixels, n_angles, floor, hypotheses, scores
):
    """Collect the votes of all bright pixels in each family, and list the angles with many.

    Parameters
    ----------
    families : ndarray of int64, shape (n_families, 2)
        Reflection and seed of each, those of one reflection in a row.
    gains : ndarray, shape (n_families,)
        What the two say for each other, as a log likelihood ratio.
    seeds : tuple
        (directions (n_seeds, 3), how far they may be off (n_seeds,), in rad).
    reflections : tuple
        (directions (m, 3), lengths (m,), log of the expected photons (m,)).
    pixels : tuple
        (directions (n, 3), how far they may be off (n,), lengths (n,), how far these may be off
        (n,), log of one over the background (n,), votes (n, N_STEPS)).
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
    vectors, lengths, _ = reflections
    q, _, q_length, spread, _, _ = pixels
    shortest = lengths.min() * 0.99
    width = (lengths.max() * 1.001 - shortest) / _LENGTHS
    first = np.empty(_LENGTHS * _BINS + 1, np.int32)
    cell = np.empty(len(lengths), np.int64)
    ranges = np.empty((len(q), 2), np.int32)
    for i in range(len(q)):
        ranges[i, 0] = max(int((q_length[i] - spread[i] - shortest) / width), 0)
        ranges[i, 1] = min(int((q_length[i] + spread[i] - shortest) / width), _LENGTHS - 1)
    about = np.empty((len(lengths), 5), np.float32)
    c, d = np.empty(3), np.empty(3)
    hist = np.zeros(n_angles, np.float32)
    touched = np.empty(_MOST_TOUCHED, np.int64)
    last, n_found = -1, 0
    for m in range(len(families)):
        j_0, i_0 = families[m, 0], families[m, 1]
        if j_0 != last:
            last = j_0
            _sort_about(vectors[j_0], reflections, shortest, width, cell, first, about)
        own = seeds[0][i_0]
        basis(own, c, d)
        n_touched = 0
        for i in range(len(q)):
            cos = own[0] * q[i, 0] + own[1] * q[i, 1] + own[2] * q[i, 2]
            if abs(cos) > _IN_A_ROW:
                continue
            n_touched = _votes_of(
                i, cos, seeds[1][i_0], pixels, c, d, ranges, first, about, hist, touched, n_touched
            )
        for t in range(n_touched):
            s = touched[t]
            value = hist[s] + gains[m]
            # An angle that is touched again is listed once.
            if hist[s] <= 0.0:
                continue
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
    return n_found


@numba.njit(cache=True, nogil=True, fastmath=True)
def _sort_about(g, reflections, shortest, width, cell, first, about):  # type: ignore[no-untyped-def]
    """Sort reflections into cells of length and cosine to one of them.

    `about` receives lengths, cosines, logs of the expected photons and the two components across,
    `first` where each cell begins.
    """
    vectors, lengths, log_photons = reflections
    a, b = np.empty(3), np.empty(3)
    basis(g, a, b)
    first[:] = 0
    for j in range(len(lengths)):
        cosine = g[0] * vectors[j, 0] + g[1] * vectors[j, 1] + g[2] * vectors[j, 2]
        at = min(max(int((cosine + 1.0) * 0.5 * _BINS), 0), _BINS - 1)
        cell[j] = int((lengths[j] - shortest) / width) * _BINS + at
        first[cell[j]] += 1
    total = 0
    for k in range(len(first)):
        total += first[k]
        first[k] = total
    # The end of each cell moves back to its beginning as its reflections are put there.
    for j in range(len(lengths)):
        x, y, z = vectors[j]
        first[cell[j]] -= 1
        p = first[cell[j]]
        about[p, 0], about[p, 1] = lengths[j], g[0] * x + g[1] * y + g[2] * z
        about[p, 2] = log_photons[j]
        about[p, 3] = x * a[0] + y * a[1] + z * a[2]
        about[p, 4] = x * b[0] + y * b[1] + z * b[2]


@numba.njit(cache=True, nogil=True, fastmath=True)
def _votes_of(  # type: ignore[no-untyped-def]
    i, cos, seed_off, pixels, c, d, ranges, first, about, hist, touched, n_touched
):
    """Add what one pixel says to the angles of a family; return how many angles are touched."""
    q, off, length, spread, log_rate, votes = pixels
    n_angles = len(hist)
    per_rad = n_angles / (2.0 * math.pi)
    sine = math.sqrt(1.0 - cos * cos)
    near = (off[i] + seed_off) * sine
    low, high = length[i] - spread[i], length[i] + spread[i]
    at_low = max(int((cos - near + 1.0) * 0.5 * _BINS), 0)
    at_high = min(int((cos + near + 1.0) * 0.5 * _BINS), _BINS - 1)
    for k in range(ranges[i, 0], ranges[i, 1] + 1):
        for p in range(first[k * _BINS + at_low], first[k * _BINS + at_high + 1]):
            if about[p, 0] < low or about[p, 0] > high or abs(about[p, 1] - cos) > near:
                continue
            n = int((about[p, 2] + log_rate[i] - LOWEST) * PER_E)
            if n < 0:
                continue
            gain = votes[i, min(n, N_STEPS - 1)]
            if gain <= 0.0:
                continue
            x = q[i, 0] * c[0] + q[i, 1] * c[1] + q[i, 2] * c[2]
            y = q[i, 0] * d[0] + q[i, 1] * d[1] + q[i, 2] * d[2]
            along, across = about[p, 3], about[p, 4]
            angle = math.atan2(y * along - x * across, x * along + y * across)
            if angle < 0.0:
                angle += 2.0 * math.pi
            # As many steps as the two pixels' places leave open.
            open_rad = _SPREAD * (off[i] + seed_off * abs(cos)) / sine
            blur = min(open_rad * per_rad, _MOST_STEPS)
            least = int(angle * per_rad - blur)
            for s in range(least, least + int(2.0 * blur) + 1):
                if n_touched == len(touched):
                    return n_touched
                at = s - n_angles if s >= n_angles else s + n_angles if s < 0 else s
                hist[at] += gain
                touched[n_touched] = at
                n_touched += 1
    return n_touched


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
