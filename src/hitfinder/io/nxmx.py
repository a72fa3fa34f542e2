"""The contents of an NXmx master file: links, virtual dataset, beam, detector, sample.

NXmx is the NeXus application definition for macromolecular crystallography
(https://manual.nexusformat.org/classes/applications/NXmx.html). Its lab frame (McStas: z along
the beam, y up, right-handed) is the frame of CrystFEL, so panel vectors are written unchanged.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import h5py
import numpy as np
from numpy.typing import NDArray

import hitfinder
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.hdf5loops import escaped

DATA_PATH = "entry/data/data"
"""Where a data file, and a master's virtual dataset, keep the frames."""

MASK_BIT_GAP = 0
MASK_BIT_USER = 8
"""Bits of ``pixel_mask``: pixels on no panel, and pixels masked for a reason not recorded."""

SENSOR_MATERIAL, SENSOR_THICKNESS_M = "Si", 450e-6
"""NXmx requires a sensor; a `Detector` has none, so the Eiger's standard one is stated."""


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """The data files a master describes.

    Parameters
    ----------
    files : tuple of (str, int)
        Name (relative to the master) and number of frames of each data file.
    dtype : numpy.dtype
        Type of the counts.
    frame_time_s : float
        Time from one frame to the next, in s.
    extra : mapping
        Further datasets: absolute path to a value or to ``(value, unit)``.
    """

    files: tuple[tuple[str, int], ...]
    dtype: np.dtype
    frame_time_s: float
    extra: Mapping[str, object]

    @property
    def n_frames(self) -> int:
        """Frames in all files."""
        return sum(length for _, length in self.files)


def write_master(master: h5py.File, geometry: Geometry, series: DataFiles) -> None:
    """Fill an empty HDF5 file with the master of a series.

    Parameters
    ----------
    master : h5py.File
        File to fill.
    geometry : Geometry
        Detector, camera length and beam.
    series : DataFiles
        The data files.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = _group(master, "entry", "NXentry")
    master.attrs["default"] = "entry"
    entry.attrs["default"] = "data"
    _put(entry, "definition", "NXmx")
    entry["definition"].attrs["version"] = "2024.02"
    _put(entry, "start_time", now)
    _put(entry, "end_time_estimated", now)
    _put(entry, "program_name", f"hitfinder {hitfinder.__version__}")
    _write_links(entry, geometry.shape, series)
    instrument = _group(entry, "instrument", "NXinstrument")
    _put(instrument, "name", "hitfinder")
    _write_beam(instrument, geometry)
    _write_detector(instrument, geometry, series)
    _group(entry, "source", "NXsource")
    _put(entry["source"], "name", "simulation")
    sample = _group(entry, "sample", "NXsample")
    _put(sample, "name", "sample")
    _put(sample, "depends_on", ".")
    for path, value in series.extra.items():
        parent, _, name = path.strip("/").rpartition("/")
        group = master.require_group(parent) if parent else master
        if name in group:
            del group[name]
        if isinstance(value, tuple):
            _put(group, name, value[0], str(value[1]))
        else:
            _put(group, name, value)


def _write_links(entry: h5py.Group, shape: tuple[int, int], series: DataFiles) -> None:
    """Link the data files, and join them in one virtual dataset."""
    data = _group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    layout = h5py.VirtualLayout((series.n_frames, *shape), series.dtype)
    start = 0
    for number, (name, length) in enumerate(series.files, 1):
        data[f"data_{number:06d}"] = h5py.ExternalLink(name, f"/{DATA_PATH}")
        if length:
            held = (length, *shape)
            source = h5py.VirtualSource(escaped(name), f"/{DATA_PATH}", held, series.dtype)
            layout[start : start + length] = source
        start += length
    if series.n_frames:
        data.create_virtual_dataset("data", layout)


def _write_beam(instrument: h5py.Group, geometry: Geometry) -> None:
    beam = _group(instrument, "beam", "NXbeam")
    _put(beam, "incident_wavelength", geometry.wavelength_a, "angstrom")
    fraction = geometry.polarisation
    _put(beam, "incident_polarization_stokes", [1.0, 2 * fraction - 1, 0.0, 0.0])


def _write_detector(instrument: h5py.Group, geometry: Geometry, series: DataFiles) -> None:
    """Write NXdetector with its modules, the mask and the maker's own fields."""
    detector = geometry.detector
    group = _group(instrument, "detector", "NXdetector")
    edges = detector.panels[0].pixel_edges_m
    bits = 8 * series.dtype.itemsize
    _put(group, "description", detector.name)
    for name in ("detector_distance", "distance"):
        _put(group, name, geometry.camera_length_m + _beyond_m(detector), "m")
    for axis, place in zip("xy", detector.beam_center or (), strict=False):
        _put(group, f"beam_center_{axis}", place, "pixel")
    for axis, edge in zip("xy", edges, strict=True):
        _put(group, f"{axis}_pixel_size", edge, "m")
    _put(group, "bit_depth_image", np.int32(bits))
    _put(group, "bit_depth_readout", np.int32(bits))
    _put(group, "frame_time", series.frame_time_s, "s")
    _put(group, "count_time", series.frame_time_s, "s")
    _put(group, "sensor_material", SENSOR_MATERIAL)
    _put(group, "sensor_thickness", SENSOR_THICKNESS_M, "m")
    _put(group, "depends_on", "/entry/instrument/detector/transformations/translation")
    if detector.saturation is not None:
        _put(group, "saturation_value", detector.saturation)
    if np.issubdtype(series.dtype, np.integer):
        _put(group, "underload_value", np.int32(0))
    group.create_dataset("pixel_mask", data=pixel_mask(detector), compression="gzip")
    _write_specific(group, geometry, series)
    _write_transformations(group, geometry.camera_length_m)
    for number, panel in enumerate(detector.panels):
        name = "module" if len(detector.panels) == 1 else f"module_{number:04d}"
        _write_module(group, name, panel)


