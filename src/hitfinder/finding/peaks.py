"""Candidate pixels to Bragg peaks: significance of small windows, extent, position, photons."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hitfinder.finding.extent import MAX_EXTENT, claim, grow, sign
from hitfinder.finding.separate import N_ROOM, SIDE, divide
from hitfinder.finding.spread import N_NEAR
from hitfinder.finding.texture import (
    N_LOCAL,
    N_OCTANTS,
    as_least,
    as_usual,
    expected,
    local_background,
    significance,
)

PEAK_DTYPE = np.dtype(
    [
        ("fs", "f8"),
        ("ss", "f8"),
        ("photons", "f4"),
        ("background", "f4"),
        ("log_p", "f4"),
        ("n_pixels", "i4"),
        ("snr", "f4"),
        ("maximum", "f4"),
        ("resolution_a", "f4"),
        ("probability", "f4"),
        ("photons_sigma", "f4"),
    ]
)
"""One found peak: position (corner convention, pixels), photons above background and background
under the peak, natural logarithm of the chance probability, pixels, signal-to-noise ratio,
brightest pixel (photons), resolution (Å); from a network alone, NaN otherwise: the probability of
a Bragg peak and the standard deviation of its photons."""

WINDOW_PIXELS = (1, 2, 2, 4, 9, 25)
"""Pixels in the windows tested: 1×1, 1×2, 2×1, 2×2, 3×3, 5×5."""

N_MEASURES = 10
"""Columns that `collect_peaks` writes."""

_REACH = 2
_WINDOWS = np.array(
    [
        (row, column, rows, columns)
        for rows, columns in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (5, 5))
        for row in (range(_REACH + 1 - rows, _REACH + 1) if rows < 3 else (_REACH - rows // 2,))
        for column in (
            range(_REACH + 1 - columns, _REACH + 1) if columns < 3 else (_REACH - columns // 2,)
        )
    ]
)
"""First row and column, rows and columns of the windows that hold the middle of 5×5 pixels; those
of 3×3 and 5×5 have it in their own middle."""

_LOG_COUNTS = np.log(np.maximum(np.arange(1024), 1))
"""Natural logarithms of the counts that most windows have."""

ROOM = (5, 25)
"""Shape of the room that `best_window` works in."""


def peak_table(fs: ArrayLike, ss: ArrayLike, **columns: ArrayLike) -> NDArray[np.void]:
    """Return a peak table; what is not given is unknown.

    Parameters
    ----------
    fs, ss : array_like, shape (n,)
        Positions, in pixels, corner convention.
    **columns : array_like, shape (n,)
        Any other columns of `PEAK_DTYPE`.

    Examples
    --------
    >>> import hitfinder as hf
    >>> table = hf.peak_table([10.5, 80.5], [20.5, 40.5], photons=[30, 12])
    >>> table["photons"].tolist(), table["probability"].tolist()
    ([30.0, 12.0], [nan, nan])
    """
    table = np.zeros(np.asarray(fs).shape, PEAK_DTYPE)
    for name in PEAK_DTYPE.names or ():
        if PEAK_DTYPE[name].kind == "f":
            table[name] = np.nan
    for name, values in {"fs": fs, "ss": ss, **columns}.items():
        table[name] = values
    return table


def doubtful(peaks: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which peaks are likelier false than true, as far as there are probabilities."""
    return np.asarray(peaks["probability"] < 0.5)


@njit(cache=True, nogil=True)
def best_window(i, j, log_p_max, local, work, position, weight, rate, room):
    """Test the windows around pixel (i, j) and return the one chance explains worst.

    Parameters
    ----------
    i, j : int
        Row and column.
    log_p_max : float
        Windows that cannot be as significant as this are passed over.
    local : ndarray of float64, shape (N_LOCAL,)
        From `hitfinder.finding.texture.local_background`.
    work, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    room : ndarray of float64, shape ROOM
        Room to work in.

    Returns
    -------
    log_p : float
        Natural logarithm of the chance probability of the window.
    window : tuple of int
        Its first row and column, rows and columns.
    """
    _look_at(i, j, 0, work, position, weight, rate, room)
    best, which = _best_of(log_p_max, local, room)
    row, column = i + _WINDOWS[which, 0] - _REACH, j + _WINDOWS[which, 1] - _REACH
    return best, (row, column, _WINDOWS[which, 2], _WINDOWS[which, 3])


