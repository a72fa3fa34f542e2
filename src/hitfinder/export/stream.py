"""Intensities for CrystFEL: a stream, which ``process_hkl`` and ``partialator`` merge."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

import hitfinder
from hitfinder.atomic import replacing
from hitfinder.crystal.cellfiles import cell_file_text
from hitfinder.crystal.lattice import Lattice
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef

_PER_NM = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class StreamCrystal:
    """A crystal of a frame and its reflections.

    Attributes
    ----------
    axes : ndarray, shape (3, 3)
        Reciprocal axes as columns, in Å⁻¹.
    hkl : ndarray of int, shape (n, 3)
        Indices.
    values : ndarray, shape (n, 6)
        Intensity, its standard deviation, largest count, background of a pixel, fs, ss (stored
        frame, corner convention).
    resolution_inv_a : float
        To what 1/d the crystal diffracts, in Å⁻¹.
    """

    axes: NDArray[np.float64]
    hkl: NDArray[np.integer]
    values: NDArray[np.float64]
    resolution_inv_a: float


@dataclasses.dataclass(frozen=True, eq=False)
class StreamFrame:
    """A frame of a stream.

    Attributes
    ----------
    ref : FrameRef
        Where it is kept, as CrystFEL is to be told.
    number : int
        Serial number, from 1.
    photon_energy_ev, camera_length_m : float
        Those of the frame.
    peaks : ndarray, shape (n, 4)
        Peaks that were searched: fs, ss, 1/d in Å⁻¹, photons.
    crystals : sequence of StreamCrystal
        Its crystals.
    """

    ref: FrameRef
    number: int
    photon_energy_ev: float
    camera_length_m: float
    peaks: NDArray[np.float64]
    crystals: Sequence[StreamCrystal]


class StreamWriter:
    """Takes the frames of a stream one by one; `stream_writer` makes one."""

    def __init__(
        self,
        file: TextIO,
        lattice: Lattice,
        geometry: Geometry,
        bandwidth: float,
        mosaicity_rad: float,
    ) -> None:
        self._file, self._lattice = file, lattice
        self._bandwidth, self._mosaicity_rad = bandwidth, mosaicity_rad
        self._panels = panel_numbers(geometry)
        self._names = [panel.name for panel in geometry.detector]

    def add(self, frame: StreamFrame) -> None:
        """Write a frame."""
        event = f"Event: {frame.ref.event}\n" if frame.ref.event else ""
        peaks = frame.peaks
        reach = _PER_NM * float(peaks[:, 2].max(initial=0.0))
        self._file.write(
            f"----- Begin chunk -----\nImage filename: {frame.ref.file}\n{event}"
            f"Image serial number: {frame.number}\nhit = 1\n"
            f"indexed_by = {'file' if frame.crystals else 'none'}\n"
            f"photon_energy_eV = {frame.photon_energy_ev:f}\nbeam_divergence = 0.00e+00 rad\n"
            f"beam_bandwidth = {100 * self._bandwidth:.2e} %\n"
            f"average_camera_length = {frame.camera_length_m:f} m\nnum_peaks = {len(peaks)}\n"
            f"peak_resolution = {_told(reach)}\nPeaks from peak search\n"
            "  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel\n"
        )
        for (fs, ss, inv_d, photons), name in zip(
            peaks, self._panel_names(peaks[:, 0], peaks[:, 1]), strict=True
        ):
            self._file.write(
                f"{fs:7.2f} {ss:7.2f} {_PER_NM * inv_d:10.2f}  {photons:10.2f}   {name}\n"
            )
        self._file.write("End of peak list\n")
        for crystal in frame.crystals:
            self._add_crystal(crystal, frame.photon_energy_ev)
        self._file.write("----- End chunk -----\n")

    def _add_crystal(self, crystal: StreamCrystal, photon_energy_ev: float) -> None:
        cell, lattice = self._lattice.cell, self._lattice
        lengths = " ".join(f"{edge / _PER_NM:.5f}" for edge in (cell.a, cell.b, cell.c))
        angles = " ".join(f"{angle:.5f}" for angle in (cell.alpha, cell.beta, cell.gamma))
        lines = ["--- Begin crystal", f"Cell parameters {lengths} nm, {angles} deg"]
        for name, axis in zip("abc", _PER_NM * crystal.axes.T, strict=True):
            lines.append(f"{name}star = {' '.join(f'{x:+9.7f}' for x in axis)} nm^-1")
        lines += _lattice_lines(lattice)
        lines += [
            f"profile_radius = {self._profile_radius(crystal, photon_energy_ev):.5f} nm^-1",
            "predict_refine/det_shift x = 0.000 y = 0.000 mm",
            f"diffraction_resolution_limit = {_told(_PER_NM * crystal.resolution_inv_a)}",
            f"num_reflections = {len(crystal.hkl)}",
            "num_saturated_reflections = 0",
            "num_implausible_reflections = 0",
            "Reflections measured after indexing",
            "   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel",
        ]
        names = self._panel_names(crystal.values[:, 4], crystal.values[:, 5])
        for (h, k, el), row, name in zip(crystal.hkl, crystal.values, names, strict=True):
            # By weight, values may be far below 1: digits are counted from the first that is not 0.
            numbers = " ".join(f"{value:10.5g}" for value in row[:4])
            lines.append(f"{h:4d} {k:4d} {el:4d} {numbers} {row[4]:6.1f} {row[5]:6.1f} {name}")
        lines += ["End of reflections", "--- End crystal", ""]
        self._file.write("\n".join(lines))

    def _profile_radius(self, crystal: StreamCrystal, photon_energy_ev: float) -> float:
        """How far from Ewald's sphere of the mean energy spots are excited, in nm⁻¹."""
        longest = np.linalg.norm(crystal.hkl @ crystal.axes.T, axis=1).max(initial=0.05)
        wavelength_a = 12398.42 / photon_energy_ev
        reach = 0.25 * self._bandwidth * wavelength_a * longest**2
        return float(_PER_NM * math.hypot(reach, self._mosaicity_rad * longest))

    def _panel_names(self, fs: NDArray[np.float64], ss: NDArray[np.float64]) -> list[str]:
        numbers = self._panels[
            np.clip(ss.astype(int), 0, self._panels.shape[0] - 1),
            np.clip(fs.astype(int), 0, self._panels.shape[1] - 1),
        ]
        return [self._names[n] for n in numbers]


