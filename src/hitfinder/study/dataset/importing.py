"""Trees from Bragg-only frames that were made elsewhere, such as pattern_sim's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, SourceError
from hitfinder.simulation.rng import frame_seed
from hitfinder.study.dataset import framefile
from hitfinder.study.dataset.build import MadeFrame
from hitfinder.study.dataset.framefile import FrameFile, Spots
from hitfinder.study.dataset.labels import label_map, peaks_of_map
from hitfinder.study.dataset.layout import PEAKS, WATER, Setting
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.dataset.tree import frame_files

TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class BraggFrames:
    """Bragg-only frames of one setting.

    Parameters
    ----------
    files : tuple of FrameFile
        The files, in order of name.
    water : FrameFile, optional
        The water image that was kept with them.
    """

    files: tuple[FrameFile, ...]
    water: FrameFile | None

    @property
    def n_frames(self) -> int:
        """Frames in all files."""
        return sum(file.n_frames for file in self.files)

    def read(self, index: int) -> NDArray:
        """Read frame `index`, counted through the files."""
        for file in self.files:
            if index < file.n_frames:
                return file.read(index)
            index -= file.n_frames
        raise IndexError("there are not so many frames")


def find_sources(
    root: str | Path, settings: Sequence[Setting], only: str | None = None
) -> tuple[tuple[Setting, ...], dict[str, BraggFrames]]:
    """Look for Bragg-only frames, and check them against the settings.

    Parameters
    ----------
    root : path-like
        A folder with ``peaks/01``, ..., or with ``01``, ..., or with the files themselves.
    settings : sequence of Setting
        Settings that the folders' names stand for.
    only : str, optional
        Setting of the files that lie in `root` itself.

    Returns
    -------
    settings : tuple of Setting
        Those found, with their numbers of frames.
    sources : dict of BraggFrames
        By setting.

    Raises
    ------
    SourceError
        If there are none, or a file cannot be read or has another shape.
    ConfigError
        If a folder stands for no setting, or a file's attributes contradict it.
    """
    root = Path(root)
    base = root / PEAKS if (root / PEAKS).is_dir() else root
    if only is not None:
        folders = {only: root}
    elif base.is_dir():
        folders = {p.name: p for p in sorted(base.iterdir()) if re.fullmatch("[0-9]{2,4}", p.name)}
    else:
        raise SourceError("missing-file", "there is no such folder", str(root))
    known = {setting.name: setting for setting in settings}
    found, sources = [], {}
    for name, folder in folders.items():
        if name not in known:
            raise ConfigError(f"{name!r} is no setting of the matrix", str(folder))
        source = _source(folder, root / WATER / name, known[name])
        if source is not None:
            sources[name] = source
            found.append(dataclasses.replace(known[name], frames=source.n_frames))
    if not found:
        what = "there are no HDF5 files in folders peaks/01, peaks/02, ..."
        raise SourceError("no-frames", what, str(root))
    shapes = {s.files[0].shape for s in sources.values()}
    if len(shapes) > 1:
        raise SourceError("wrong-shape", f"frames of different shapes: {sorted(shapes)}", str(root))
    return tuple(found), sources


def _source(folder: Path, water: Path, setting: Setting) -> BraggFrames | None:
    files: list[FrameFile] = []
    for path in frame_files(folder).values():
        file, attributes = framefile.scan(path)
        for energy, length in zip(attributes.photon_energy, attributes.clen, strict=True):
            energy = setting.photon_energy_ev[0] if np.isnan(energy) else float(energy)
            length = setting.camera_length_m[0] if np.isnan(length) else float(length)
            if not setting.holds(energy, length, TOLERANCE):
                what = f"photon_energy {energy:g} eV, clen {length:g} m"
                raise ConfigError(f"{what}: not those of setting {setting}", str(path))
        if files and file.shape != files[0].shape:
            what = f"frames of {file.shape}, {files[0].path} has {files[0].shape}"
            raise SourceError("wrong-shape", what, str(path))
        files.append(file)
    if not files:
        return None
    waters = list(frame_files(water).values())
    return BraggFrames(tuple(files), framefile.scan(waters[0])[0] if waters else None)


class ImportedMaker:
    """Makes frames of Bragg images read from files, and of water read or simulated.

    Images of whole numbers are taken as counts; others as expected photons, of which counts are
    drawn.

    Parameters
    ----------
    recipe : Recipe
        Protocol, beam and sample; its detector must have the shape of the frames.
    sources : dict of BraggFrames
        By setting, from `find_sources`.

    Raises
    ------
    ConfigError
        If the detector has another shape.
    """

    def __init__(self, recipe: Recipe, sources: dict[str, BraggFrames]) -> None:
        self.recipe, self.sources = recipe, sources
        self.simulated = SimulatedMaker(recipe)
        shape = next(iter(sources.values())).files[0].shape
        if shape != self.simulated.detector.shape:
            name = recipe.detector
            raise ConfigError(
                f"the frames have {shape}, detector {name!r} {self.simulated.detector.shape}",
                hint="Name the detector that the frames were made for.",
            )

    def water(self, setting: Setting) -> NDArray[np.uint16]:
        """Return the water image kept with the frames, or a simulated one."""
        source = self.sources[setting.name]
        if source.water is None:
            return self.simulated.water(setting)
        return self._counts(source.water.read(0), setting, 0, source.water.path)

    def frame(self, setting: Setting, number: int, has_peaks: bool) -> MadeFrame:
        """Return frame `number`; those with peaks are the files' in their order."""
        empty = self.simulated.frame(setting, number, False)
        water = self.water(setting) if self.recipe.protocol == "paper" else empty.water
        if not has_peaks:
            return dataclasses.replace(empty, water=water)
        before = int(self.recipe.has_peaks(setting)[:number].sum())
        source = self.sources[setting.name]
        image = source.read(before)
        bragg = self._counts(image, setting, number, f"frame {before} of setting {setting.name}")
        marked = label_map(bragg, self.recipe.label_photons)
        positions, photons = peaks_of_map(marked, bragg)
        frame = np.zeros(len(positions), np.int64)
        spots = Spots(frame, positions[:, 0], positions[:, 1], photons)
        return dataclasses.replace(empty, bragg=bragg, water=water, spots=spots)

    def _counts(
        self, image: NDArray[Any], setting: Setting, number: int, where: str
    ) -> NDArray[np.uint16]:
        limit = np.iinfo(np.uint16).max
        if image.dtype.kind == "f":
            if not np.isfinite(image).all():
                raise SourceError("unreadable", "holds values that are not finite", where)
            if np.any(image != np.rint(image)):
                key = (int(setting.name), number, 3)
                rng = np.random.default_rng(frame_seed(self.recipe.seed, *key))
                image = rng.poisson(np.maximum(image, 0))
        if image.min() < 0:
            raise SourceError("unreadable", "holds negative counts", where)
        return np.minimum(image, limit).astype(np.uint16)
