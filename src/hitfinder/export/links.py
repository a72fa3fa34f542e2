"""Virtual datasets: frames shown in one file that stay stored in others."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from hitfinder.errors import OutputError
from hitfinder.hdf5loops import escaped
from hitfinder.io.handles import open_file

FRAMES_PER_MAPPING = 128
"""Frames of one dataset that are mapped at once. With one mapping for each of 100,000 frames HDF5
takes gigabytes to write them; with all in one it takes long to open them."""

OWN_FILE = "."
"""Name by which a virtual dataset finds datasets of its own file."""


class FrameLinks:
    """Which dataset holds each frame of a stack.

    Parameters
    ----------
    folder : Path
        Folder of the file that shows the frames; files on the same file system are named from
        there, so that the two can be moved together.
    shape : tuple of int
        Rows and columns of a frame.
    """

    def __init__(self, folder: Path, shape: tuple[int, int]) -> None:
        self._folder = os.path.realpath(folder)
        self._device = os.stat(self._folder).st_dev
        self._shape = shape
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._sources: dict[tuple[str, str], tuple[tuple[int, ...], np.dtype]] = {}
        self._runs: dict[tuple[str, str], list[tuple[array[int], array[int]]]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def only_own(self) -> bool:
        """Whether every frame is in the file that shows them."""
        return all(file == OWN_FILE for file, _ in self._sources)

    def add(self, file: str, path: str, index: int) -> None:
        """Append a frame of another file.

        Parameters
        ----------
        file, path : str
            The file and the dataset in it.
        index : int
            Index along the first axis of a 3-D dataset, or -1 for a dataset that is the frame.

        Raises
        ------
        SourceError
            If the file cannot be opened.
        OutputError
            If the dataset does not hold such a frame. HDF5 itself would show empty pixels.
        """
        if (file, path) not in self._keys:
            with open_file(file) as source:
                key = (self._name(file), path)
                self._note(key, source.get(path), f"{file}//{path.lstrip('/')}")
                self._keys[file, path] = key
        self._append(self._keys[file, path], index)

    def add_own(self, dataset: h5py.Dataset) -> None:
        """Append the next frame of a dataset of the same file.

        The dataset may grow until `layout` is called.
        """
        key = (OWN_FILE, dataset.name)
        index = sum(len(rows) for rows, _ in self._runs.get(key, []))
        self._sources[key] = ((index + 1, *self._shape), dataset.dtype)
        self._append(key, index)

    def layout(self) -> h5py.VirtualLayout:
        """Return the virtual dataset's layout."""
        dtype = np.result_type(*(dtype for _, dtype in self._sources.values()))
        layout = h5py.VirtualLayout((self._length, *self._shape), dtype)
        for (file, path), runs in self._runs.items():
            shape, stored = self._sources[file, path]
            for rows, indices in runs:
                source = h5py.VirtualSource(escaped(file), escaped(path), shape, stored)
                layout[_selection(rows)] = (
                    source if len(shape) == 2 else source[_selection(indices)]
                )
        return layout

    def samples(self) -> Iterator[int]:
        """Yield a row for each dataset that frames are taken from."""
        for runs in self._runs.values():
            yield runs[0][0][0]

    def _name(self, file: str) -> str:
        real = os.path.realpath(file)
        same = os.stat(real).st_dev == self._device
        return os.path.relpath(real, self._folder) if same else real

    def _note(self, key: tuple[str, str], dataset: object, where: str) -> None:
        if not isinstance(dataset, h5py.Dataset) or dataset.shape[-2:] != self._shape:
            shape = getattr(dataset, "shape", None)
            what = f"dataset of shape {shape} holds no frames of shape {self._shape}"
            raise OutputError(what, where)
        self._sources[key] = (dataset.shape, dataset.dtype)

    def _append(self, key: tuple[str, str], index: int) -> None:
        length = self._sources[key][0]
        if len(length) == 3 and not 0 <= index < length[0]:
            raise OutputError(f"has no frame {index}", f"{key[0]}//{key[1].lstrip('/')}")
        runs = self._runs.setdefault(key, [])
        # HDF5 goes through a selection in rising order, so a run may only rise.
        if not runs or index <= runs[-1][1][-1] or len(runs[-1][0]) >= FRAMES_PER_MAPPING:
            runs.append((array("q"), array("q")))
        runs[-1][0].append(self._length)
        runs[-1][1].append(index)
        self._length += 1


def _selection(numbers: array[int]) -> slice | list[int]:
    first, last = numbers[0], numbers[-1]
    if last - first == len(numbers) - 1:
        return slice(first, last + 1)
    return numbers.tolist()
