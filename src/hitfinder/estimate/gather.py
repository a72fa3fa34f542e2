"""Photons of one frame in the bins, with Bragg peaks and whatever else is not smooth cut out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import special

from hitfinder.estimate.bins import PolarBins
from hitfinder.estimate.weak_peaks import CutPeaks
from hitfinder.finding.lit import Lit, add_lit
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.squares import Squares, count_unread, of_side, sum_squares

_LOG_P_PIXELS = math.log(2e-5), math.log(3e-6)
_LOG_P_BLOCK = math.log(1e-5)
_SPARSE_BELOW = 0.1
_LOW_SIGMAS = 5.5
_LOW_FROM = 50.0
_ROUNDS = 6
_TEXTURE = 0.02
_MOST_WEAK = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class BinSums:
    """What a frame, or several added up, has in the bins.

    Attributes
    ----------
    counts : ndarray, shape (n_rings, n_azimuths)
        Photons.
    exposure : ndarray, shape (n_rings, n_azimuths)
        Pixels they fell on, less the share of photons lost with bright pixels that were cut, more
        the share that peaks too weak to be cut have added.
    """

    counts: NDArray[np.float64]
    exposure: NDArray[np.float64]


class Gatherer:
    """Gathers frames of one detector; keeps its buffers. Not to be shared between threads.

    Parameters
    ----------
    bins : PolarBins
        Blocks and bins of the detector.
    """

    def __init__(self, bins: PolarBins) -> None:
        self.bins = bins
        shape = bins.index.shape
        self._sums, self._tops, self._unread, self._good = np.empty((4, *shape), np.int32)

    def gather(
        self,
        counts: NDArray[np.int32],
        lit: Lit | None = None,
        squares: Sequence[Squares] = (),
    ) -> BinSums:
        """Sum one frame's photons into the bins.

        A block whose sum, or one of whose pixels, is brighter than chance allows beside the other
        blocks of its bin is cut, with the blocks around it, which hold the tails of its peak. Cut
        are thereby all pixels above a count, and the exposure allows for it: below a cut c a
        Poisson law of mean λ has the mean λ P(N < c - 1) / P(N < c). It allows for the photons of
        peaks too weak to be cut as well, see `CutPeaks`.

        Parameters
        ----------
        counts : ndarray of int32, shape of a frame
            Photons, -1 where there is no reading; see `hitfinder.finding.squares.sum_squares`.
        lit : Lit, optional
            The pixels that hold photons, if they are few; the sums are the same without.
        squares : sequence of Squares, optional
            The counts in squares, if there are any; the sums are the same without.
        """
        bins = self.bins
        sums, tops = self._sums, self._tops
        self._good[:] = bins.n_good
        if lit is not None:
            sum_lit(
                *(lit.at, lit.counts, lit.rows, lit.lost, counts.shape[1], bins.block_px),
                *(sums, tops, self._good),
            )
        else:
            summed = of_side(squares, bins.block_px)
            if summed is None:
                sum_squares(counts, bins.block_px, sums, tops)
            else:
                sums, tops = summed.total, summed.most
            if summed is None or summed.lost:
                count_unread(counts, bins.block_px, self._unread)
                readable(self._unread, bins.n_good, counts.shape, bins.block_px, self._good)
        n, pixels = np.empty((2, bins.exposure.size))
        blocks = (sums, tops, self._good, bins.index)
        limits = np.full((2, n.size), np.iinfo(np.int32).max, np.int64)
        n_kept = add_blocks(*blocks, limits, n, pixels)
        for _ in range(_ROUNDS):
            limits = self._limits(_rate(n, pixels))
            n_before, n_kept = n_kept, add_blocks(*blocks, limits, n, pixels)
            if n_kept == n_before:
                break
        n_pixels = bins.block_px**2
        cut = np.zeros((2, n.size))
        cut_around(*blocks, limits, _low(_rate(n, pixels) * n_pixels), n_pixels, n, pixels, cut)
        kept = self._kept(_rate(n, pixels), limits)
        shape = bins.exposure.shape
        photons, exposure = n.reshape(shape), (pixels * kept).reshape(shape)
        of_rings = photons.sum(1)
        weak = np.minimum(self._weak_peaks(cut, limits, n, pixels), _MOST_WEAK * of_rings)
        share = weak / np.maximum(of_rings - weak, 1)
        return BinSums(photons, exposure * (1 + share[:, None]))

    def _weak_peaks(
        self,
        cut: NDArray[np.float64],
        limits: NDArray[np.int64],
        n: NDArray[np.float64],
        pixels: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the photons of weak peaks in the rings; see `cut_around` for the arguments.

        Where photons are many such peaks do not matter, and a detector's texture may look so.
        """
        shape, rate = self.bins.exposure.shape, _rate(n, pixels)
        chance = special.pdtrc(limits[1] - 1.0, rate) * pixels
        by_sum, by_pixel, by_chance, kept = (
            one.reshape(shape).sum(1) for one in (*cut, chance, pixels)
        )
        # Limits of the bins that have pixels; those of the others mean nothing.
        share = pixels.reshape(shape) / np.maximum(kept, 1)[:, None]
        over = limits - rate * np.array([[self.bins.block_px**2], [1]])
        by_block, at_pixel = ((one.reshape(shape) * share).sum(1) for one in over)
        left = CutPeaks(by_sum, by_pixel, by_chance, by_block, at_pixel, kept).left()
        return np.where(n.reshape(shape).sum(1) < _SPARSE_BELOW * kept, left, 0)

    def _limits(self, rate: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the counts from which a block, and a pixel, are cut, shape (2, n_bins)."""
        highest = self._highest(rate) * (1 + _TEXTURE)
        block = critical_counts(highest * self.bins.block_px**2, _LOG_P_BLOCK)
        # Among few photons two in a pixel tell a peak. Among many, peaks that weak do not matter,
        # and what is cut by chance has to be small beside the noise of all photons.
        sparse = highest < _SPARSE_BELOW
        pixel = np.where(sparse, *(critical_counts(highest, p) for p in _LOG_P_PIXELS))
        # One photon is no peak, however dark it is.
        return np.maximum(np.stack([block, pixel]), 2).astype(np.int64)

    def _highest(self, rate: NDArray[np.float64]) -> NDArray[np.float64]:
        """Largest rate within each bin: half way to the next ring, if that one is brighter."""
        rings = rate.reshape(self.bins.exposure.shape)
        lit = self.bins.exposure > 0
        highest = rings.copy()
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            middle = np.where(lit[there], (rings[here] + rings[there]) / 2, 0)
            # Beside an odd ring, such as one with a peak, the rate is not taken to rise steeply.
            middle = np.minimum(middle, 1.3 * rings[here])
            highest[here] = np.maximum(highest[here], middle)
        return highest.ravel()

    def _kept(self, rate: NDArray[np.float64], limits: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of the photons that cutting bright pixels leaves, apart from pixels lost."""
        kept = np.ones_like(rate)
        for cut, mean in ((limits[0], rate * self.bins.block_px**2), (limits[1], rate)):
            below = special.pdtr(cut - 2.0, mean) / np.maximum(special.pdtr(cut - 1.0, mean), 1e-9)
            kept *= np.where((mean > 0) & (cut >= 2), below, 1.0)
        return kept


def _low(expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum up to which a block is dark, as in a shadow; -1 where it may be so by chance."""
    level = expected * (1 - 5 * _TEXTURE)
    return np.where(expected > _LOW_FROM, level - _LOW_SIGMAS * np.sqrt(level), -1)


def _rate(n: NDArray[np.float64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Photons per pixel, 0 without pixels."""
    return n / np.maximum(pixels, 1)


@numba.njit(cache=True, nogil=True)
def sum_lit(at, counts, rows, lost, n_fs, size, sums, tops, good):  # type: ignore[no-untyped-def]
    """Do what `sum_squares` does, from the pixels that hold photons.

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
def add_blocks(sums, tops, good, index, limits, n, pixels):  # type: ignore[no-untyped-def]
    """Add the blocks within the limits into the bins.

    Parameters
    ----------
    sums, tops, good, index : ndarray of int32, shape of the blocks
        Photons, largest count, pixels with a reading, bin.
    limits : ndarray of int64, shape (2, n_bins)
        Sum and count from which a block is cut.
    n, pixels : ndarray, shape (n_bins,)
        Written: photons and pixels.

    Returns
    -------
    int
        Blocks added.
    """
    n[:] = 0.0
    pixels[:] = 0.0
    n_kept = 0
    for i in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            b = index[i, k]
            if b >= 0 and sums[i, k] < limits[0, b] and tops[i, k] < limits[1, b]:
                n[b] += sums[i, k]
                pixels[b] += good[i, k]
                n_kept += 1
    return n_kept


@numba.njit(cache=True, nogil=True)
def cut_around(sums, tops, good, index, limits, low, n_pixels, n, pixels, cut):  # type: ignore[no-untyped-def]
    """Take dark blocks, and the blocks around bright and dark ones, out of the bins again.

    Parameters
    ----------
    sums, tops, good, index, limits
        As for `add_blocks`.
    low : ndarray, shape (n_bins,)
        Sum up to which a whole block is dark.
    n_pixels : int
        Pixels of a whole block.
    n, pixels : ndarray, shape (n_bins,)
        As written by `add_blocks`; changed.
    cut : ndarray, shape (2, n_bins)
        Increased: blocks cut for their sum, and for a pixel alone.
    """
    n_i, n_k = sums.shape
    out = np.zeros(sums.shape, np.bool_)
    for i in range(n_i):
        for k in range(n_k):
            b = index[i, k]
            if b < 0:
                continue
            bright = sums[i, k] >= limits[0, b] or tops[i, k] >= limits[1, b]
            if bright:
                cut[0 if sums[i, k] >= limits[0, b] else 1, b] += 1.0
            dark = sums[i, k] * n_pixels <= low[b] * good[i, k] and 2 * good[i, k] >= n_pixels
            if bright or dark:
                for di in range(max(i - 1, 0), min(i + 2, n_i)):
                    for dk in range(max(k - 1, 0), min(k + 2, n_k)):
                        out[di, dk] = True
    for i in range(n_i):
        for k in range(n_k):
            b = index[i, k]
            if out[i, k] and b >= 0 and sums[i, k] < limits[0, b] and tops[i, k] < limits[1, b]:
                n[b] -= sums[i, k]
                pixels[b] -= good[i, k]