@njit(cache=True, nogil=True)
def _look_at(i, j, first, work, position, weight, rate, room):
    """Write counts and background of the 5×5 pixels from column `first` on; 0 without a reading.

    They are rows 0 and 1 of `room`, in reading order.
    """
    n_ss, n_fs = work.shape
    for k in range(5):
        for m in range(first, 5):
            row, column = i + k - _REACH, j + m - _REACH
            room[0, 5 * k + m] = room[1, 5 * k + m] = 0.0
            inside = (row >= 0) & (row < n_ss) & (column >= 0) & (column < n_fs)
            if inside and work[row, column] >= 0:
                room[0, 5 * k + m] = work[row, column]
                room[1, 5 * k + m] = expected(row, column, position, weight, rate)


@njit(cache=True, nogil=True)
def _best_of(log_p_max, local, room):
    """Return what `best_window` does of the pixels in `room`, and the number of the window."""
    likeliest = _window_sums(local[0], room)
    best, which = 0.0, 0
    if room[4, likeliest] <= log_p_max:
        # Few others can be as significant as the one with the least bound.
        least = significance(room[2, likeliest], room[3, likeliest], local)
        for w in range(_WINDOWS.shape[0]):
            if room[4, w] > least:
                continue
            log_p = least
            if w != likeliest:
                log_p = significance(room[2, w], room[3, w], local)
            if log_p < best:
                best, which = log_p, w
    return best, which


@njit(cache=True, nogil=True)
def _window_sums(factor, room):
    """Write the counts, background and least log probability of the windows; return the least.

    They are rows 2, 3 and 4 of `room`; the first two are those of `_look_at`.
    """
    for w in range(_WINDOWS.shape[0]):
        row, column = _WINDOWS[w, 0], _WINDOWS[w, 1]
        counts = mean = 0.0
        for k in range(row, row + _WINDOWS[w, 2]):
            for m in range(column, column + _WINDOWS[w, 3]):
                counts += room[0, 5 * k + m]
                mean += room[1, 5 * k + m]
        room[2, w], room[3, w] = counts, mean
    likeliest, usual = 0, factor * room[3, _WINDOWS.shape[0] - 1] / 25.0
    log_usual = math.log(usual) if usual > 0.0 else 0.0
    for w in range(_WINDOWS.shape[0]):
        mean, n_pixels = factor * room[3, w], _WINDOWS[w, 2] * _WINDOWS[w, 3]
        room[4, w] = _least_log_p(
            room[2, w], mean, n_pixels * usual, log_usual + _LOG_COUNTS[n_pixels]
        )
        if room[4, w] < room[4, likeliest]:
            likeliest = w
    return likeliest


@njit(cache=True, nogil=True, inline="always")
def _least_log_p(counts, mean, usual, log_usual):
    """Bound the log probability of a Poisson tail from below (Chernoff's exponent, Stirling).

    The logarithm of a mean is bounded by that of a `usual` one near it: that of their ratio x is
    1 - 1/x at least.
    """
    if counts <= mean or mean <= 0.0:
        return 0.0 if counts <= mean else -math.inf
    log_counts = _LOG_COUNTS[int(counts)] if counts < _LOG_COUNTS.size else math.log(counts)
    log_mean = log_usual + 1.0 - usual / mean
    return counts - mean - counts * (log_counts - log_mean) - 0.5 * log_counts - 1.0


@njit(cache=True, nogil=True)
def test_candidates(candidates, log_p_max, work, position, weight, rate, tested):
    """Give each candidate the chance probability of its best window against the rings' background.

    Parameters
    ----------
    candidates : ndarray of int32, shape (n, 2)
        (ss, fs) of the candidates, in reading order.
    log_p_max : float
        Candidates less significant than this are dropped.
    work, position, weight, rate
        As for `hitfinder.finding.texture.neighbourhood`.
    tested : ndarray of float64, shape (n,)
        Written: log chance probability, 0 for the dropped.
    """
    room, usual = np.empty(ROOM), np.empty(N_LOCAL)
    as_usual(usual)
    row = column = np.int64(-1)
    for c in range(candidates.shape[0]):
        i, j = np.int64(candidates[c, 0]), np.int64(candidates[c, 1])
        is_next = i == row and j == column + 1
        if is_next:
            # All columns but the last one are those of the candidate before.
            for p in range(24):
                room[0, p], room[1, p] = room[0, p + 1], room[1, p + 1]
        _look_at(i, j, 4 if is_next else 0, work, position, weight, rate, room)
        row, column = i, j
        log_p = _best_of(log_p_max, usual, room)[0]
        tested[c] = log_p if log_p <= log_p_max else 0.0


