"""Image files that fabio reads: SMV (``.img``), TIFF, MarCCD, EDF; one frame each, or several."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.layout import MOST_PIXELS
from hitfinder.io.contents import Contents
from hitfinder.io.dtrek import smv_items
from hitfinder.io.imageheader import ImageHeader
from hitfinder.io.quantities import CAMERA_LENGTH, PIXEL_SIZE, WAVELENGTH, Kind, converted, swung
from hitfinder.io.source import FrameRef, FrameSource, Metadata
from hitfinder.units import energy_from_wavelength

SUFFIXES = (".img", ".smv", ".tif", ".tiff", ".mccd", ".edf")
BEGINNINGS = (b"II*\0", b"MM\0*", b"{\nHEADER_BYTES")

_SMV = {"WAVELENGTH": "A", "DISTANCE": "mm", "PIXEL_SIZE": "mm"}
_MAR = {"source_wavelength": "fm", "xtal_to_detector": "µm", "pixelsize_x": "nm"}
"""Items of SMV and MarCCD headers, and the units that these formats have them in."""

_KINDS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    (WAVELENGTH, ("WAVELENGTH", "source_wavelength")),
    (CAMERA_LENGTH, ("DISTANCE", "xtal_to_detector")),
    (PIXEL_SIZE, ("PIXEL_SIZE", "pixelsize_x")),
)
_FITS_INT32 = 2
"""Bytes of whole numbers that a signed one of four bytes can hold, less a pedestal."""

_CLEAR_PEDESTAL = 20
"""Pedestal over which a pixel that holds 0 is not read, as in gaps and corners: the read-out noise
of CCDs, a few units, does not reach so far."""

_SWINGS = {"TWOTHETA": 1.0, "start_twotheta": 1e-3}
"""Items for the angle of the detector's arm, and their worth in degrees."""

_CENTRES = {
    ("BEAM_CENTER_X", "BEAM_CENTER_Y"): "SMV files do not agree on where it counts from",
    ("beam_x", "beam_y"): "some MarCCD files have it in pixels, others in mm",
}
"""Items for the beam centre, and why they are not used."""


