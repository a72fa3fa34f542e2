"""Photons of one frame in the bins, with Bragg peaks and whatever else is not smooth cut out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hitfinder.estimate.bins import PolarBins
from hitfinder.estimate.blocks import (
    add_blocks,
    add_lit_blocks,
    cut_around,
    highest_rates,
    leave_out,
    list_bright,
    readable,
    sum_lit,
)
from hitfinder.estimate.weak_peaks import CutPeaks
from hitfinder.finding.lit import Lit
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.squares import SquareSums, count_unread, of_side, sum_squares

_LOG_P_PIXELS = math.log(2e-5), math.log(3e-6)
_LOG_P_BLOCK = math.log(1e-5)
_SPARSE_BELOW = 0.1
_LOW_SIGMAS = 5.5
_LOW_FROM = 50.0
_ROUNDS = 6
_NEARLY = 0.9
"""Share of a limit from which a block is looked at again when limits have changed."""

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
        self._listed = np.empty(bins.index.size, np.int32)

    def gather(
        self,
        counts: NDArray[np.int32],
        lit: Lit | None = None,
        squares: Sequence[SquareSums] = (),
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
        squares : sequence of SquareSums, optional
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
        every = np.empty((2, bins.exposure.size))
        blocks = (sums, tops, self._good, bins.index)
        if lit is not None and not len(lit.lost):
            every[1] = bins.exposure.ravel()
            add_lit_blocks(
                lit.at, lit.counts, lit.rows, counts.shape[1], bins.block_px, bins.index, every[0]
            )
        else:
            add_blocks(sums, self._good, bins.index, every[0], every[1])
        limits, bright, (n, pixels) = self._bright(blocks, every)
        n_pixels = bins.block_px**2
        cut = np.zeros((2, n.size))
        low = _low(_rate(n, pixels) * n_pixels)
        cut_around(bright, blocks, limits, low, n_pixels, n, pixels, cut)
        kept = self._kept(_rate(n, pixels), limits)
        shape = bins.exposure.shape
        photons, exposure = n.reshape(shape), (pixels * kept).reshape(shape)
        of_rings = photons.sum(1)
        weak = np.minimum(self._weak_peaks(cut, limits, n, pixels), _MOST_WEAK * of_rings)
        share = weak / np.maximum(of_rings - weak, 1)
        return BinSums(photons, exposure * (1 + share[:, None]))

    def _bright(
        self, blocks: tuple[NDArray[np.int32], ...], every: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
        """Find the blocks that are too bright.

        Parameters
        ----------
        blocks : tuple of ndarray
            Photons, largest count, pixels with a reading and bin of each.
        every : ndarray, shape (2, n_bins)
            Photons and pixels of all blocks.

        Returns
        -------
        limits : ndarray of int64, shape (2, n_bins)
            See `_limits`.
        bright : ndarray of int32
            Numbers of blocks, among them all that are beyond the limits.
        kept : ndarray, shape (2, n_bins)
            Photons and pixels of the blocks within the limits.
        """
        sums, tops, good, index = blocks
        bounds = np.full(every.shape, np.iinfo(np.int64).max)
        bright, kept, n_out = self._listed[:0], every, 0
        for _ in range(_ROUNDS):
            limits = self._limits(_rate(kept[0], kept[1]))
            # Limits fall from round to round, by little.
            if (limits < bounds).any():
                bounds = np.maximum(_NEARLY * limits, 2).astype(np.int64)
                bright = self._listed[: list_bright(sums, tops, index, bounds, self._listed)]
            kept, n_before = every.copy(), n_out
            n_out = leave_out(bright, sums, tops, good, index, limits, kept[0], kept[1])
            if n_out == n_before:
                break
        return limits, bright, kept

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
        highest = np.empty(self.bins.exposure.shape)
        highest_rates(rate.reshape(highest.shape), self.bins.exposure, highest)
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
