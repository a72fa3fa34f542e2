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

_MOST_STEPS = 8
"""Steps of the angle, to either side, over which a vote counts at most."""

PER_UNIT = 64
"""Whole numbers that a vote of one is counted as."""

_BLOCK = 32
"""Angles that are looked through at once."""


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
        (directions (n_seeds, 3), how far they may be off about the beam (n_seeds,), in rad).
    reflections : tuple
        (directions (m, 3), lengths (m,), log of the expected photons (m,)).
    pixels : tuple
        (directions (n, 3), how far they may be off about the beam (n,) and away from it, in rad,
        lengths (n,), how far these may be off (n,), log of one over the background (n,), votes
        (n, N_STEPS)).
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
    q, _, _, q_length, spread, _, _ = pixels
    shortest = lengths.min() * 0.99
    width = (lengths.max() * 1.001 - shortest) / _LENGTHS
    first = np.empty(_LENGTHS * _BINS + 1, np.int32)
    cell = np.empty(len(lengths), np.int64)
    ranges = np.empty((len(q), 2), np.int32)
    for i in range(len(q)):
        ranges[i, 0] = max(int((q_length[i] - spread[i] - shortest) / width), 0)
        ranges[i, 1] = min(int((q_length[i] + spread[i] - shortest) / width), _LENGTHS - 1)
    about = np.empty((len(lengths), 5), np.float32)
    directions = np.ascontiguousarray(q.T).astype(np.float32)
    seen = np.empty((5, len(q)), np.float32)
    cells = np.empty((2, len(q)), np.int32)
    c, d = np.empty(3), np.empty(3)
    hist = np.zeros(n_angles + 2 * _BLOCK + 2 * _MOST_STEPS, np.uint16)
    last, n_found = -1, 0
    for m in range(len(families)):
        j_0, i_0 = families[m, 0], families[m, 1]
        if j_0 != last:
            last = j_0
            _sort_about(vectors[j_0], reflections, shortest, width, cell, first, about)
        basis(seeds[0][i_0], c, d)
        _see_from(seeds[0][i_0], seeds[1][i_0], c, d, directions, pixels, seen, cells)
        hist[:] = 0
        for i in range(len(q)):
            if cells[1, i] >= 0:
                _votes_of(i, pixels, seen, cells, ranges, first, about, n_angles, hist)
        _close(hist, n_angles)
        start = 0
        while start < n_angles:
            least = int((floor - gains[m]) * PER_UNIT)
            start = _next_peak(hist, start, n_angles, max(least, 1))
            if start >= n_angles:
                break
            if n_found == len(scores):
                floor, n_found = _better_half(hypotheses, scores)
            hypotheses[n_found, 0], hypotheses[n_found, 1] = m, start
            scores[n_found] = hist[start + _MOST_STEPS] / PER_UNIT + gains[m]
            n_found += 1
            start += 1
    return n_found


