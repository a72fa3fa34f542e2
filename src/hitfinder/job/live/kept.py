"""The frames that a live run keeps: an NXmx file with a place for each, filled for the hits."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.export.cxi import DATA
from hitfinder.export.hits import RESULT
from hitfinder.io.nxmx import DATA_PATH
from hitfinder.io.write import new_hdf5
from hitfinder.job.live.work import SHARDS
from hitfinder.units import HC_EV_ANGSTROM

FRAMES_FILE = "frames.h5"


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesDescription:
    """What is known of a series when its first frame is there; None for what is not.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Type of the counts.
    photon_energy_ev, camera_length_m, pixel_size_m, saturation : float, optional
        Photon energy in eV, lengths in m, counts of a saturated pixel.
    beam_center : tuple of float, optional
        Where the beam meets the frame (fs, ss), in pixels.
    mask : ndarray of uint32, shape `shape`, optional
        Bits of the pixel mask.
    detector : str
        The detector's name.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    pixel_size_m: float | None = None
    saturation: float | None = None
    beam_center: tuple[float, float] | None = None
    mask: NDArray[np.uint32] | None = None
    detector: str = ""


def write_places(folder: Path, series: SeriesDescription, n_frames: int = 1) -> Path:
    """Write the file of the frames, with the hits of the shards that are there.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    series : SeriesDescription
        What is known of the series.
    n_frames : int
        Places for frames; one that is empty takes no room.

    Returns
    -------
    Path
        The file.
    """
    path = folder / FRAMES_FILE
    with replacing(path) as part, new_hdf5(part, str(path)) as file:
        data = file.create_dataset(
            DATA_PATH,
            (n_frames, *series.shape),
            series.dtype,
            chunks=(1, *series.shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        _describe(file, series)
        for shard in sorted((folder / SHARDS).glob("hits-*.cxi")):
            _take_over(data, shard)
    return path


def _take_over(data: h5py.Dataset, shard: Path) -> None:
    """Copy the hits of a shard as they are packed."""
    with h5py.File(shard, "r") as file:
        hits = file[DATA]
        for row, number in enumerate(file[f"{RESULT}/frame"][()].tolist()):
            packed = hits.id.read_direct_chunk((row, 0, 0))[1]
            data.id.write_direct_chunk((number, 0, 0), packed)


def remove_shards(folder: Path) -> None:
    """Delete the shards, whose hits are in the file of the frames."""
    shutil.rmtree(folder / SHARDS, ignore_errors=True)


def _describe(file: h5py.File, series: SeriesDescription) -> None:
    for name, kind in (
        ("entry", "NXentry"),
        ("entry/data", "NXdata"),
        ("entry/instrument", "NXinstrument"),
        ("entry/instrument/detector", "NXdetector"),
        ("entry/instrument/beam", "NXbeam"),
    ):
        file.require_group(name).attrs["NX_class"] = kind
    file["entry/definition"] = "NXmx"
    file["entry/data"].attrs["signal"] = "data"
    detector = file["entry/instrument/detector"]
    center = series.beam_center or (None, None)
    values: dict[str, tuple[Any, str]] = {
        "detector_distance": (series.camera_length_m, "m"),
        "x_pixel_size": (series.pixel_size_m, "m"),
        "y_pixel_size": (series.pixel_size_m, "m"),
        "beam_center_x": (center[0], "pixel"),
        "beam_center_y": (center[1], "pixel"),
        "saturation_value": (series.saturation, ""),
        "description": (series.detector or None, ""),
        "bit_depth_image": (np.int32(8 * series.dtype.itemsize), ""),
    }
    for name, (value, unit) in values.items():
        if value is not None:
            detector[name] = value
            if unit:
                detector[name].attrs["units"] = unit
    if series.mask is not None:
        detector.create_dataset("pixel_mask", data=series.mask, compression="gzip")
    if series.photon_energy_ev:
        wavelength = HC_EV_ANGSTROM / series.photon_energy_ev
        beam = file["entry/instrument/beam"]
        beam["incident_wavelength"] = wavelength
        beam["incident_wavelength"].attrs["units"] = "angstrom"
