"""The masks that the files keep for their frames: what they have in common, and each frame's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.handles import POOL
from hitfinder.io.source import FrameSource, MaskKey

Mask = NDArray[np.bool_]

_MOST_READ = 64
"""Masks of single frames that are read to see whether they differ."""

_SAMPLE = 16
"""Masks of single frames, or frames that mark pixels themselves, that are read otherwise."""


class FrameMasks:
    """The masks of the frames of a source.

    Masks that hold for all frames of a file are all read. Of frames with masks of their own, many
    of them, a sample spread over the source is: they are taken to differ, and pixels that all of
    the sample mask are taken to be masked in all.

    Parameters
    ----------
    source : FrameSource
        The frames.
    key_of, mask_of : callable, optional
        In place of the methods of the source, where masks are kept elsewhere.

    Attributes
    ----------
    common : ndarray of bool, shape of a frame, or None
        True where a pixel is masked in every frame; None if no file has a mask.
    stored : bool
        Whether any file has a mask.
    vary : bool
        Whether frames have masks beyond that.
    shares : dict of str to (float, float)
        For each file of which masks were read, the least and largest share of masked pixels.
    """

    def __init__(
        self,
        source: FrameSource,
        key_of: Callable[[int], MaskKey | None] | None = None,
        mask_of: Callable[[int], Mask | None] | None = None,
    ) -> None:
        self._shape = source.shape
        self._key_of = key_of or source.mask_key
        self._mask_of = mask_of or source.mask_of
        self._last: tuple[MaskKey | None, Mask | None] = None, None
        self.common: Mask | None = None
        self.vary = self.stored = False
        self.shares: dict[str, tuple[float, float]] = {}
        with POOL.visit():
            self._compare(source)

    @property
    def summary(self) -> str:
        """Share of the pixels that are masked, in words, for the first few files."""
        shown = []
        for file, (low, high) in self.shares.items():
            least = f"{100 * low:.3g} to " if low < high else ""
            shown.append(f"{file} masks {least}{100 * high:.3g} %")
        return ", ".join(first_files(shown))

    def of(self, index: int) -> Mask | None:
        """Return a frame's mask; None if it has none beside its counts.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        key = self._key_of(index)
        if key is None:
            return None
        if self._last[0] != key:
            self._last = key, self._mask_of(index)
        return self._last[1]

    def _compare(self, source: FrameSource) -> None:
        whole: dict[MaskKey, int] = {}
        single: dict[MaskKey, int] = {}
        marked: list[int] = []
        for index in range(len(source)):
            key = self._key_of(index)
            if key is None:
                marked.append(index)
            else:
                (whole if key.index is None else single).setdefault(key, index)
        sampled = len(single) > _MOST_READ
        indices = [*whole.values(), *_spread(list(single.values()), _SAMPLE if sampled else None)]
        known: dict[bytes, tuple[bytes, float]] = {}
        found = [self._read(source, index, known) for index in indices]
        # Frames whose mask cannot be read are to fail when they are read themselves.
        self.vary = len(set(found)) > 1 or sampled or None in found
        before = self.common
        for index in _spread(marked, _SAMPLE):
            mask = source.mask_of(index)
            if mask is not None:
                self._take(mask)
        if before is not None and self.common is not None:
            self.vary |= not np.array_equal(before, self.common)
        if not self.stored:
            self.common = None

    def _read(
        self, source: FrameSource, index: int, known: dict[bytes, tuple[bytes, float]]
    ) -> bytes | None:
        """Read a mask and take it into account; return its digest, None if it cannot be read.

        `known` has the digests and shares of masks by how they are stored: one that is stored
        like another need not be read.
        """
        key = self._key_of(index)
        stored = key.content if key is not None else b""
        if stored not in known:
            try:
                mask = self._mask_of(index)
            except SourceError:
                return None
            if mask is None:
                self.common = mask = np.zeros(self._shape, bool)
            else:
                self._take(mask)
            found = hashlib.sha256(np.packbits(mask).tobytes()).digest(), float(mask.mean())
        else:
            found = known[stored]
        if stored:
            known[stored] = found
        file, share = source.ref(index).file, found[1]
        low, high = self.shares.get(file, (share, share))
        self.shares[file] = min(low, share), max(high, share)
        return found[0]

    def _take(self, mask: Mask) -> None:
        self.stored = True
        self.common = mask.copy() if self.common is None else self.common & mask

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": (None, None)}


def first_files(told: list[str]) -> list[str]:
    """Return what is told of the first three files, and how many more there are."""
    more = [f"and {len(told) - 3} files more"] if len(told) > 3 else []
    return told[:3] + more


def _spread(indices: list[int], most: int | None) -> list[int]:
    """Return the indices, or as many of them as are wanted, evenly spread."""
    if most is None or len(indices) <= most:
        return indices
    return [indices[i] for i in np.linspace(0, len(indices) - 1, most).round().astype(int)]
