"""Messages as a detector sends them, in both protocols: what the simulated detector says.

Fields and their order are those of messages recorded from EIGER detectors.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from typing import Any, Protocol

import cbor2
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.simplon import cbor, multipart
from hitfinder.units import HC_EV_ANGSTROM

TICKS_PER_S = 50_000_000
"""Steps of the clock in which stream2 tells times."""

DETAILS = ("none", "basic", "all")
CHANNEL = "threshold_1"

_TAGS = {np.dtype(kind): tag for tag, kind in cbor.NUMBERS.items() if kind[0] != ">"}
_NAMES = {np.dtype(kind): name for name, kind in multipart.TYPES.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Announcement:
    """What a detector says before it measures.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Type of the counts.
    n_images : int
        Frames of the series.
    photon_energy_ev, camera_length_m, pixel_size_m, frame_time_s : float
        Photon energy in eV, lengths in m, time in s; 0 for what the detector was not told.
    beam_center : tuple of float
        Where the beam meets the frame (fs, ss), in pixels.
    mask : ndarray of uint32, shape `shape`
        Bits of the pixel mask.
    saturation : int
        Counts from which a pixel is saturated.
    description : str
        The detector's name.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    n_images: int
    photon_energy_ev: float
    camera_length_m: float
    pixel_size_m: float
    frame_time_s: float
    beam_center: tuple[float, float]
    mask: NDArray[np.uint32]
    saturation: int
    description: str


class Composer(Protocol):
    """Composes the messages of one protocol."""

    def start(self, series: int, said: Announcement, detail: str, appendix: str) -> list[bytes]:
        """Return the parts of the message that begins a series."""

    def image(self, series: int, number: int, frame: NDArray, chunk: bytes) -> list[bytes]:
        """Return the parts of the message of a frame, also given as a bitshuffle-LZ4 chunk."""

    def end(self, series: int) -> list[bytes]:
        """Return the parts of the message that ends a series."""


