"""What a detector's messages say, whichever protocol they came by."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError
from hitfinder.io.quantities import swung
from hitfinder.io.simplon.images import PackedFrame, PackedImage

_LEAST_TILT_DEG = 0.05

MOST_SERIES = 1 << 53
"""Numbers of series and images beyond which one is taken for an error."""


class MalformedMessageError(HitfinderError):
    """A message that is none of a detector, or holds what no detector sends."""


class OtherProtocolError(MalformedMessageError):
    """A whole message, but of the other protocol.

    Parameters
    ----------
    sent : str
        Name of the protocol that it is of.
    asked : str
        Name of the one that was expected.
    """

    def __init__(self, sent: str, asked: str) -> None:
        self.sent, self.asked = sent, asked
        super().__init__(
            f"the sender speaks {sent}, {asked} was expected", hint=f"Use --protocol {sent}."
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:  # type: ignore[override]
        return type(self), (self.sent, self.asked)


@dataclasses.dataclass(frozen=True)
class SeriesId:
    """What tells the series of a detector apart.

    Attributes
    ----------
    number : int
        Number that the detector counts up.
    unique : str
        Name of the series that no other has; empty with stream v1.
    """

    number: int
    unique: str = ""

    def __str__(self) -> str:
        return f"series {self.number}"


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesStart:
    """The header of a series.

    Attributes
    ----------
    series : SeriesId
        The series.
    said : mapping
        What the detector says of itself, by its own names.
    channels : tuple of str
        Names of the images of each frame, in the detector's order; empty if it does not say.
    arrays : mapping of str to PackedImage
        Pixel mask, flat field and so on as ``pixel_mask`` or ``pixel_mask/channel``.
    appendix : object
        What the user had the detector add.
    """

    series: SeriesId
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    channels: tuple[str, ...] = ()
    arrays: Mapping[str, PackedImage] = dataclasses.field(default_factory=dict)
    appendix: Any = None

    @property
    def photon_energy_ev(self) -> float | None:
        """Photon energy, in eV."""
        return self._positive("photon_energy", "incident_energy")

    @property
    def camera_length_m(self) -> float | None:
        """Distance from sample to detector, in m."""
        length = self._positive("detector_distance")
        moved = self.said.get("detector_translation")
        if length is None and isinstance(moved, (list, tuple)) and len(moved) == 3:
            # The detector is moved along the beam, in whichever direction its axis counts.
            length = _positive_number(abs(moved[2]) if _is_number(moved[2]) else None)
        return length

    @property
    def beam_center(self) -> tuple[float, float] | None:
        """Where the beam meets the frame (fs, ss), in pixels; None for (0, 0), which is unset."""
        center = [self.said.get(f"beam_center_{axis}") for axis in "xy"]
        if not all(map(_is_number, center)) or not any(center):
            return None
        return float(center[0]), float(center[1])  # type: ignore[arg-type]

    @property
    def pixel_size_m(self) -> float | None:
        """Pixel edge, in m."""
        return self._positive("x_pixel_size", "pixel_size_x")

    @property
    def saturation(self) -> float | None:
        """Counts from which a pixel is saturated."""
        return self._positive("saturation_value", "countrate_correction_count_cutoff")

    @property
    def doubts(self) -> list[str]:
        """What it says of an arm or a tilt of the detector, by which no pixel is placed."""
        told = []
        goniometer = self.said.get("goniometer")
        arm = goniometer.get("two_theta") if isinstance(goniometer, Mapping) else None
        angle = arm.get("start") if isinstance(arm, Mapping) else self.said.get("two_theta_start")
        if _is_number(angle):
            told += swung(float(angle), "header of the series")  # type: ignore[arg-type]
        axes = self.said.get("detector_orientation")
        if isinstance(axes, (list, tuple)) and len(axes) == 6 and all(map(_is_number, axes)):
            # Along the beam, of the directions of fs and ss; more than 1 is no direction.
            tilt = math.degrees(math.asin(min(1.0, max(abs(axes[2]), abs(axes[5])))))
            if tilt > _LEAST_TILT_DEG:
                told.append(
                    f"the detector is tilted by {tilt:.3g} degrees (detector_orientation), but is "
                    "taken as across the beam: give a geometry file"
                )
        return told

    @property
    def detector(self) -> str:
        """The detector's own description."""
        said = self.said.get("description") or self.said.get("detector_description")
        return said if isinstance(said, str) else ""

    @property
    def n_images(self) -> int | None:
        """Frames that the detector was told to take; None if it does not say."""
        total = self._positive("number_of_images")
        if total is None:
            images, triggers = self._positive("nimages"), self._positive("ntrigger") or 1
            total = None if images is None else images * triggers
        return None if total is None or total > MOST_SERIES else int(total)

    @property
    def frame_time_s(self) -> float | None:
        """Time from one frame to the next, in s."""
        return self._positive("frame_time")

    def mask(self, channel: str, shape: tuple[int, int]) -> NDArray[np.uint32] | None:
        """Return the pixel mask of a channel; None if none of the shape of a frame was sent.

        Raises
        ------
        SourceError
            If it is damaged.
        """
        packed = self.arrays.get(f"pixel_mask/{channel}") or self.arrays.get("pixel_mask")
        if packed is None or packed.shape != shape or packed.dtype.kind not in "iu":
            return None
        return packed.unpacked().astype(np.uint32)

    def _positive(self, *names: str) -> float | None:
        found = (_positive_number(self.said.get(name)) for name in names)
        return next((number for number in found if number is not None), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _positive_number(value: Any) -> float | None:
    return float(value) if _is_number(value) and 0 < value < math.inf else None


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesImage:
    """One frame of a series.

    Attributes
    ----------
    series : SeriesId
        The series.
    number : int
        Number of the frame in it, from 0.
    images : mapping of str to PackedFrame
        The counts by channel; a single one has no name with stream v1.
    said : mapping
        Times and whatever else comes with it, by the detector's own names.
    appendix : object
        What the user had the detector add.
    damage : str
        What is wrong with the counts, if they cannot be told.
    """

    series: SeriesId
    number: int
    images: Mapping[str, PackedFrame] = dataclasses.field(default_factory=dict)
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    appendix: Any = None
    damage: str = ""


@dataclasses.dataclass(frozen=True)
class SeriesEnd:
    """The end of a series."""

    series: SeriesId


Message = SeriesStart | SeriesImage | SeriesEnd


def whole(value: Any, what: str) -> int:
    """Return a number of a series or image.

    Raises
    ------
    MalformedMessageError
        If it is none.
    """
    if type(value) is not int or not 0 <= value < MOST_SERIES:
        raise MalformedMessageError(f"{what} is no number of one: {str(value)[:40]!r}")
    return value
