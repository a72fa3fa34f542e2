"""The blocks of a frame, square pieces of it, into its bins: all of them, less those that are cut.

Few blocks are bright. These are listed once, and what is cut is taken out of the sums of all.
"""

from __future__ import annotations

import numba
import numpy as np

from hitfinder.finding.lit import add_lit

_STEEPEST = 1.3
"""Largest rate in a bin over its mean; beside an odd ring, such as one with a peak, it is less."""


@numba.njit(cache=True, nogil=True)
def sum_lit(at, counts, rows, lost, n_fs, size, sums, tops, good):  # type: ignore[no-untyped-def]
    """Do what `hitfinder.finding.squares.sum_squares` does, from the pixels that hold photons.

    Parameters
    ----------
    at, counts, rows, lost : ndarray
        See `hitfinder.finding.lit.Lit`.
    n_fs : int
        Pixels in a row.
    size, sums, tops
        As for `hitfinder.finding.squares.sum_squares`.
    good : ndarray of int32, shape of the blocks
        Unmasked pixels of the blocks; less by those without a reading.
    """
    sums[:] = 0
    tops[:] = 0
    add_lit(at, counts, rows, n_fs, size, sums, tops)
    for p in lost:
        good[p // n_fs // size, p % n_fs // size] -= 1


@numba.njit(cache=True, nogil=True)
def readable(unread, n_good, shape, size, out):  # type: ignore[no-untyped-def]
    """Write the pixels of each block that have a reading; none where the mask leaves none."""
    for i in range(out.shape[0]):
        height = min(size, shape[0] - i * size)
        for k in range(out.shape[1]):
            width = min(size, shape[1] - k * size)
            out[i, k] = max(height * width - unread[i, k], 0) if n_good[i, k] > 0 else 0


@numba.njit(cache=True, nogil=True)
def add_blocks(sums, good, index, n, pixels):  # type: ignore[no-untyped-def]
    """Add the blocks into the bins.

    Parameters
    ----------
    sums, good, index : ndarray of int32, shape of the blocks
        Photons, pixels with a reading, bin.
    n, pixels : ndarray, shape (n_bins,)
        Written: photons and pixels.
    """
    n[:] = 0.0
    pixels[:] = 0.0
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            b = index[i, k]
            if b >= 0:
                n[b] += sums[i, k]
                pixels[b] += good[i, k]


@numba.njit(cache=True, nogil=True)
def add_lit_blocks(at, counts, rows, n_fs, size, index, n):  # type: ignore[no-untyped-def]
    """Add the pixels that hold photons into the bins of their blocks; see `sum_lit`."""
    n[:] = 0.0
    wide = np.uint32(size)
    for row in range(rows.size - 1):
        of_row = index[row // size]
        for p in range(rows[row], rows[row + 1]):
            # Masked pixels hold no photons, and the others have a bin.
            n[of_row[np.uint32(at[p] - row * n_fs) // wide]] += counts[p]


@numba.njit(cache=True, nogil=True)
def list_bright(sums, tops, index, bounds, bright):  # type: ignore[no-untyped-def]
    """List the blocks that reach a bound.

    Parameters
    ----------
    sums, tops, index : ndarray of int32, shape of the blocks
        Photons, largest count, bin.
    bounds : ndarray of int64, shape (2, n_bins)
        Of the sum and the largest count.
    bright : ndarray of int32
        Written: numbers of the blocks, in reading order.

    Returns
    -------
    int
        Blocks listed.
    """
    lowest = min(bounds[0].min(), bounds[1].min())
    n_listed = 0
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            # The largest count is no more than the sum.
            if sums[i, k] < lowest:
                continue
            b = index[i, k]
            if b >= 0 and (sums[i, k] >= bounds[0, b] or tops[i, k] >= bounds[1, b]):
                bright[n_listed] = i * sums.shape[1] + k
                n_listed += 1
    return n_listed


@numba.njit(cache=True, nogil=True)
def leave_out(bright, sums, tops, good, index, limits, n, pixels):  # type: ignore[no-untyped-def]
    """Take the blocks beyond the limits out of the bins.

    Parameters
    ----------
    bright : ndarray of int32
        Numbers of the blocks that may be beyond them, from `list_bright`.
    sums, tops, good, index : ndarray of int32, shape of the blocks
        Photons, largest count, pixels with a reading, bin.
    limits : ndarray of int64, shape (2, n_bins)
        Sum and count from which a block is cut.
    n, pixels : ndarray, shape (n_bins,)
        Photons and pixels of all blocks; changed.

    Returns
    -------
    int
        Blocks taken out.
    """
    n_out = 0
    for block in bright:
        i, k = block // sums.shape[1], block % sums.shape[1]
        b = index[i, k]
        if sums[i, k] >= limits[0, b] or tops[i, k] >= limits[1, b]:
            n[b] -= sums[i, k]
            pixels[b] -= good[i, k]
            n_out += 1
    return n_out


@numba.njit(cache=True, nogil=True)
def cut_around(bright, blocks, limits, low, n_pixels, n, pixels, cut):  # type: ignore[no-untyped-def]
    """Take dark blocks, and the blocks around bright and dark ones, out of the bins as well.

    Parameters
    ----------
    bright, limits
        As for `leave_out`.
    blocks : tuple of ndarray
        `sums`, `tops`, `good` and `index`, as for `leave_out`.
    low : ndarray, shape (n_bins,)
        Sum up to which a whole block is dark, negative where none is.
    n_pixels : int
        Pixels of a whole block.
    n, pixels : ndarray, shape (n_bins,)
        As `leave_out` leaves them; changed.
    cut : ndarray, shape (2, n_bins)
        Increased: blocks cut for their sum, and for a pixel alone.
    """
    sums, tops, good, index = blocks
    out = np.zeros(sums.shape, np.bool_)
    for block in bright:
        i, k = block // sums.shape[1], block % sums.shape[1]
        b = index[i, k]
        of_sum = sums[i, k] >= limits[0, b]
        if of_sum or tops[i, k] >= limits[1, b]:
            cut[0 if of_sum else 1, b] += 1.0
            _cut_beside(i, k, blocks, limits, out, n, pixels)
    if low.max() < 0.0:
        return
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            b = index[i, k]
            is_whole = 2 * good[i, k] >= n_pixels
            if b >= 0 and is_whole and sums[i, k] * n_pixels <= low[b] * good[i, k]:
                _cut_beside(i, k, blocks, limits, out, n, pixels)


@numba.njit(cache=True, nogil=True)
def _cut_beside(row, column, blocks, limits, out, n, pixels):  # type: ignore[no-untyped-def]
    """Take a block and those around it out of the bins, unless they are `out` or beyond limits."""
    sums, tops, good, index = blocks
    for i in range(max(row - 1, 0), min(row + 2, sums.shape[0])):
        for k in range(max(column - 1, 0), min(column + 2, sums.shape[1])):
            b = index[i, k]
            if out[i, k] or b < 0:
                continue
            out[i, k] = True
            if sums[i, k] < limits[0, b] and tops[i, k] < limits[1, b]:
                n[b] -= sums[i, k]
                pixels[b] -= good[i, k]


@numba.njit(cache=True, nogil=True)
def highest_rates(rates, exposure, highest):  # type: ignore[no-untyped-def]
    """Write the largest rate within each bin: half way to the next ring, if that one is brighter.

    Parameters
    ----------
    rates, exposure : ndarray, shape (n_rings, n_azimuths)
        Photons per pixel, and pixels.
    highest : ndarray, shape (n_rings, n_azimuths)
        Written.
    """
    n_rings = rates.shape[0]
    for k in range(n_rings):
        for a in range(rates.shape[1]):
            own = rates[k, a]
            highest[k, a] = own
            for there in (k - 1, k + 1):
                if 0 <= there < n_rings and exposure[there, a] > 0:
                    middle = min((own + rates[there, a]) / 2, _STEEPEST * own)
                    highest[k, a] = max(highest[k, a], middle)