def _json(**said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


class Stream1Composer:
    """Composes messages of SIMPLON stream v1."""

    def __init__(self, frame_time_s: float) -> None:
        self._frame_time_s = frame_time_s

    def start(self, series: int, said: Announcement, detail: str, appendix: str) -> list[bytes]:
        """Return the parts of the header."""
        parts = [_json(header_detail=detail, htype=multipart.START, series=series)]
        if detail in ("basic", "all"):
            parts.append(_json(**self._config(said)))
        if detail == "all":
            rows, columns = said.shape
            flat = np.ones(said.shape, "<f4")
            table = np.vstack([np.arange(1000), np.arange(1000)]).astype("<f4")
            for kind, shape, array in (
                ("dflatfield-1.0", [columns, rows], flat),
                ("dpixelmask-1.0", [columns, rows], said.mask.astype("<u4")),
                ("dcountrate_table-1.0", [2, 1000], table),
            ):
                parts += [_json(htype=kind, shape=shape, type=array.dtype.name), array.tobytes()]
        return [*parts, appendix.encode()] if appendix else parts

    def _config(self, said: Announcement) -> dict[str, Any]:
        bits = 8 * said.dtype.itemsize
        swings = ("chi", "kappa", "omega", "phi", "two_theta")
        return {
            "auto_summation": True,
            "beam_center_x": said.beam_center[0],
            "beam_center_y": said.beam_center[1],
            "bit_depth_image": bits,
            "bit_depth_readout": min(bits, 16),
            "compression": "bslz4",
            "count_time": said.frame_time_s,
            "countrate_correction_applied": True,
            "countrate_correction_count_cutoff": said.saturation,
            "data_collection_date": _now().isoformat(timespec="milliseconds"),
            "description": said.description,
            "detector_distance": said.camera_length_m,
            "detector_number": "E-00-0000",
            "detector_readout_time": 0.0,
            "detector_translation": [0.0, 0.0, said.camera_length_m],
            "eiger_fw_version": "simulated",
            "element": "",
            "flatfield_correction_applied": True,
            "frame_count_time": said.frame_time_s,
            "frame_period": said.frame_time_s,
            "frame_time": said.frame_time_s,
            "nimages": said.n_images,
            "ntrigger": 1,
            "number_of_excluded_pixels": int((said.mask != 0).sum()),
            "photon_energy": said.photon_energy_ev,
            "pixel_mask_applied": True,
            "roi_mode": "",
            "sensor_material": "Si",
            "sensor_thickness": 0.00045,
            "software_version": "1.8.0",
            "threshold_energy": said.photon_energy_ev / 2,
            "trigger_mode": "ints",
            "virtual_pixel_correction_applied": True,
            "wavelength": _wavelength(said),
            "x_pixel_size": said.pixel_size_m,
            "x_pixels_in_detector": said.shape[1],
            "y_pixel_size": said.pixel_size_m,
            "y_pixels_in_detector": said.shape[0],
            **{f"{name}_{what}": 0.0 for name in swings for what in ("increment", "start")},
        }

    def image(self, series: int, number: int, frame: NDArray, chunk: bytes) -> list[bytes]:
        """Return the four parts of an image."""
        layout = {
            "encoding": f"bs{8 * frame.itemsize}-lz4<",
            "htype": multipart.LAYOUT,
            "shape": [frame.shape[1], frame.shape[0]],
            "size": len(chunk),
            "type": _NAMES[frame.dtype],
        }
        # The detector hashes the part that follows, not the counts.
        second = _json(**layout)
        digest = hashlib.md5(second, usedforsecurity=False).hexdigest()
        first = _json(frame=number, hash=digest, htype=multipart.IMAGE, series=series)
        period = round(1e9 * self._frame_time_s)
        times = {
            "real_time": period,
            "start_time": number * period,
            "stop_time": (number + 1) * period,
        }
        return [first, second, chunk, _json(htype=multipart.TIMES, **times)]

    def end(self, series: int) -> list[bytes]:
        """Return the one part of the end."""
        return [_json(htype=multipart.END, series=series)]


class Stream2Composer:
    """Composes messages of stream2."""

    def __init__(self, frame_time_s: float) -> None:
        self._frame_time_s, self._armed = frame_time_s, _now()

    def _message(self, kind: str, series: int, **said: Any) -> list[bytes]:
        unique = f"SIM{self._armed:%Y%m%d%H%M%S}{series:09d}"
        head = {"type": kind, "series_id": series, "series_unique_id": unique}
        return [cbor2.dumps(cbor2.CBORTag(cbor.SELF, head | said))]

    def start(self, series: int, said: Announcement, detail: str, appendix: str) -> list[bytes]:
        """Return the header; detail ``none`` is that of ``basic``."""
        rest: dict[str, Any] = {
            "arm_date": _date(self._armed),
            "beam_center_x": float(said.beam_center[0]),
            "beam_center_y": float(said.beam_center[1]),
            "channels": [CHANNEL],
            "count_time": said.frame_time_s,
            "countrate_correction_enabled": True,
            "detector_description": said.description,
            "detector_serial_number": "E-00-0000",
            "detector_translation": [0.0, 0.0, said.camera_length_m],
            "flatfield_enabled": True,
            "frame_time": said.frame_time_s,
            "image_dtype": _NAMES[said.dtype],
            "image_size_x": said.shape[1],
            "image_size_y": said.shape[0],
            "incident_energy": said.photon_energy_ev,
            "incident_wavelength": _wavelength(said),
            "number_of_images": said.n_images,
            "pixel_mask_enabled": True,
            "pixel_size_x": said.pixel_size_m,
            "pixel_size_y": said.pixel_size_m,
            "saturation_value": said.saturation,
            "sensor_material": "Si",
            "sensor_thickness": 0.00045,
            "threshold_energy": {CHANNEL: said.photon_energy_ev / 2},
            "virtual_pixel_interpolation_enabled": True,
        }
        if detail == "all":
            table = np.arange(65536, dtype="<u4")
            rest |= {
                "countrate_correction_lookup_table": _row(table),
                "flatfield": {CHANNEL: _rows(said.shape, _row(np.ones(said.shape, "<f4")))},
                "pixel_mask": {CHANNEL: _rows(said.shape, _row(said.mask.astype("<u4")))},
            }
        if appendix:
            rest["user_data"] = appendix
        return self._message("start", series, **rest)

    def image(self, series: int, number: int, frame: NDArray, chunk: bytes) -> list[bytes]:
        """Return an image of one channel."""
        packed = cbor2.CBORTag(cbor.PACKED, ["bslz4", frame.itemsize, chunk])
        numbers = cbor2.CBORTag(_TAGS[frame.dtype], packed)
        period = round(TICKS_PER_S * self._frame_time_s)
        return self._message(
            "image",
            series,
            image_id=number,
            real_time=[period, TICKS_PER_S],
            series_date=_date(self._armed),
            start_time=[number * period, TICKS_PER_S],
            stop_time=[(number + 1) * period, TICKS_PER_S],
            data={CHANNEL: _rows(frame.shape, numbers)},
        )

    def end(self, series: int) -> list[bytes]:
        """Return the end."""
        return self._message("end", series)


COMPOSERS: dict[str, type[Stream1Composer] | type[Stream2Composer]] = {
    multipart.NAME: Stream1Composer,
    cbor.NAME: Stream2Composer,
}


def _wavelength(said: Announcement) -> float:
    return HC_EV_ANGSTROM / said.photon_energy_ev if said.photon_energy_ev else 0.0


def _now() -> datetime.datetime:
    return datetime.datetime.now().astimezone()


def _date(when: datetime.datetime) -> cbor2.CBORTag:
    return cbor2.CBORTag(cbor.DATE, when.isoformat(timespec="milliseconds"))


def _row(array: NDArray) -> cbor2.CBORTag:
    return cbor2.CBORTag(_TAGS[array.dtype], array.tobytes())


def _rows(shape: tuple[int, ...], numbers: cbor2.CBORTag) -> cbor2.CBORTag:
    return cbor2.CBORTag(cbor.ROWS_FIRST, [list(shape), numbers])
