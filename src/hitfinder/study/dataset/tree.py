"""A tree of frames on disk, and the table of what is in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.study.dataset import framefile
from hitfinder.study.dataset.framefile import Attributes, FrameFile, Spots
from hitfinder.study.dataset.layout import FOLDERS, OVERLAY, PEAKS, WATER, frame_key


@dataclasses.dataclass(frozen=True)
class FrameSet:
    """The files of the four folders that hold the same frames.

    Parameters
    ----------
    setting : str
        Folder name of the setting.
    key : str
        What the names of the files have in common.
    files : dict of str to FrameFile
        By folder. Water may be one frame that serves all.
    """

    setting: str
    key: str
    files: dict[str, FrameFile]

    def read(self, folder: str, index: int, out: NDArray | None = None) -> NDArray:
        """Read frame `index` of this set from one of the four folders.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        file = self.files[folder]
        shared = folder == WATER and file.n_frames == 1
        return file.read(0 if shared else index, out)

    def spots(self) -> Spots | None:
        """Return the true spots of these frames; None if they were not written."""
        return framefile.read_spots(self.files[PEAKS].path)


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """The frames of a tree, or of a choice from it, as a table over its files.

    Attributes
    ----------
    root : Path
        The folder that holds the four.
    sets : tuple of FrameSet
        Files, in order of setting and name.
    set_index : ndarray of int64, shape (n,)
        File of each frame.
    row : ndarray of int64, shape (n,)
        Frame within its file.
    attributes : Attributes
        Of each frame.
    shape : tuple of int
        Rows and columns of the frames.
    """

    root: Path
    sets: tuple[FrameSet, ...]
    set_index: NDArray[np.int64]
    row: NDArray[np.int64]
    attributes: Attributes
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def settings(self) -> NDArray[np.str_]:
        """Setting of each frame."""
        names = np.array([part.setting for part in self.sets] or [""])
        return names[self.set_index]

    def take(self, indices: NDArray) -> Tree:
        """Return the tree with only these frames, given by number or as a mask."""
        numbers = np.arange(len(self))[indices]
        attributes = Attributes(
            self.attributes.clen[numbers],
            self.attributes.photon_energy[numbers],
            self.attributes.peak[numbers],
        )
        return dataclasses.replace(
            self,
            set_index=self.set_index[numbers],
            row=self.row[numbers],
            attributes=attributes,
        )

    def read(self, folder: str, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame from one of the four folders.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        part = self.sets[self.set_index[index]]
        return part.read(folder, int(self.row[index]), out)

    def frame_name(self, index: int) -> str:
        """Return how a person finds a frame: setting, file and number in it."""
        part = self.sets[self.set_index[index]]
        return f"{part.setting}/{part.key} //{int(self.row[index])}"


def setting_folders(root: Path, folder: str) -> list[Path]:
    """Return the folders of settings in one of the four, by name."""
    place = root / folder
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if p.is_dir() and re.fullmatch(r"[0-9]{2,4}", p.name))


def frame_files(folder: Path) -> dict[str, Path]:
    """Return the HDF5 files of a folder by their key, in order of name."""
    if not folder.is_dir():
        return {}
    found = (p for p in folder.iterdir() if p.suffix in (".h5", ".hdf5"))
    return {frame_key(p): p for p in sorted(found) if not p.name.startswith(".")}


def open_tree(root: str | Path, folders: Sequence[str] = FOLDERS) -> Tree:
    """Read what a tree holds, frame by frame, without the frames.

    Parameters
    ----------
    root : path-like
        Folder that holds ``peaks_water_overlay`` and the others.
    folders : sequence of str
        Those of the four that are needed.

    Raises
    ------
    SourceError
        If a folder or a counterpart is missing, a file cannot be read, or frames differ in shape.
        `validate` names every fault instead of the first.
    """
    root = Path(root)
    for folder in folders:
        if not (root / folder).is_dir():
            raise SourceError(
                "missing-file",
                f"there is no folder {folder!r}",
                str(root),
                "A tree of frames has the folders " + ", ".join(FOLDERS) + ".",
            )
    main = OVERLAY if OVERLAY in folders else folders[0]
    sets: list[FrameSet] = []
    attributes: list[Attributes] = []
    for place in setting_folders(root, main):
        listed = {folder: frame_files(root / folder / place.name) for folder in folders}
        for key in listed[main]:
            part, values = _frame_set(place.name, key, main, listed)
            sets.append(part)
            attributes.append(values)
    if not sets:
        raise SourceError("no-frames", f"there are no frames in {main}", str(root))
    return _tree(root, main, sets, attributes)


def _frame_set(
    setting: str, key: str, main: str, listed: dict[str, dict[str, Path]]
) -> tuple[FrameSet, Attributes]:
    path = listed[main][key]
    first, attributes = framefile.scan(path)
    files = {main: first}
    for folder in listed:
        if folder == main:
            continue
        other = counterpart(listed[folder], key, folder, listed[main])
        if other is None:
            what = f"it has no counterpart in {folder}/{setting}"
            raise SourceError("missing-file", what, str(path), "Run hitfinder dataset validate.")
        files[folder], theirs = framefile.scan(other)
        shared = folder == WATER and files[folder].n_frames == 1
        if files[folder].shape != first.shape or not (
            shared or files[folder].n_frames == first.n_frames
        ):
            what = f"holds frames unlike those of {path}"
            raise SourceError("wrong-shape", what, str(other), "Run hitfinder dataset validate.")
        if not shared:
            _check_alike(attributes, theirs, path, other)
    return FrameSet(setting, key, files), attributes


def _check_alike(main: Attributes, theirs: Attributes, path: Path, other: Path) -> None:
    """Raise SourceError if counterparts say different things of a frame."""
    for name in framefile.ATTRIBUTE_NAMES:
        a, b = getattr(main, name), getattr(theirs, name)
        # What a file does not say is NaN, or -1 for peaks.
        differ = np.flatnonzero((a != b) & (a == a) & (b == b) & (a != -1) & (b != -1))
        if len(differ):
            n = int(differ[0])
            what = f"frame {n} has {name} {b[n]:g}, in {path} it has {a[n]:g}"
            raise SourceError("unreadable", what, str(other), "Run hitfinder dataset validate.")


def counterpart(
    files: Mapping[str, Path], key: str, folder: str, main: Container[str]
) -> Path | None:
    """Return the file of the same frames among those of a folder; for water also the one for all.

    Parameters
    ----------
    files : mapping of Path
        What `frame_files` gives of the folder.
    key : str
        Key of the frames.
    folder : str
        Which of the four it is.
    main : container of str
        Keys of all frames: a lone water file of another key serves them all.
    """
    if key in files:
        return files[key]
    if folder == WATER and len(files) == 1 and next(iter(files)) not in main:
        return next(iter(files.values()))
    return None


def _tree(root: Path, main: str, sets: list[FrameSet], attributes: list[Attributes]) -> Tree:
    shape = sets[0].files[main].shape
    for part in sets:
        file = part.files[main]
        if file.shape != shape:
            what = f"frames of shape {file.shape}, those of {sets[0].key} have {shape}"
            raise SourceError("wrong-shape", what, file.path)
    counts = [len(values) for values in attributes]
    return Tree(
        root=root,
        sets=tuple(sets),
        set_index=np.repeat(np.arange(len(sets)), counts),
        row=np.concatenate([np.arange(n) for n in counts]),
        attributes=Attributes(
            *(
                np.concatenate([getattr(values, name) for values in attributes])
                for name in framefile.ATTRIBUTE_NAMES
            )
        ),
        shape=shape,
    )
