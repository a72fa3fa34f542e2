"""CBF files, plain or packed by gzip or bzip2, one frame each.

Pilatus and Eiger files have one section of counts and mark pixels without a value by negative ones
(-1 gaps and masked, -2 dead or noisy). Files of other detectors, such as the CSPAD, may have
several sections of several layers, one for each module: the frame is all of them one below the
other, and negative values are what they are.
``Beam_xy`` counts pixels from the outer corner of the first one, as DIALS reads it.
"""

from __future__ import annotations

import dataclasses
import functools
import zlib

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.cbf_sections import opened, read_sections, reading_error
from hitfinder.io.contents import Contents
from hitfinder.io.imageheader import ImageHeader
from hitfinder.io.source import FrameRef, FrameSource, Metadata

SUFFIXES = (".cbf", ".cbf.gz", ".cbf.bz2")
_PACKINGS = {
    "x-cbf_byte_offset": "byte offset",
    "x-cbf_packed": "packed",
    "x-cbf_packed_v2": "packed v2",
}
_UNPACKED_BY = {".gz": "gzip", "bz2": "bzip2"}


class CbfSource(FrameSource):
    """The frame of a CBF file.

    Parameters
    ----------
    file : str
        The file as the user named it.

    Raises
    ------
    SourceError
        If it cannot be read, or is packed in a way that is not known.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._header, self._sections = read_sections(file)
        widths = {section.shape[2] for section in self._sections}
        if len(widths) > 1:
            what = f"its sections are of different widths {sorted(widths)}"
            raise SourceError("wrong-shape", what, file)
        rows = sum(section.shape[0] * section.shape[1] for section in self._sections)
        self.shape = rows, widths.pop()
        self.dtype = np.result_type(*(section.dtype for section in self._sections))

    def __len__(self) -> int:
        return 1

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read the frame; see `FrameSource.read`."""
        self.check(index)
        frame = self.buffer(out)
        row = 0
        try:
            with opened(self._file) as stream:
                for section in self._sections:
                    counts = section.read(stream).reshape(-1, self.shape[1])
                    np.copyto(frame[row : row + len(counts)], counts, casting="unsafe")
                    row += len(counts)
        except (OSError, EOFError, zlib.error) as error:
            raise reading_error(error, self._file) from error
        return frame

    def ref(self, index: int) -> FrameRef:
        """Return where the frame is kept."""
        return FrameRef(self._file)

    @functools.cached_property
    def _scalars(self) -> Metadata:
        """What the header says."""
        counting = self.dtype.kind == "i" and not self._has_layers
        return ImageHeader(self._header).metadata(0.0 if counting else None)

    @property
    def _has_layers(self) -> bool:
        return len(self._sections) > 1 or self._sections[0].shape[0] > 1

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the header says; the mask is the frame's negative counts."""
        scalars = self._scalars
        if self._has_layers:
            return scalars
        try:
            return dataclasses.replace(scalars, mask=self.read(0) < 0)
        except SourceError:
            return scalars

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the header says."""
        self.check(index)
        return self._scalars

    def mask_key(self, index: int) -> None:
        """Return None: the counts of each frame tell what has no value."""

    def index_of(self, event: str) -> int:
        """Return 0: whatever the event, a CBF file has one frame."""
        if event in ("", "//", "//0"):
            return 0
        raise SourceError("no-frames", f"there is no frame {event!r}, it has 1", self._file)

    @property
    def contents(self) -> Contents:
        """Format and packing."""
        packings = dict.fromkeys(_PACKINGS.get(s.packing, "") for s in self._sections)
        outer = _UNPACKED_BY.get(self._file.lower()[-3:], "")
        n = len(self._sections)
        format_ = "CBF" if n == 1 else f"CBF of {n} sections"
        return Contents(format_, compression=" + ".join(p for p in (*packings, outer) if p))