@numba.njit(cache=True, nogil=True, fastmath=True)
def _see_from(seed, seed_off, c, d, directions, pixels, seen, cells):  # type: ignore[no-untyped-def]
    """Fill in how pixels lie about a seed.

    `seen` receives cosine to the seed, how far that may be off, how far the angle about the seed
    may be off (in turns), and the two components across; `cells` the first and the last cell of
    cosines, -1 for pixels in a row with the seed.

    A pixel may be off about the beam, by half its side, much farther than away from the beam, where
    it turns the mirror by half the angle only. With the normal of the plane of both directions, and
    t the direction about the beam, t·n is the part of the one that turns the pixel about the seed;
    the rest changes the cosine.
    """
    _, off, radial, _, _, _, _ = pixels
    x, y, z = np.float32(seed[0]), np.float32(seed[1]), np.float32(seed[2])
    one, radial, seed_off = np.float32(1.0), np.float32(radial), np.float32(seed_off)
    across = one / math.sqrt(one - z * z)
    c_x, c_y, c_z = np.float32(c[0]), np.float32(c[1]), np.float32(c[2])
    d_x, d_y, d_z = np.float32(d[0]), np.float32(d[1]), np.float32(d[2])
    for i in range(directions.shape[1]):
        q_x, q_y, q_z = directions[0, i], directions[1, i], directions[2, i]
        cos = x * q_x + y * q_y + z * q_z
        sine = math.sqrt(max(one - cos * cos, np.float32(1e-6)))
        part = min(abs(z - q_z * cos) / (sine * math.sqrt(one - q_z * q_z)), one)
        seed_part = min(abs(z * cos - q_z) * across / sine, one)
        own = np.float32(off[i])
        near = sine * (
            own * math.sqrt(one - part * part) + radial * part
            + seed_off * math.sqrt(one - seed_part * seed_part) + radial * seed_part
        )  # fmt: skip
        open_rad = own * part + radial * math.sqrt(one - part * part)
        open_rad += abs(cos) * (
            seed_off * seed_part + radial * math.sqrt(one - seed_part * seed_part)
        )
        seen[0, i], seen[1, i] = cos, near
        seen[2, i] = np.float32(0.5 * _SPREAD / math.pi) * open_rad / sine
        seen[3, i] = q_x * c_x + q_y * c_y + q_z * c_z
        seen[4, i] = q_x * d_x + q_y * d_y + q_z * d_z
        low = np.int32((cos - near + one) * np.float32(0.5 * _BINS))
        high = np.int32((cos + near + one) * np.float32(0.5 * _BINS))
        cells[0, i] = max(low, np.int32(0))
        cells[1, i] = min(high, np.int32(_BINS - 1)) if abs(cos) < np.float32(_IN_A_ROW) else -1


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
def _votes_of(i, pixels, seen, cells, ranges, first, about, n_angles, hist):  # type: ignore[no-untyped-def]
    """Add what one pixel says to the angles of a family."""
    _, _, _, length, spread, log_rate, votes = pixels
    low, high = np.float32(length[i] - spread[i]), np.float32(length[i] + spread[i])
    cos, near, rate = seen[0, i], seen[1, i], np.float32(log_rate[i] - LOWEST)
    per_turn, most, two = np.float32(n_angles), np.float32(_MOST_STEPS - 1), np.float32(2.0)
    for k in range(ranges[i, 0], ranges[i, 1] + 1):
        for p in range(first[k * _BINS + cells[0, i]], first[k * _BINS + cells[1, i] + 1]):
            if abs(about[p, 1] - cos) > near or about[p, 0] < low or about[p, 0] > high:
                continue
            n = int((about[p, 2] + rate) * np.float32(PER_E))
            if n < 0:
                continue
            gain = votes[i, min(n, N_STEPS - 1)]
            if gain == 0:
                continue
            x, y, along, across = seen[3, i], seen[4, i], about[p, 3], about[p, 4]
            turns = _turns(y * along - x * across, x * along + y * across)
            blur = min(seen[2, i] * per_turn, most)
            least = int(turns * per_turn - blur + _MOST_STEPS)
            for s in range(least, least + int(two * blur) + 1):
                hist[s] += gain


@numba.njit(cache=True, nogil=True, fastmath=True)
def _turns(y, x):  # type: ignore[no-untyped-def]
    """Return an angle from its components, in full turns from 0 to 1, to 2e-6.

    Formula 4.4.49 of Abramowitz and Stegun, Handbook of Mathematical Functions (1964).
    """
    a, b = abs(x), abs(y)
    t = min(a, b) / max(max(a, b), np.float32(1e-12))
    u = t * t
    angle = np.float32(0.0208351)
    for coefficient in (-0.0851330, 0.1801410, -0.3302995, 0.9998660):
        angle = angle * u + np.float32(coefficient)
    angle *= t * np.float32(0.5 / math.pi)
    angle = np.float32(0.25) - angle if b > a else angle
    angle = np.float32(0.5) - angle if x < np.float32(0.0) else angle
    return np.float32(1.0) - angle if y < np.float32(0.0) else angle


@numba.njit(cache=True, nogil=True)
def _close(hist, n_angles):  # type: ignore[no-untyped-def]
    """Bring what lies beyond the ends of a circle of angles to its other end."""
    for s in range(_MOST_STEPS):
        hist[n_angles + s] += hist[s]
        hist[s] = 0
        hist[_MOST_STEPS + s] += hist[n_angles + _MOST_STEPS + s]
        hist[n_angles + _MOST_STEPS + s] = 0


@numba.njit(cache=True, nogil=True)
def _next_peak(hist, start, n_angles, least):  # type: ignore[no-untyped-def]
    """Return the next angle with so many votes, the number of angles if there is none."""
    s = start
    while s < n_angles:
        if (s - start) % _BLOCK == 0:
            most = np.uint16(0)
            for k in range(s + _MOST_STEPS, s + _MOST_STEPS + _BLOCK):
                most = max(most, hist[k])
            if most < least:
                start = s + _BLOCK
                s = start
                continue
        if hist[s + _MOST_STEPS] >= least:
            return s
        s += 1
    return n_angles


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
