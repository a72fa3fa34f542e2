"""Build a tree: draw frames, write the four folders, note what made them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import clear_unfinished, make_folder, sha256
from hitfinder.errors import OutputError
from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import Executor, results
from hitfinder.locks import locked
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.framefile import Attributes, Spots
from hitfinder.study.dataset.framewriter import FrameFileWriter
from hitfinder.study.dataset.labels import label_map
from hitfinder.study.dataset.layout import FOLDERS, LABELS, OVERLAY, PEAKS, WATER, Setting
from hitfinder.study.dataset.manifest import FileRecord, Journal, Manifest
from hitfinder.study.dataset.recipe import Recipe

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class MadeFrame:
    """One frame in its parts.

    Parameters
    ----------
    bragg, water : ndarray of uint16, shape (rows, columns)
        Photons of the Bragg peaks and of the water; the frame is their sum.
    photon_energy_ev, camera_length_m : float
        What the frame's attributes say.
    spots : Spots
        True spots.
    extra : dict of float
        Further numbers of the shot, the same names for every frame.
    """

    bragg: NDArray[np.uint16]
    water: NDArray[np.uint16]
    photon_energy_ev: float
    camera_length_m: float
    spots: Spots
    extra: dict[str, float]


class Maker(Protocol):
    """Makes frames; pickled to the workers, so it sets up in the process that uses it."""

    def frame(self, setting: Setting, number: int, has_peaks: bool) -> MadeFrame:
        """Return frame `number` of a setting, the same whenever it is asked for."""

    def water(self, setting: Setting) -> NDArray[np.uint16]:
        """Return the one water image of a setting, for the report's protocol."""


Progress = Callable[[int], None]
"""Called with the number of frames done since the last call."""


def build(
    root: str | Path,
    settings: tuple[Setting, ...],
    recipe: Recipe,
    maker: Maker,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = lambda n: None,
) -> Manifest:
    """Build a tree, or go on with one that was cut short.

    Parameters
    ----------
    root : path-like
        Folder for the tree; made if need be.
    settings : tuple of Setting
        Energies and camera lengths.
    recipe : Recipe
        How many frames, and how they are made.
    maker : Maker
        Makes the frames.
    workers : int
        Processes; the frames do not depend on it.
    executor : Executor, optional
        Has the files written, instead of so many workers.
    progress : callable
        Told of frames done.

    Raises
    ------
    OutputError
        If there is a finished tree, one of another recipe, or files of unknown origin.
    """
    root = Path(root)
    make_folder(root)
    with locked(root, "build"):
        return _build(
            root, settings, recipe, maker, executor or executor_for(max(1, workers)), progress
        )


def _build(
    root: Path,
    settings: tuple[Setting, ...],
    recipe: Recipe,
    maker: Maker,
    executor: Executor,
    progress: Progress,
) -> Manifest:
    plan = Manifest(recipe.as_dict(), settings)
    _prepare(root, plan)
    journal = Journal(root)
    for setting in settings:
        for folder in FOLDERS:
            (root / folder / setting.name).mkdir(parents=True, exist_ok=True)
            clear_unfinished(root / folder / setting.name)
    for setting in settings if recipe.protocol == "paper" else ():
        if not journal.has(root, [_shared_water_path(setting)]):
            journal.add([_write_shared_water(root, setting, maker)])
    work = FileWork(root, recipe, maker)
    files = [FileTask(s, number) for s in settings for number in range(1, recipe.n_files(s) + 1)]
    todo = [file for file in files if not journal.has(root, work.paths(file))]
    if len(todo) < len(files):
        log.info("%d of %d files are there already", len(files) - len(todo), len(files))
        progress(sum(len(work.frames(file)) for file in set(files) - set(todo)))
    with executor:
        for records in results(executor.run(work, todo)):
            journal.add(records)
            progress(records[0].n_frames)
    # The manifest is written last: a tree that has its files listed is complete.
    done = dataclasses.replace(
        plan, files=tuple(journal.records[p] for p in sorted(journal.records))
    )
    done.write(root)
    journal.remove()
    return done


def _prepare(root: Path, plan: Manifest) -> None:
    """Make the folder, or see that what is there is the same tree, unfinished."""
    there = manifest.read(root)
    if there is None:
        taken = [folder for folder in FOLDERS if (root / folder).exists()]
        if taken:
            what = f"there is a folder {taken[0]!r} but no {manifest.MANIFEST}"
            raise OutputError(what, str(root), "Choose another folder.")
        plan.write(root)
    elif there.is_complete:
        hint = "Choose another folder, or remove this one first."
        raise OutputError("there is a finished tree already", str(root), hint)
    elif (there.recipe, there.settings, there.made_by) != (
        plan.recipe,
        plan.settings,
        plan.made_by,
    ):
        what = f"there is an unfinished tree of another recipe{_difference(there, plan)}"
        raise OutputError(what, str(root), "Give the same options, or choose another folder.")


