"""How well one streak, or two spots, explain the counts of a few pixels: likelihoods of shapes.

A streak is a product of two profiles, one along its long and one along its short axis: that of a
footprint which a narrow spectrum cuts off along the radius, and mosaicity smears around the beam.
Each profile is whichever explains the counts best: a Gaussian; one of even brightness between two
ends, as a flat spectrum gives; or one whose two sides fall off differently, as at the edge of a
spectrum (two half Gaussians; J. F. John, Communications in Statistics - Theory and Methods 11, 879,
1982). Two spots are two Gaussians of the same width, as the point spread is the same for both;
they are fitted by expectation and maximisation over a known background (A. P. Dempster,
N. M. Laird & D. B. Rubin, J. R. Statist. Soc. B 39, 1, 1977).

The pixels are the columns of an array `near` of shape (N_NEAR, n or more): middle (fs, ss), counts,
expected background, and the part of the light that a pixel is taken to belong to, -1 for none.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FS, SS, COUNTS, BACKGROUND, PART, N_NEAR = range(6)

ALL = -1.0
"""All parts together, for `shape_of`."""

N_SHAPE = 6
"""Photons, middle (fs, ss), and variances along fs, along ss and their covariance of a Gaussian."""

LEAST_VARIANCE = 0.16
"""Variance, in pixels², at which all of a Gaussian is in one pixel: 1 / 2π."""

_ROUNDS = 3
_BLUR = 0.4
"""Variance, in pixels², with which the ends of an even streak are blurred at most."""

_LENGTHS = (0.75, 1.0, 1.3)
_GAUSSIAN, _UNEVEN, _EVEN = 0, 1, 2
_N_PROFILES = _EVEN + len(_LENGTHS)
_MODES = 17


@njit(cache=True, nogil=True)
def shape_of(near, n, part, shape):
    """Write the moments of the counts above the background of one part of the pixels.

    Parameters
    ----------
    near : ndarray of float64, shape (N_NEAR, n or more)
        Pixels.
    n : int
        Number of pixels.
    part : float
        The part; `ALL` for all parts together.
    shape : ndarray of float64, shape (N_SHAPE,)
        Written.
    """
    shape[:] = 0.0
    for p in range(n):
        above = near[COUNTS, p] - near[BACKGROUND, p]
        if above > 0.0 and (near[PART, p] == part if part >= 0.0 else near[PART, p] >= 0.0):
            _add(shape, above, near[FS, p], near[SS, p])
    _centre(shape)


@njit(cache=True, nogil=True, inline="always")
def _add(shape, photons, fs, ss):
    shape[0] += photons
    shape[1] += photons * fs
    shape[2] += photons * ss
    shape[3] += photons * fs * fs
    shape[4] += photons * ss * ss
    shape[5] += photons * fs * ss


@njit(cache=True, nogil=True)
def _centre(shape):
    """Turn sums into a middle and variances."""
    photons = max(shape[0], 1e-9)
    shape[0] = photons
    for v in range(1, N_SHAPE):
        shape[v] /= photons
    shape[3] -= shape[1] * shape[1]
    shape[4] -= shape[2] * shape[2]
    shape[5] -= shape[1] * shape[2]


@njit(cache=True, nogil=True)
def axes_of(shape):
    """Return the variances along the long and the short axis, and the long one's direction."""
    middle = 0.5 * (shape[3] + shape[4])
    apart = math.hypot(0.5 * (shape[3] - shape[4]), shape[5])
    angle = 0.5 * math.atan2(2.0 * shape[5], shape[3] - shape[4])
    along = max(middle + apart, LEAST_VARIANCE)
    across = max(middle - apart, LEAST_VARIANCE)
    return along, across, math.cos(angle), math.sin(angle)


@njit(cache=True, nogil=True)
def log_spots(near, n, is_round, shapes, light):
    """Log likelihood of the counts for equally wide spots that explain them best.

    Parameters
    ----------
    near, n
        As for `shape_of`; pixels of no part count too.
    is_round : bool
        Whether spots are as wide in all directions.
    shapes : ndarray of float64, shape (k, N_SHAPE)
        First guess; overwritten by the fit.
    light : ndarray of float64, shape (k or more, n or more)
        Room to work in.
    """
    k = shapes.shape[0]
    for _ in range(_ROUNDS):
        _pool(shapes, is_round)
        _shine(near, n, shapes, light)
        shapes[:] = 0.0
        for p in range(n):
            if near[COUNTS, p] > 0.0:
                shining = 0.0
                for c in range(k):
                    shining += light[c, p]
                expected = near[BACKGROUND, p] + shining
                for c in range(k):
                    share = light[c, p] / max(expected, 1e-30)
                    _add(shapes[c], near[COUNTS, p] * share, near[FS, p], near[SS, p])
        for c in range(k):
            _centre(shapes[c])
    _pool(shapes, is_round)
    _shine(near, n, shapes, light)
    for c in range(1, k):
        for p in range(n):
            light[0, p] += light[c, p]
    return _log_likelihood(near, n, light[0])


@njit(cache=True, nogil=True)
def _pool(shapes, is_round):
    """Give all spots the variances that they have on average."""
    k = shapes.shape[0]
    photons = 0.0
    for c in range(k):
        photons += shapes[c, 0]
    for v in range(3, N_SHAPE):
        pooled = 0.0
        for c in range(k):
            pooled += shapes[c, 0] * shapes[c, v]
        for c in range(k):
            shapes[c, v] = pooled / photons
    if is_round:
        radial = 0.5 * (shapes[0, 3] + shapes[0, 4])
        for c in range(k):
            shapes[c, 3], shapes[c, 4], shapes[c, 5] = radial, radial, 0.0


