"""Names of the folders, settings and files of a tree of frames.

A tree has the folders ``peaks`` (Bragg photons alone), ``labels`` (where they are),
``peaks_water_overlay`` (the frame: Bragg photons and water) and ``water``, each with one folder
for each setting (01, 02, ...) of HDF5 files such as ``01_6keV_clen01_000001.h5``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from hitfinder.errors import ConfigError

PEAKS, LABELS, OVERLAY, WATER = FOLDERS = ("peaks", "labels", "peaks_water_overlay", "water")
DATA_PATH = "entry/data/data"

REPORT_ENERGIES_EV = (6000.0, 7000.0, 8000.0)
REPORT_LENGTHS_M = (0.15, 0.25, 0.35)

POSSIBLE_EV, POSSIBLE_M = (10.0, 1e6), (1e-3, 1e3)
"""Photon energies and camera lengths of any experiment; others are slips of units."""

Range = tuple[float, float]
"""Lowest and highest value; equal for a fixed one."""

LARGEST_GRID = 9999


@dataclasses.dataclass(frozen=True)
class Setting:
    """A photon energy and a camera length, or a range of them, and the folder of its frames.

    Parameters
    ----------
    name : str
        Folder name, e.g. ``01``.
    photon_energy_ev : tuple of float
        Lowest and highest photon energy, in eV.
    camera_length_m : tuple of float
        Lowest and highest camera length, in m.
    length_number : int
        Number of the camera length among those of the matrix, from 1, for file names.
    frames : int, optional
        Frames with peaks, where they differ from setting to setting.
    """

    name: str
    photon_energy_ev: Range
    camera_length_m: Range
    length_number: int = 1
    frames: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{2,4}", self.name):
            raise ValueError(f"a setting is named by two to four digits, got {self.name!r}")
        for what, (low, high), (least, most), unit in (
            ("photon energy", self.photon_energy_ev, POSSIBLE_EV, "eV"),
            ("camera length", self.camera_length_m, POSSIBLE_M, "m"),
        ):
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{what} must be positive and rising, in {least:g} to {most:g} {unit}, "
                    f"got {low:g} to {high:g}"
                )

    @property
    def is_fixed(self) -> bool:
        """Whether energy and camera length are single values."""
        pairs = (self.photon_energy_ev, self.camera_length_m)
        return all(low == high for low, high in pairs)

    def file_name(self, number: int) -> str:
        """Return the name of file `number`, counted from 1: ``01_6keV_clen01_000001.h5``."""
        return f"{self.stem}_{number:06d}.h5"

    @property
    def stem(self) -> str:
        """What the names of the setting's files start with."""
        energy = "-".join(f"{value / 1000:g}" for value in dict.fromkeys(self.photon_energy_ev))
        return f"{self.name}_{energy}keV_clen{self.length_number:02d}"

    @property
    def water_file_name(self) -> str:
        """Name of the one file of water that serves all frames, where there is just one."""
        return f"{self.stem}_water.h5"

    def holds(self, photon_energy_ev: float, camera_length_m: float, tolerance: float) -> bool:
        """Whether an energy and a camera length are the setting's, within a relative tolerance."""
        pairs = (
            (photon_energy_ev, self.photon_energy_ev),
            (camera_length_m, self.camera_length_m),
        )
        return all(
            low * (1 - tolerance) <= value <= high * (1 + tolerance) for value, (low, high) in pairs
        )

    def __str__(self) -> str:
        energy = "-".join(f"{v / 1000:g}" for v in dict.fromkeys(self.photon_energy_ev))
        length = "-".join(f"{v:g}" for v in dict.fromkeys(self.camera_length_m))
        return f"{self.name} ({energy} keV, {length} m)"


def grid(energies_ev: Sequence[float], lengths_m: Sequence[float]) -> tuple[Setting, ...]:
    """Return one setting for each pair, numbered from 01 with the energy running fastest.

    Raises
    ------
    ConfigError
        If there are none, too many, or a value is given twice or not positive.
    """
    for what, values in (("photon energy", energies_ev), ("camera length", lengths_m)):
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"each {what} must be given once, got {list(values)}")
    n_settings = len(energies_ev) * len(lengths_m)
    if n_settings > LARGEST_GRID:
        raise ConfigError(f"{n_settings} settings are more than {LARGEST_GRID}")
    width = max(2, len(str(n_settings)))
    settings = []
    try:
        for i, length in enumerate(lengths_m):
            for j, energy in enumerate(energies_ev):
                name = f"{i * len(energies_ev) + j + 1:0{width}d}"
                settings.append(Setting(name, (energy, energy), (length, length), i + 1))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return tuple(settings)


def continuous(energy_range_ev: Range, length_range_m: Range) -> tuple[Setting, ...]:
    """Return one setting whose frames are spread over a range of energies and camera lengths.

    Raises
    ------
    ConfigError
        If a range is not positive or falls.
    """
    try:
        return (Setting("01", energy_range_ev, length_range_m),)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def report_matrix() -> tuple[Setting, ...]:
    """Return the nine settings of the report: 01 = 6 keV, 0.15 m; 09 = 8 keV, 0.35 m."""
    return grid(REPORT_ENERGIES_EV, REPORT_LENGTHS_M)


def frame_key(path: Path) -> str:
    """Return what the names of a frame's files have in common in the four folders.

    The report's own files carry the prefixes ``overlay_`` and ``label_``.
    """
    return re.sub(r"^(overlay|label|labels|peak|water)_", "", path.stem)