def _difference(there: Manifest, plan: Manifest) -> str:
    keys = [key for key, value in plan.recipe.items() if there.recipe.get(key) != value]
    if keys:
        return f" ({keys[0]}: {there.recipe.get(keys[0])} there, {plan.recipe[keys[0]]} asked for)"
    return " (other settings)" if there.settings != plan.settings else f" (by {there.made_by})"


def _shared_water_path(setting: Setting) -> str:
    return f"{WATER}/{setting.name}/{setting.water_file_name}"


@dataclasses.dataclass(frozen=True)
class FileTask:
    """A file of a setting to write in each folder: a task.

    Attributes
    ----------
    setting : Setting
        The setting.
    number : int
        Number of the file, from 1.
    """

    setting: Setting
    number: int

    def __str__(self) -> str:
        return f"file {self.setting.name}/{self.setting.file_name(self.number)}"


@dataclasses.dataclass(frozen=True, eq=False)
class FileWork:
    """The work of writing any file of a tree; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    root : Path
        Folder of the tree.
    recipe : Recipe
        How many frames, and how they are made.
    maker : Maker
        Makes the frames.
    """

    root: Path
    recipe: Recipe
    maker: Maker

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FileTask], list[FileRecord]]]:
        """Return a function that writes a file in each folder, and returns their records."""
        yield self._write

    def frames(self, file: FileTask) -> range:
        """Return the frames of a file."""
        first = (file.number - 1) * self.recipe.frames_per_file
        last = first + self.recipe.frames_per_file
        return range(first, min(last, self.recipe.n_frames(file.setting)))

    def paths(self, file: FileTask) -> list[str]:
        """Return the files to write, relative to the tree."""
        name = file.setting.file_name(file.number)
        return [f"{folder}/{file.setting.name}/{name}" for folder in self._folders]

    @property
    def _folders(self) -> tuple[str, ...]:
        """The folders that hold a frame for every frame."""
        return tuple(f for f in FOLDERS if f != WATER or self.recipe.protocol == "realistic")

    def _write(self, file: FileTask) -> list[FileRecord]:
        paths = dict(zip(self._folders, self.paths(file), strict=True))
        numbers, setting = self.frames(file), file.setting
        peak = self.recipe.has_peaks(setting)[numbers.start : numbers.stop]
        single = self.recipe.frames_per_file == 1
        with contextlib.ExitStack() as stack:
            writers = {
                folder: stack.enter_context(FrameFileWriter(self.root / path, single=single))
                for folder, path in paths.items()
            }
            made = []
            for n, has_peaks in zip(numbers, peak, strict=True):
                frame = self.maker.frame(setting, n, bool(has_peaks))
                images: dict[str, NDArray] = {
                    PEAKS: frame.bragg,
                    LABELS: label_map(frame.bragg, self.recipe.label_photons),
                    OVERLAY: add_counts(frame.bragg, frame.water),
                    WATER: frame.water,
                }
                for folder, writer in writers.items():
                    writer.append(images[folder])
                made.append(dataclasses.replace(frame, bragg=_NO_PIXELS, water=_NO_PIXELS))
            _describe(writers, made, peak)
        return [FileRecord(path, len(numbers), sha256(self.root / path)) for path in paths.values()]


_NO_PIXELS = np.empty((0, 0), np.uint16)


def add_counts(bragg: NDArray[np.uint16], water: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the sum of two images, full pixels staying full."""
    total = bragg + water
    total[total < water] = np.iinfo(np.uint16).max
    return total


def _describe(
    writers: dict[str, FrameFileWriter], made: list[MadeFrame], peak: NDArray[np.bool_]
) -> None:
    """Add attributes, spots and shot numbers to the files.

    The attribute ``peak`` of a water or label image tells what the frame it goes with holds.
    """
    attributes = Attributes(
        np.array([frame.camera_length_m for frame in made]),
        np.array([frame.photon_energy_ev for frame in made]),
        peak.astype(np.int8),
    )
    extra = {name: np.array([frame.extra[name] for frame in made]) for name in made[0].extra}
    spots = Spots.joined(frame.spots for frame in made)
    for folder, writer in writers.items():
        writer.describe(attributes, spots if folder == PEAKS else None, extra)


def _write_shared_water(root: Path, setting: Setting, maker: Maker) -> FileRecord:
    """Write the one water image of a setting."""
    path = _shared_water_path(setting)
    energy, length = setting.photon_energy_ev[0], setting.camera_length_m[0]
    with FrameFileWriter(root / path, single=True) as writer:
        writer.append(maker.water(setting))
        writer.describe(Attributes(np.array([length]), np.array([energy]), np.zeros(1, np.int8)))
    return FileRecord(path, 1, sha256(root / path))