@njit(cache=True, nogil=True)
def collect_peaks(
    candidates, log_p_max, variance, work, ring, position, weight, rate, bright, faint, values,
    owner, peaks, boxes,
):  # fmt: skip
    """Turn candidates into separate peaks.

    Each candidate is judged against the background around it. A peak claims the pixels connected
    to it, less those of other spots; later candidates are judged without the claimed pixels, so one
    spot gives one peak and two close spots give two. Claimed pixels are marked in `work` by -2 less
    their counts.

    Parameters
    ----------
    candidates : ndarray of int32, shape (n, 2)
        (ss, fs) of the candidates, most significant first.
    log_p_max : float
        Least significance of a peak.
    variance : float
        Texture of the background, from `texture_variance`.
    work, ring, position, weight, rate, bright
        As for `hitfinder.finding.texture.neighbourhood`; `work` is changed.
    faint : ndarray of int32, shape (n_rings,)
        Counts at and above which a pixel touching a peak belongs to it.
    values : ndarray, shape (ss, fs)
        What the photons of a peak are summed from: the counts, or the values they stand for.
    owner : ndarray of int32, shape (ss, fs)
        Written: number of the peak, from 1, that a pixel is of.
    peaks : ndarray of float64, shape (n, N_MEASURES)
        Written: fs, ss, photons, background, log_p, pixels, brightest pixel, signal-to-noise, how
        much brighter the background is than in its rings, and variance about the middle in pixels²,
        on average over directions.
    boxes : ndarray of int64, shape (n, 4)
        Written: first and last row, first and last column of the pixels of each.

    Returns
    -------
    int
        Number of peaks.
    """
    room, sums = np.empty(ROOM), np.empty((N_OCTANTS, 4))
    local, least = np.empty((2, N_LOCAL))
    as_least(least, variance, rate)
    extent = np.empty((MAX_EXTENT, 2), np.int64)
    near, member = np.empty((N_NEAR + 2, N_ROOM)), np.empty((SIDE, SIDE), np.int8)
    n_peaks = 0
    for c in range(candidates.shape[0]):
        if n_peaks >= peaks.shape[0]:
            break
        i, j = np.int64(candidates[c, 0]), np.int64(candidates[c, 1])
        if work[i, j] < 0 or _is_empty(i, j, work):
            continue
        log_p, _ = best_window(i, j, log_p_max, least, work, position, weight, rate, room)
        if log_p > log_p_max:
            continue
        local_background(i, j, variance, work, ring, position, weight, rate, bright, sums, local)
        log_p, window = best_window(i, j, log_p_max, local, work, position, weight, rate, room)
        if log_p > log_p_max:
            continue
        n_grown = grow(window, work, ring, faint, extent)
        n = divide(
            extent, n_grown, window, work, ring, position, weight, rate, local, faint, near,
            member,
        )  # fmt: skip
        _measure(extent[:n], local[0], log_p, values, position, weight, rate, peaks[n_peaks])
        claim(extent, n, n_grown, work)
        sign(extent[:n], n_peaks + 1, owner, boxes[n_peaks])
        n_peaks += 1
    return n_peaks


@njit(cache=True, nogil=True)
def _is_empty(i, j, work):
    """Whether other peaks have claimed all counts of the 5×5 pixels around row i, column j."""
    for row in range(max(i - _REACH, 0), min(i + _REACH + 1, work.shape[0])):
        for column in range(max(j - _REACH, 0), min(j + _REACH + 1, work.shape[1])):
            if work[row, column] > 0:
                return False
    return True


@njit(cache=True, nogil=True)
def _measure(extent, factor, log_p, values, position, weight, rate, peak):
    """Sum and centroid of the photons above background; pixel centres are at +0.5."""
    total = mean = top = 0.0
    moment = moment_fs = moment_ss = square = 0.0
    for e in range(extent.shape[0]):
        i, j = extent[e, 0], extent[e, 1]
        n = values[i, j]
        background = factor * expected(i, j, position, weight, rate)
        total += n
        mean += background
        top = max(top, float(n))
        above = max(n - background, 0.0)
        moment += above
        moment_fs += above * (j + 0.5)
        moment_ss += above * (i + 0.5)
        square += above * ((j + 0.5) ** 2 + (i + 0.5) ** 2)
    if moment > 0:
        peak[0], peak[1] = moment_fs / moment, moment_ss / moment
        peak[9] = 0.5 * (square / moment - peak[0] ** 2 - peak[1] ** 2)
    peak[2], peak[3], peak[4] = total - mean, mean, log_p
    peak[5], peak[6] = extent.shape[0], top
    peak[7] = (total - mean) / math.sqrt(max(total, 1.0))
    peak[8] = factor