class ImageSource(FrameSource):
    """The frames of an image file.

    Parameters
    ----------
    file : str
        The file as the user named it.

    Raises
    ------
    SourceError
        If fabio cannot read it, or it holds no frame of numbers.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        image = self._opened()
        self._format = str(image.classname).removesuffix("Image").removesuffix("image")
        header = {str(key): value for key, value in image.header.items()}
        self._header: dict[str, Any] = {**smv_items(header), **header}
        self._length = int(image.nframes)
        counts = self._counts(image)
        self.shape = counts.shape[0], counts.shape[1]
        self.dtype = counts.dtype.newbyteorder("=")
        told = _number(self._header, "IMAGE_PEDESTAL")
        self._pedestal = int(told) if math.isfinite(told) and told.is_integer() else 0
        self._top = float(np.iinfo(self.dtype).max) if self.dtype.kind in "iu" else None
        if self._pedestal and self.dtype.kind in "iu":
            # What noise takes below the pedestal is below zero.
            self.dtype = np.dtype(np.int32 if self.dtype.itemsize <= _FITS_INT32 else np.int64)

    def _opened(self) -> Any:
        import fabio

        try:
            return fabio.open(self._file)
        except Exception as error:  # a parser for each of many formats
            reason = " ".join(str(error).split()) or type(error).__name__
            what = f"fabio cannot read it ({reason})"
            raise SourceError("unreadable", what, self._file) from error

    def _counts(self, image: Any) -> NDArray:
        counts = np.asarray(image.data)
        if counts.ndim != 2 or counts.dtype.kind not in "iuf" or not counts.size:
            what = f"holds {counts.dtype} of shape {counts.shape}, no frame of counts"
            raise SourceError("unreadable", what, self._file)
        if counts.size > MOST_PIXELS:
            what = f"{counts.shape} pixels are more than any frame has"
            raise SourceError("unreadable", what, self._file)
        return counts

    def __len__(self) -> int:
        return self._length

    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame; see `FrameSource.read`."""
        self.check(index)
        frame = self.buffer(out)
        image = self._opened()
        try:
            image = image.get_frame(index) if index else image
        except Exception as error:
            what = f"fabio cannot read frame {index} ({error})"
            raise SourceError("unreadable", what, self._file) from error
        counts = self._counts(image)
        if counts.shape != self.shape:
            what = f"frame {index} is {counts.shape}, the first {self.shape}"
            raise SourceError("wrong-shape", what, self._file)
        np.copyto(frame, counts, casting="unsafe")
        if self._pedestal:
            frame -= self._pedestal
            if self._top is not None and self._pedestal >= _CLEAR_PEDESTAL:
                frame[counts == 0] = np.iinfo(self.dtype).max
        return frame

    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""
        self.check(index)
        return FrameRef(self._file, f"//{index}" if len(self) > 1 else "")

    def index_of(self, event: str) -> int:
        """Return the number of the frame of an event; a file of one frame may go without."""
        if len(self) == 1 and event in ("", "//", "//0"):
            return 0
        return super().index_of(event)

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the header says."""
        lines = "".join(f"# {key} {value}\n" for key, value in self._header.items())
        said = ImageHeader(lines).metadata(0.0 if self.dtype.kind == "i" else None)
        notes: list[str] = [*said.notes]
        for name, worth in _SWINGS.items():
            notes += swung(_number(self._header, name) * worth, f"{name} of the header")
        found = {kind.name: self._quantity(kind, names, notes) for kind, names in _KINDS}
        wavelength = found[WAVELENGTH.name]
        for names, why in _CENTRES.items():
            if any(_number(self._header, name) for name in names if name in self._header):
                notes.append(f"the beam centre ({', '.join(names)}) is not used: {why}")
        saturation = _positive(self._header, "CCD_IMAGE_SATURATION") or said.saturation
        if self._pedestal:
            notes.append(f"the pedestal that the header tells, {self._pedestal}, is taken away")
            # Without a word of it, values saturate at the top of the type they are stored in.
            top = saturation or self._top
            saturation = None if top is None else top - self._pedestal
        elif abs(told := _number(self._header, "IMAGE_PEDESTAL")) > 0:
            notes.append(
                f"the header tells a pedestal of {told:g}, which is still in the values: "
                "subtract it first"
            )
        return dataclasses.replace(
            said,
            photon_energy_ev=(
                energy_from_wavelength(wavelength) if wavelength else said.photon_energy_ev
            ),
            camera_length_m=found[CAMERA_LENGTH.name] or said.camera_length_m,
            pixel_size_m=found[PIXEL_SIZE.name] or said.pixel_size_m,
            saturation=saturation,
            notes=tuple(notes),
        )

    def _quantity(self, kind: Kind, names: tuple[str, ...], notes: list[str]) -> float | None:
        for name in names:
            value = _positive(self._header, name)
            if value is not None:
                unit = {**_SMV, **_MAR}[name]
                scaled, unit = (value * 1e-3, "pm") if unit == "fm" else (value, unit)
                stored = np.array([scaled])
                values, said = converted(kind, stored, unit, f"{name} of the header")
                notes += said
                return None if values is None else float(values[0])
        return None

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the header says."""
        self.check(index)
        return self.metadata

    def mask_key(self, index: int) -> None:
        """Return None: such files keep no mask."""

    @property
    def contents(self) -> Contents:
        """Format."""
        return Contents(f"{self._format} image")


def _positive(header: Mapping[str, Any], name: str) -> float | None:
    """Return a number of a header that has to be positive; None if it is not."""
    value = _number(header, name)
    return value if 0 < value < math.inf else None


def _number(header: Mapping[str, Any], name: str) -> float:
    """Return a number of a header; NaN if it is none."""
    try:
        return float(header[name])
    except (KeyError, TypeError, ValueError):
        return math.nan
