"""CBF files of Pilatus and Eiger detectors, plain or gzipped, one frame each.

The header is read here, as far as it is needed to know the frame; fabio unpacks the counts. Pilatus
and Eiger files mark pixels without a value by negative counts (-1 gaps and masked, -2 dead or
noisy). ``Beam_xy`` counts pixels from the outer corner of the first one, as DIALS reads it.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import hashlib
import math
import re
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.quantities import LENGTHS_M, PIXELS, WAVELENGTHS_A, normal
from hitfinder.io.source import Contents, FrameRef, FrameSource, Metadata
from hitfinder.units import energy_from_wavelength

SUFFIXES = (".cbf", ".cbf.gz")
MAGIC = b"###CBF"
BINARY_START = b"\x0c\x1a\x04\xd5"
"""What stands between the text header and the packed counts (imgCIF)."""

HEADER_LIMIT = 1 << 20
PACKED_BY = "x-CBF_BYTE_OFFSET"
TYPES: dict[str, np.dtype] = {
    "signed 32-bit integer": np.dtype(np.int32),
    "unsigned 32-bit integer": np.dtype(np.uint32),
    "signed 16-bit integer": np.dtype(np.int16),
    "unsigned 16-bit integer": np.dtype(np.uint16),
    "signed 8-bit integer": np.dtype(np.int8),
    "unsigned 8-bit integer": np.dtype(np.uint8),
}
NUMBER = r"([-+0-9.eE]+)"
MD5 = r"Content-MD5:\s*\"?([A-Za-z0-9+/]{22}==)"
"""Checksum of the packed counts; some programs write a word in its place."""


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
        self._header, self._n_before = _read_header(file)
        rows, columns = self._field("Size-Second-Dimension"), self._field("Size-Fastest-Dimension")
        kind = self._field("Element-Type")
        if not (rows.isdigit() and columns.isdigit()) or kind not in TYPES:
            raise SourceError("unreadable", f"no frame of counts in the header ({kind!r})", file)
        if self._field("Size-Third-Dimension") not in ("", "1"):
            raise SourceError("unreadable", "a frame of several layers is not supported", file)
        packed = re.search(r'conversions="?([\w-]+)', self._header)
        if packed is not None and packed[1] != PACKED_BY:
            what = f"counts packed by {packed[1]} are not supported, only {PACKED_BY}"
            raise SourceError("unreadable", what, file)
        self.shape, self.dtype = (int(rows), int(columns)), TYPES[kind]
        self._check_size()

    def __len__(self) -> int:
        return 1

    def _field(self, name: str) -> str:
        found = re.search(rf'X-Binary-{name}:\s*"?([^"\r\n]*)', self._header)
        return found[1].strip() if found else ""

    def _check_size(self) -> None:
        """Refuse dimensions that the rest of the header contradicts, before memory is asked for.

        Raises
        ------
        SourceError
            If there cannot be so many counts.
        """
        (rows, columns), n_packed = self.shape, self._field("Size")
        stated = self._field("Number-of-Elements")
        # A packed count takes a byte or more.
        too_many = n_packed.isdigit() and rows * columns > int(n_packed)
        if too_many or (stated.isdigit() and rows * columns != int(stated)):
            what = f"the header is damaged: {rows} x {columns} pixels do not go with "
            what += f"{n_packed} bytes of counts" if too_many else f"{stated} counts"
            raise SourceError("unreadable", what, self._file)

    def _said(self, field: str, units: dict[str, float], values: str = NUMBER) -> list[float]:
        """Return the numbers of a line of the header, in base units; none if not understood.

        Parameters
        ----------
        field : str
            Name of the line, as in ``# Wavelength 0.97625 A``; an equals sign may follow.
        units : dict
            Worth of each unit that the line may have.
        values : str
            Pattern of the numbers.
        """
        line = rf"# {field}[ \t:=]+{values}[ \t]*([^\W\d_]*)"
        found = re.search(line, self._header)
        unit = "" if found is None else normal(found[found.re.groups])
        if found is None or unit not in units:
            return []
        try:
            numbers = [float(text) for text in found.groups()[:-1]]
        except ValueError:
            return []
        return [number * units[unit] for number in numbers]

    def _positive(self, field: str, units: dict[str, float]) -> float | None:
        """Return a quantity that has to be positive; None if it is not."""
        value = next(iter(self._said(field, units)), math.nan)
        return value if 0 < value < math.inf else None

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read the frame; see `FrameSource.read`."""
        from fabio.compression import decByteOffset

        self.check(index)
        frame = self.buffer(out)
        packed = self._packed_counts()
        try:
            counts = decByteOffset(packed, size=frame.size, dtype="int32")
        except (IndexError, ValueError, AssertionError) as error:
            what = f"the counts are damaged ({error})"
            raise SourceError("unreadable", what, self._file) from error
        if counts.size != frame.size:
            what = f"the file holds {counts.size} of {frame.size} counts"
            raise SourceError("truncated", what, self._file)
        # The stream is of 32-bit steps whatever the sign: casting wraps to the stated type.
        np.copyto(frame, counts.reshape(self.shape), casting="unsafe")
        return frame

    def _packed_counts(self) -> bytes:
        """Return the bytes of the counts.

        Raises
        ------
        SourceError
            If the file cannot be read that far, or what is read is not what was written.
        """
        size = int(self._field("Size") or -1)
        try:
            with _opened(self._file) as stream:
                stream.seek(self._n_before)
                packed = stream.read(size)
        except (EOFError, zlib.error) as error:
            what = f"the file was cut short ({error})"
            raise SourceError("truncated", what, self._file) from error
        except OSError as error:
            raise SourceError("unreadable", f"cannot be read ({error})", self._file) from error
        if len(packed) < size:
            what = f"the file holds {len(packed)} of {size} bytes of counts"
            raise SourceError("truncated", what, self._file)
        stated = re.search(MD5, self._header)
        if stated is not None:
            found = base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()).decode()
            if found != stated[1]:
                what = "the counts are damaged: their checksum is not the header's Content-MD5"
                raise SourceError("unreadable", what, self._file)
        return packed

    def ref(self, index: int) -> FrameRef:
        """Return where the frame is kept."""
        return FrameRef(self._file)

    @property
    def _scalars(self) -> Metadata:
        """What the header says."""
        wavelength = self._positive("Wavelength", WAVELENGTHS_A) or self._tagged_wavelength()
        pixel = self._positive("Pixel_size", LENGTHS_M)
        named = re.search(r"# Detector:? ([^\r\n]*)", self._header)
        return Metadata(
            photon_energy_ev=energy_from_wavelength(wavelength) if wavelength else None,
            camera_length_m=self._positive("Detector_distance", LENGTHS_M),
            beam_center=self._beam_center(pixel),
            pixel_size_m=pixel,
            saturation=self._positive("Count_cutoff", {"": 1.0, "counts": 1.0}),
            underload=0.0 if self.dtype.kind == "i" else None,
            detector=named[1].strip() if named else "",
        )

    def _tagged_wavelength(self) -> float | None:
        """Return the wavelength in Å from where a full imgCIF header has it."""
        tag = rf"_diffrn_radiation_wavelength\.wavelength\s+{NUMBER}"
        found = re.search(tag, self._header)
        try:
            value = float(found[1]) if found else math.nan
        except ValueError:
            return None
        return value if 0 < value < math.inf else None

    def _beam_center(self, pixel_size_m: float | None) -> tuple[float, float] | None:
        """Return where the beam meets the frame, (fs, ss) in pixels."""
        units = {"": 1.0, **PIXELS}
        if pixel_size_m is not None:
            units |= {unit: length / pixel_size_m for unit, length in LENGTHS_M.items()}
        center = self._said("Beam_xy", units, rf"\(?{NUMBER},\s*{NUMBER}\)?")
        return (center[0], center[1]) if center and all(map(math.isfinite, center)) else None

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the header says; the mask is the frame's negative counts."""
        scalars = self._scalars
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
        gzipped = " + gzip" if self._file.endswith(".gz") else ""
        return Contents("CBF", compression=f"byte offset{gzipped}")


def _opened(file: str) -> BinaryIO:
    if file.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(file))
    return open(file, "rb")


def _read_header(file: str) -> tuple[str, int]:
    """Return the text before the counts, and its length in the unzipped file.

    Raises
    ------
    SourceError
        If the file cannot be read or has no counts.
    """
    try:
        if not Path(file).stat().st_size:
            raise SourceError("truncated", "the file is empty", file)
        with _opened(file) as stream:
            start = stream.read(1 << 14)
            while BINARY_START not in start and len(start) < HEADER_LIMIT:
                more = stream.read(1 << 16)
                if not more:
                    break
                start += more
    except FileNotFoundError as error:
        raise SourceError("missing-file", "there is no such file", file) from error
    except (EOFError, zlib.error) as error:
        raise SourceError("truncated", f"the file was cut short ({error})", file) from error
    except OSError as error:
        raise SourceError("unreadable", f"cannot be read ({error})", file) from error
    if not start.startswith(MAGIC):
        raise SourceError("unreadable", "this is not a CBF file", file)
    end = start.find(BINARY_START)
    if end < 0:
        raise SourceError("truncated", "the file ends before its counts begin", file)
    return start[:end].decode("latin-1"), end + len(BINARY_START)
