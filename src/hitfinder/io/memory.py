"""Frames in a NumPy array, in memory or in a ``.npy`` file."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.io.contents import Contents
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.io.tables import MOST_FRAMES


class ArraySource(FrameSource):
    """Frames of an array.

    Parameters
    ----------
    frames : ndarray, shape (n, ss, fs) or (ss, fs)
        The counts; not copied.
    name : str
        What to call the array in `FrameRef.file`.

    Raises
    ------
    SourceError
        If the array is no stack of frames.
    """

    def __init__(self, frames: NDArray, name: str = "array") -> None:
        self._frames = _stack(frames, name)
        self._name, self._alone = name, frames.ndim == 2
        self.shape = (self._frames.shape[1], self._frames.shape[2])
        self.dtype = self._frames.dtype.newbyteorder("=")

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Copy one frame; see `FrameSource.read`."""
        self.check(index)
        frame = self.buffer(out)
        frame[...] = self._frames[index]
        return frame

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        self.check(index)
        return FrameRef(self._name, "" if self._alone else f"//{index}")

    @property
    def contents(self) -> Contents:
        """Format."""
        return Contents("NumPy array")

    @property
    def digest(self) -> str:
        """SHA-256 of type, shape and counts."""
        digest = hashlib.sha256(f"{self._frames.dtype.str} {self._frames.shape}".encode())
        for frame in self._frames:
            digest.update(np.ascontiguousarray(frame).data)
        return digest.hexdigest()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a source of its own of the same counts, which nothing here changes."""
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied


class NpySource(ArraySource):
    """Frames of a ``.npy`` file, mapped into memory and not loaded.

    Parameters
    ----------
    file : str
        The file as the user named it.

    Raises
    ------
    SourceError
        If it cannot be read or is no stack of frames.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        try:
            frames = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise SourceError("missing-file", "there is no such file", file) from error
        except Exception as error:  # the header is text that Python parses: there are many
            # A file shorter than its header says cannot be mapped.
            status = "truncated" if "mmap length" in str(error) else "unreadable"
            raise SourceError(status, f"NumPy cannot read it ({error})", file) from error
        super().__init__(frames, file)
        self._mapped = _place_and_size(file)

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Copy one frame; see `FrameSource.read`."""
        # What is mapped and gone from the disk ends the process that touches it. A file of another
        # place has taken the name only: what is mapped is still there.
        place, size = _place_and_size(self._file)
        if place == self._mapped[0] and size < self._mapped[1]:
            what = f"was cut short while it was read: {size} bytes of {self._mapped[1]} are left"
            raise SourceError("truncated", what, self._file)
        return super().read(index, out)

    @property
    def digest(self) -> str:
        """Nothing: the file tells."""
        return ""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._file,)


def _place_and_size(file: str) -> tuple[tuple[int, int], int]:
    """Return what tells a file from others of its name, and its bytes; zeros if it is gone."""
    try:
        found = os.stat(file)
    except OSError:
        return (0, 0), 0
    return (found.st_dev, found.st_ino), found.st_size


def _stack(frames: NDArray, name: str) -> NDArray:
    """Return the frames with a first axis, or say why they are none."""
    if not isinstance(frames, np.ndarray) or frames.dtype.kind not in "iuf":
        raise SourceError("unreadable", f"holds {getattr(frames, 'dtype', '?')}, not counts", name)
    if frames.ndim not in (2, 3):
        raise SourceError("wrong-shape", f"{frames.shape} is no stack of frames", name)
    if not frames.size:
        raise SourceError("no-frames", f"the array is empty {frames.shape}", name)
    stack = frames[None] if frames.ndim == 2 else frames
    if len(stack) > MOST_FRAMES or stack[0].size > MOST_PIXELS:
        what = f"{frames.shape} is no stack of frames: too many frames or pixels"
        raise SourceError("wrong-shape", what, name)
    return stack