def _beyond_m(detector: Detector) -> float:
    """Return how far past the camera length the beam meets a detector, which may be tilted."""
    met = [(at, panel) for panel in detector if (at := panel.beam_position()) is not None]
    if not met:
        return 0.0
    (place, _), panel = min(met, key=lambda found: found[0][1])
    return float(panel.positions(np.array(place[0]), np.array(place[1]), 0.0)[2])


def _write_specific(group: h5py.Group, geometry: Geometry, series: DataFiles) -> None:
    """Write the fields that Eiger files keep outside the NXmx definition."""
    specific = _group(group, "detectorSpecific", "NXcollection")
    _put(specific, "photon_energy", geometry.photon_energy_ev, "eV")
    _put(specific, "nimages", np.uint32(series.n_frames))
    _put(specific, "ntrigger", np.uint32(1))
    _put(specific, "x_pixels_in_detector", np.uint32(geometry.shape[1]))
    _put(specific, "y_pixels_in_detector", np.uint32(geometry.shape[0]))
    _put(specific, "compression", "bslz4")
    if geometry.detector.saturation is not None:
        cutoff = np.uint32(min(geometry.detector.saturation, 2**32 - 1))
        _put(specific, "countrate_correction_count_cutoff", cutoff)


def _write_transformations(group: h5py.Group, camera_length_m: float) -> None:
    transformations = _group(group, "transformations", "NXtransformations")
    _put(transformations, "translation", camera_length_m, "m")
    _place(transformations["translation"], "translation", (0.0, 0.0, 1.0), ".")


def _write_module(detector: h5py.Group, name: str, panel: Panel) -> None:
    """Write one panel as NXdetector_module, placed from the detector's translation."""
    module = _group(detector, name, "NXdetector_module")
    _put(module, "data_origin", np.array([panel.ss_start, panel.fs_start], np.int64))
    _put(module, "data_size", np.array([panel.n_ss, panel.n_fs], np.int64))
    pixel = panel.pixel_size_m
    corner = np.array([panel.corner_x * pixel, panel.corner_y * pixel, panel.coffset_m])
    length = float(np.linalg.norm(corner))
    _put(module, "module_offset", length, "m")
    direction = corner / length if length else np.array([1.0, 0.0, 0.0])
    origin = f"{detector.name}/transformations/translation"
    _place(module["module_offset"], "translation", direction, origin)
    for field, vector in (
        ("fast_pixel_direction", panel.fs_vector),
        ("slow_pixel_direction", panel.ss_vector),
    ):
        step = float(np.linalg.norm(vector))
        _put(module, field, pixel * step, "m")
        _place(
            module[field], "translation", np.array(vector) / step, f"{module.name}/module_offset"
        )


def _place(
    dataset: h5py.Dataset,
    kind: str,
    vector: NDArray[np.float64] | tuple[float, float, float],
    depends_on: str,
) -> None:
    dataset.attrs["transformation_type"] = kind
    dataset.attrs["vector"] = np.asarray(vector, np.float64)
    dataset.attrs["offset"] = np.zeros(3)
    dataset.attrs["offset_units"] = "m"
    dataset.attrs["depends_on"] = depends_on


def pixel_mask(detector: Detector) -> NDArray[np.uint32]:
    """Return the detector's mask in the bits of NXmx ``pixel_mask``, shape of the frame."""
    bits = np.full(detector.shape, 1 << MASK_BIT_GAP, np.uint32)
    for panel in detector.panels:
        bits[panel.slices] = 0
    if detector.mask is not None:
        bits[detector.mask] |= 1 << MASK_BIT_USER
    return bits


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _put(group: h5py.Group, name: str, value: object, unit: str = "") -> None:
    dataset = group.create_dataset(name, data=value)
    if unit:
        dataset.attrs["units"] = unit
