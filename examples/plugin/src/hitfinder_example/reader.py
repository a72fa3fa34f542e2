"""A reader of SMV files, as ADSC detectors and others write them: a text header, then counts.

The header is of the form ``{ HEADER_BYTES=512; SIZE1=1024; ... }``; lengths are in mm. SIZE1 is the
fast axis.
"""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.contents import Contents
from hitfinder.io.readers import Opening
from hitfinder.io.source import FrameRef, FrameSource, Metadata
from hitfinder.units import energy_from_wavelength

START, LONGEST = b"{\nHEADER_BYTES=", 1 << 16
TYPES = {"unsigned_short": "u2", "unsigned_long": "u4", "long": "i4", "float": "f4"}


class SmvReader:
    """Reads SMV files of one frame each."""

    suffixes = (".img",)

    def guess_can_open(self, file: str) -> bool:
        try:
            with open(file, "rb") as stream:
                return stream.read(len(START)).replace(b" ", b"") == START
        except OSError:
            return False

    def open(self, file: str, opening: Opening) -> FrameSource:
        return SmvSource(file)


class SmvSource(FrameSource):
    """The frame of an SMV file."""

    def __init__(self, file: str) -> None:
        self._file = file
        try:
            with open(file, "rb") as stream:
                text = stream.read(LONGEST).partition(b"}")[0].decode("latin-1")
            self._said = dict(re.findall(r"(\w+)\s*=\s*([^;]*);", text))
            self.shape = int(self._said["SIZE2"]), int(self._said["SIZE1"])
            self._start = int(self._said["HEADER_BYTES"])
            self._order = ">" if self._said.get("BYTE_ORDER") == "big_endian" else "<"
            self.dtype = np.dtype(TYPES[self._said.get("TYPE", "unsigned_short")])
        except OSError as error:
            raise SourceError("unreadable", error.strerror or str(error), file) from error
        except (KeyError, ValueError) as error:
            what = f"the header is damaged: it lacks or garbles {error}"
            raise SourceError("unreadable", what, file) from error
        n_bytes = self._start + self.shape[0] * self.shape[1] * self.dtype.itemsize
        if os.path.getsize(file) < n_bytes:
            raise SourceError("truncated", "the file ends before its counts do", file)

    def __len__(self) -> int:
        return 1

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        self.check(index)
        frame = self.buffer(out)
        stored = self.dtype.newbyteorder(self._order)
        try:
            counts = np.fromfile(self._file, stored, frame.size, offset=self._start)
            frame[...] = counts.reshape(self.shape)
        except (OSError, ValueError) as error:
            raise SourceError("unreadable", f"cannot be read ({error})", self._file) from error
        return frame

    def ref(self, index: int) -> FrameRef:
        self.check(index)
        return FrameRef(self._file)

    @property
    def metadata(self) -> Metadata:
        wavelength, pixel = self._number("WAVELENGTH"), self._number("PIXEL_SIZE")
        distance = self._number("DISTANCE")
        center = [self._number(f"BEAM_CENTER_{axis}") for axis in "XY"]
        return Metadata(
            photon_energy_ev=energy_from_wavelength(wavelength) if wavelength else None,
            camera_length_m=distance * 1e-3 if distance else None,
            beam_center=(center[0] / pixel, center[1] / pixel) if pixel and all(center) else None,
            pixel_size_m=pixel * 1e-3 if pixel else None,
            detector=self._said.get("DETECTOR_SN", ""),
        )

    def _number(self, name: str) -> float:
        """Return a positive number of the header; 0 if it has none."""
        try:
            number = float(self._said.get(name, "0"))
        except ValueError:
            return 0.0
        return number if 0 < number < float("inf") else 0.0

    @property
    def contents(self) -> Contents:
        return Contents("SMV")
