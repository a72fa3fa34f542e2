"""Frames made from those of another source."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.contents import Contents
from hitfinder.io.source import FrameRef, FrameSource, MaskKey, Metadata


class DerivedSource(FrameSource):
    """A source that reads the frames of another and changes their counts.

    All but `read` is that of the other source. What is derived has `_source`, the other one.

    Parameters
    ----------
    source : FrameSource
        The other source.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.shape, self.dtype, self.reader = source.shape, source.dtype, source.reader

    def __len__(self) -> int:
        return len(self._source)

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        return self._source.ref(index)

    @property
    def metadata(self) -> Metadata:
        """What the files say about the frames."""
        return self._source.metadata

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the files say about one frame."""
        return self._source.frame_metadata(index)

    def said_of_frames(self, name: str) -> NDArray[np.float64]:
        """Return what the files say about every frame."""
        return self._source.said_of_frames(name)

    def mask_key(self, index: int) -> MaskKey | None:
        """Return what tells the mask of a frame from others."""
        return self._source.mask_key(index)

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """Return a frame's mask."""
        return self._source.mask_of(index)

    @property
    def members(self) -> tuple[FrameSource, ...]:
        """The sources the other one is made of."""
        return self._source.members

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is odd about the files."""
        return self._source.remarks

    @property
    def n_readable(self) -> int:
        """Number of frames that are not known to be unreadable."""
        return self._source.n_readable

    def readable(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which of some frames are not known to be unreadable."""
        return self._source.readable(indices)

    @property
    def problems(self) -> tuple[SourceError, ...]:
        """What is known to be wrong."""
        return self._source.problems

    @property
    def contents(self) -> Contents:
        """Format, compression and linked files."""
        return self._source.contents

    def index_of(self, event: str) -> int:
        """Return the number of the frame of an event."""
        return self._source.index_of(event)

    def h5_location(self, index: int) -> tuple[str, str, int] | None:
        """Return the HDF5 dataset that holds a frame."""
        return self._source.h5_location(index)

    def close(self) -> None:
        """Close what is open."""
        self._source.close()