@njit(cache=True, nogil=True)
def _shine(near, n, shapes, light):
    """Write the photons of Gaussians in each pixel."""
    for c in range(shapes.shape[0]):
        along, across, cosine, sine = axes_of(shapes[c])
        height = shapes[c, 0] / (2.0 * math.pi * math.sqrt(along * across))
        for p in range(n):
            x, y = near[FS, p] - shapes[c, 1], near[SS, p] - shapes[c, 2]
            u, v = x * cosine + y * sine, y * cosine - x * sine
            light[c, p] = height * math.exp(-0.5 * (u * u / along + v * v / across))


@njit(cache=True, nogil=True)
def _log_likelihood(near, n, light):
    """Log likelihood of the counts, up to a constant of theirs."""
    total = 0.0
    for p in range(n):
        expected = near[BACKGROUND, p] + light[p]
        total -= expected
        if near[COUNTS, p] > 0.0:
            total += near[COUNTS, p] * math.log(max(expected, 1e-12))
    return total


@njit(cache=True, nogil=True)
def widths_apart(shapes):
    """Return the distance of two equally wide spots in widths that they have along the line."""
    x, y = shapes[1, 1] - shapes[0, 1], shapes[1, 2] - shapes[0, 2]
    squared = x * x + y * y
    spread = x * x * shapes[0, 3] + y * y * shapes[0, 4] + 2.0 * x * y * shapes[0, 5]
    return squared / math.sqrt(max(spread, LEAST_VARIANCE * squared, 1e-9))


@njit(cache=True, nogil=True)
def log_streak(near, n, shape, light):
    """Log likelihood of the counts for the streak that explains them best.

    Parameters
    ----------
    near, n
        As for `log_spots`.
    shape : ndarray of float64, shape (N_SHAPE,)
        Moments of all parts.
    light : ndarray of float64, shape (1 or more, n or more)
        Room to work in.
    """
    along, across, cosine, sine = axes_of(shape)
    long, short = np.empty((_N_PROFILES, n)), np.empty((_N_PROFILES, n))
    blur = min(across, _BLUR)
    _write_profiles(near, n, shape, along, blur, cosine, sine, long)
    _write_profiles(near, n, shape, across, blur, -sine, cosine, short)
    best = -math.inf
    for k in range(_N_PROFILES):
        for m in range(_N_PROFILES):
            for p in range(n):
                light[0, p] = shape[0] * long[k, p] * short[m, p]
            best = max(best, _log_likelihood(near, n, light[0]))
    return best


@njit(cache=True, nogil=True)
def _write_profiles(near, n, shape, variance, blur, cosine, sine, profiles):
    """Write the profiles that a streak may have in a direction, each summing to 1 over pixels."""
    height = 1.0 / math.sqrt(2.0 * math.pi * variance)
    half, scale = math.sqrt(3.0 * max(variance - blur, 1e-3)), math.sqrt(2.0 * blur)
    meet, before, after = _halves(near, n, shape, variance, cosine, sine)
    top = math.sqrt(2.0 / math.pi) / (math.sqrt(before) + math.sqrt(after))
    for p in range(n):
        u = (near[FS, p] - shape[1]) * cosine + (near[SS, p] - shape[2]) * sine
        profiles[_GAUSSIAN, p] = height * math.exp(-0.5 * u * u / variance)
        for k in range(len(_LENGTHS)):
            end = half * _LENGTHS[k]
            part = math.erf((u + end) / scale) - math.erf((u - end) / scale)
            profiles[_EVEN + k, p] = part / (4.0 * end)
        u -= meet
        profiles[_UNEVEN, p] = top * math.exp(-0.5 * u * u / (before if u < 0.0 else after))


@njit(cache=True, nogil=True)
def _halves(near, n, shape, variance, cosine, sine):
    """Return where two half Gaussians meet that explain a profile best, and their variances.

    With S₁ and S₂ the sums of squares on either side of where they meet, the likelihood is largest
    where ∛S₁ + ∛S₂ is least, and then has the variances ∛S₁² (∛S₁ + ∛S₂) / N and the same of S₂.
    """
    step, least = 4.0 * math.sqrt(variance) / (_MODES - 1), math.inf
    before = after = meet = 0.0
    for k in range(_MODES):
        at, low, high = (k - _MODES // 2) * step, 0.0, 0.0
        for p in range(n):
            above = near[COUNTS, p] - near[BACKGROUND, p]
            if above > 0.0 and near[PART, p] >= 0.0:
                u = (near[FS, p] - shape[1]) * cosine + (near[SS, p] - shape[2]) * sine - at
                # A pixel's photons are spread over it.
                square = above * (u * u + 1.0 / 12.0)
                if u < 0.0:
                    low += square
                else:
                    high += square
        low, high = low ** (1.0 / 3.0), high ** (1.0 / 3.0)
        if low + high < least:
            least, before, after, meet = low + high, low, high, at
    before, after = before * before * least / shape[0], after * after * least / shape[0]
    return meet, max(before, LEAST_VARIANCE), max(after, LEAST_VARIANCE)
