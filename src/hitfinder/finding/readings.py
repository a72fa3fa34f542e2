"""A frame as it comes to counts, with marks where a pixel has no reading."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.experiment.zeropeak import Block, ReadNoise, corrected, read_noise
from hitfinder.finding import background
from hitfinder.finding.lit import MOST_LIT, WORDS, Lit, clear, list_lit, load_lit, masked_blocks
from hitfinder.finding.load import load_frame, load_packed
from hitfinder.finding.noisy import first_counts
from hitfinder.finding.rings import Rings
from hitfinder.finding.squares import SquareSums, bin_side, block_side, sum_squares
from hitfinder.geometry.detector import Detector
from hitfinder.io.bitplanes import PER_WORD, wanted_bits
from hitfinder.io.shuffled import Frame, ShuffledFrame
from hitfinder.io.unpack import DAMAGED

_SATURATED = 0.01
_COUNT_LIMIT = 1 << 24
_ROOM = 64
_LEAST_ROWS = 16
"""Rows of a dense frame that are treated at once, at least: fewer are a call too often."""


@dataclasses.dataclass(frozen=True, eq=False)
class Analog:
    """What a detector that does not count reads.

    Attributes
    ----------
    values : ndarray of float32, shape of the geometry
        Photons with noise around zero; overwritten by the next frame.
    blocks : sequence of tuple of slice
        Rows and columns of the panels.
    sigma : ndarray, shape (n_panels,)
        Standard deviation of the noise of each panel, in photons.
    """

    values: NDArray[np.float32]
    blocks: Sequence[Block]
    sigma: NDArray[np.float64]

    @property
    def usual_sigma(self) -> float:
        """That of the panel in the middle."""
        return float(np.median(self.sigma))

    def sigma_at(self, fs: NDArray, ss: NDArray) -> NDArray[np.float64]:
        """Return the noise of the panels at some places; 0 outside them."""
        out = np.zeros(len(fs))
        for (rows, columns), sigma in zip(self.blocks, self.sigma, strict=True):
            inside = (rows.start <= ss) & (ss < rows.stop)
            out[inside & (columns.start <= fs) & (fs < columns.stop)] = sigma
        return out


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """The counts of a frame.

    Attributes
    ----------
    counts : ndarray of int32, shape of the geometry
        Counts, -1 where there is no reading; overwritten by the next frame.
    photons : int
        Their sum.
    n_read : int
        Pixels with a reading.
    lost : int
        Unmasked pixels without one.
    n_lit : int
        Pixels that read more than zero.
    lit : Lit, optional
        These pixels, if they are few.
    squares : tuple of SquareSums
        The counts in squares, if they are many.
    analog : Analog, optional
        What the counts stand for, if the detector does not count.
    """

    counts: NDArray[np.int32]
    photons: int
    n_read: int
    lost: int
    n_lit: int
    lit: Lit | None = None
    squares: tuple[SquareSums, ...] = ()
    analog: Analog | None = None

    @property
    def values(self) -> NDArray:
        """Photons of each pixel, as they were measured."""
        return self.counts if self.analog is None else self.analog.values


class FrameReader:
    """Turns the frames of one geometry into counts. Not to be shared between threads.

    Parameters
    ----------
    rings : Rings
        Rings of the geometry.
    detector : Detector
        Its panels, and the counts at which it stops counting.
    """

    def __init__(self, rings: Rings, detector: Detector) -> None:
        self._ring = rings.index
        self._n_good = int(rings.n_pixels.sum())
        self.limit = int(min(_COUNT_LIMIT, detector.saturation or _COUNT_LIMIT))
        of_bins = bin_side(rings.index.shape)
        of_blocks = block_side(detector.panels[0].pixel_size_m)
        # Once where they are the same; those of blocks come last.
        sides = tuple(dict.fromkeys((of_bins, of_blocks)))
        self._squares = tuple(SquareSums.empty(rings.index.shape, side) for side in sides)
        self._band = -(-_LEAST_ROWS // math.lcm(*sides)) * math.lcm(*sides)
        self._blocks = [panel.slices for panel in detector]
        self._counts = np.empty(rings.index.shape, np.int32)
        room = int(MOST_LIT * self._n_good) + _ROOM
        self._at, self._lit_counts, self._lost = np.empty((3, room), np.int32)
        self._lit_rings = np.empty(room, np.int16)
        self._rows = np.empty(rings.index.shape[0] + 1, np.int64)
        self._rooms: dict[np.dtype, tuple[NDArray[np.bool_], NDArray[np.int32], NDArray]] = {}
        self._unpacked: NDArray = np.empty(0, np.uint16)
        self._before: Lit | None = None
        self._marked = np.empty((0, 4), np.int64)
        self._is_dark = True
        self._values: NDArray[np.float32] | None = None

    def note(self, boxes: NDArray[np.int64]) -> None:
        """Take note of where the boxes of the peaks of the last frame are to be, which get marks.

        Parameters
        ----------
        boxes : ndarray of int64, shape (n, 4)
            Written by `hitfinder.finding.peaks.collect_peaks`, 0 before.
        """
        self._marked = boxes

    def read(self, frame: Frame, mask: NDArray[np.bool_] | None = None) -> Readings:
        """Turn a frame into counts; see `hitfinder.finding.likelihood.LikelihoodFinder`.

        Where the detector does not count, they are `hitfinder.finding.noisy.first_counts`.

        Raises
        ------
        ValueError
            If the frame or the mask has another shape than the geometry, or holds no numbers.
        """
        if not isinstance(frame, ShuffledFrame):
            frame = np.asarray(frame)
            frame = frame.astype(frame.dtype.newbyteorder("="), copy=False)
        if frame.shape != self._ring.shape:
            raise ValueError(f"frame shape {frame.shape} is not the geometry's {self._ring.shape}")
        ring = self._read_where(mask)
        if frame.dtype.kind in "iu":
            dark = self._read_lit(frame) if mask is None and self._is_dark else None
            return dark or self._load(frame, ring, np.iinfo(frame.dtype).max)
        frame = np.asarray(frame)
        if frame.dtype.kind != "f":
            raise ValueError(f"frames of type {frame.dtype} are not counts")
        frame = background.compilable(frame)
        noise = read_noise(frame, ring >= 0, self._blocks)
        if noise is None:
            return self._load(np.rint(frame), ring, -1)
        return self._load_noisy(frame, ring, noise)

    def again(self, read: Readings) -> Readings:
        """Sum up the counts of the last frame after they were changed."""
        summed = self._load(read.counts, self._ring, -1)
        return dataclasses.replace(summed, analog=read.analog)

    def _load_noisy(self, frame: NDArray, ring: NDArray[np.int16], noise: ReadNoise) -> Readings:
        """Take the offsets out, and take first counts."""
        if self._values is None:
            self._values = np.empty(self._ring.shape, np.float32)
        corrected(frame, noise, self._blocks, self._values)
        self._counts.fill(-1)
        for block, sigma in zip(self._blocks, noise.sigma, strict=True):
            first_counts(self._values[block], float(sigma), self.limit, self._counts[block])
        read = self._load(self._counts, ring, -1)
        return dataclasses.replace(read, analog=Analog(self._values, self._blocks, noise.sigma))

    def _load(self, frame: Frame, ring: NDArray[np.int16], bad: int) -> Readings:
        """Copy counts, and sum them up; `bad` marks pixels without a reading."""
        limit = min(self.limit, bad) if bad > 0 else self.limit
        kind, counts = frame.dtype.type, self._counts
        self._before = None
        squares = tuple((one.side, one.total, one.most) for one in self._squares)
        how = ring, kind(bad), kind(limit), counts, self._band, squares
        if isinstance(frame, ShuffledFrame):
            packed, block = frame.opened()
            room = self._room_for_rows(frame.dtype, block)
            n_bad, n_lit = load_packed(packed, block, *room, *how)
            if n_bad < 0:
                raise frame.damaged(DAMAGED)
        else:
            n_bad, n_lit = load_frame(frame, *how)
        blocks = self._squares[-1]
        top = int(blocks.most.max(initial=0))
        if top >= limit:
            full = counts >= int(limit)
            if (n_full := np.count_nonzero(full)) > _SATURATED * max(self._n_good, 1):
                n_bad += n_full
                counts[full] = -1
                for one in squares:
                    sum_squares(counts, *one)
        n_read = counts.size - int(n_bad)
        lost = self._n_good - n_read
        self._is_dark = bool(n_lit < self._at.size)
        return Readings(
            counts,
            photons=int(blocks.total.sum(dtype=np.int64)),
            n_read=n_read,
            lost=lost,
            n_lit=int(n_lit),
            squares=tuple(one.summed(top, int(limit), lost > 0) for one in self._squares),
        )

    def _read_lit(self, frame: Frame) -> Readings | None:
        """Turn a frame into counts by the pixels that hold photons; None if these are too many."""
        kind, bad = frame.dtype.type, np.iinfo(frame.dtype).max
        counts, before = self._counts, self._before
        if before is None:
            counts[:] = 0
            counts[self._ring < 0] = -1
        else:
            clear(counts, before.at, before.lost, self._marked)
        self._before, self._marked = None, self._marked[:0]
        skip, listed, taken = self._room_for(frame.dtype)
        if isinstance(frame, ShuffledFrame):
            n = frame.list_lit(self._wanted, listed, taken)
        else:
            values = frame.ravel()
            words = values[: values.nbytes // 8 * 8 // values.itemsize].view(np.uint64)
            n = list_lit(values, words, skip, listed, taken)
        if n < 0:
            return None
        n, n_lost, photons, n_full = load_lit(
            *(listed[:n], taken[:n], self._ring.ravel(), kind(bad), kind(min(self.limit, bad))),
            *(counts, self._at, self._lit_counts, self._lit_rings, self._rows, self._lost),
        )
        if n < 0 or n_full > _SATURATED * max(self._n_good, 1):
            return None
        at = self._at[:n]
        of_pixels = self._lit_counts[:n], self._lit_rings[:n]
        self._before = Lit(at, *of_pixels, self._rows, self._lost[:n_lost], n_full > 0)
        return Readings(counts, photons, self._n_good - n_lost, n_lost, n, self._before)

    @functools.cached_property
    def _wanted(self) -> NDArray[np.uint64]:
        """Which pixels of packed frames are listed: those that are not masked."""
        return wanted_bits(self._ring >= 0)

    def _room_for(
        self, dtype: np.dtype
    ) -> tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.integer]]:
        """Return what `list_lit` skips of frames of a type, and room for its lists.

        Masked pixels that are not skipped may all be listed. Frames that are packed need room for a
        word of pixels more than they have lit.
        """
        if dtype not in self._rooms:
            skip = masked_blocks(self._ring, dtype.itemsize)
            n_masked = self._ring.size - self._n_good - skip.sum() * WORDS * 8 // dtype.itemsize
            room = self._at.size + max(n_masked, PER_WORD)
            self._rooms[dtype] = skip, np.empty(room, np.int32), np.empty(room, dtype)
        return self._rooms[dtype]

    def _room_for_rows(self, dtype: np.dtype, block: int) -> tuple[NDArray, NDArray, NDArray]:
        """Return room for the rows that are loaded at once and a block, in the types of each."""
        n = self._band * self._ring.shape[1] + block // dtype.itemsize
        if self._unpacked.dtype != dtype or self._unpacked.size < n:
            self._unpacked = np.empty(n, dtype)
        return self._unpacked, self._unpacked.view(f"u{dtype.itemsize}"), self._unpacked.view("u1")

    def _read_where(self, mask: NDArray[np.bool_] | None) -> NDArray[np.int16]:
        """Return the rings of the pixels, -1 where the geometry or a mask has none."""
        if mask is None:
            return self._ring
        mask = np.asarray(mask) != 0
        if mask.shape != self._ring.shape:
            raise ValueError(f"mask shape {mask.shape} is not the geometry's {self._ring.shape}")
        return np.where(mask, np.int16(-1), self._ring)