def panel_numbers(geometry: Geometry) -> NDArray[np.int32]:
    """Return which panel each pixel of the frame is on, the first one where it is on none."""
    numbers = np.zeros(geometry.shape, np.int32)
    for number, panel in enumerate(geometry.detector):
        numbers[panel.slices] = number
    return numbers


@contextlib.contextmanager
def stream_writer(
    path: str | os.PathLike[str],
    lattice: Lattice,
    geometry: Geometry,
    geom: str,
    bandwidth: float,
    mosaicity_rad: float = 0.0,
) -> Iterator[StreamWriter]:
    """Open a CrystFEL stream that appears under its name, whole, when the block ends well.

    Parameters
    ----------
    path : path-like
        The ``.stream`` file.
    lattice : Lattice
        Of all crystals.
    geometry : Geometry
        The panels.
    geom : str
        The geometry file that belongs to the frames.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    mosaicity_rad : float
        Standard deviation of the turns of mosaic blocks, in rad.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with (
        replacing(path) as part,
        open(part, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        lines = [
            "CrystFEL stream format 2.3",
            f"Generated by hitfinder {hitfinder.__version__}",
            "----- Begin geometry file -----",
            geom.rstrip("\n"),
            "----- End geometry file -----",
            "----- Begin unit cell -----",
            cell_file_text(lattice).rstrip("\n"),
            "----- End unit cell -----",
            "",
        ]
        file.write("\n".join(lines))
        yield StreamWriter(file, lattice, geometry, bandwidth, mosaicity_rad)


def _lattice_lines(lattice: Lattice) -> list[str]:
    axis = [f"unique_axis = {lattice.unique_axis}"] if lattice.unique_axis else []
    return [f"lattice_type = {lattice.system}", f"centering = {lattice.centring}", *axis]


def _told(per_nm: float) -> str:
    """Say a resolution as CrystFEL does."""
    return f"{per_nm:.2f} nm^-1 or {_PER_NM / per_nm if per_nm > 0 else 0:.2f} A"
