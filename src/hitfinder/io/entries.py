"""CXI files that keep frames in several entries: the mask and the beam of each."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.masks import StoredMask, find_mask
from hitfinder.io.nexus import Fields, identity
from hitfinder.io.source import MaskKey

ENTRIES = "/%/"
"""Beginning of the path of frames that stand in several entries of a CXI file."""


@dataclasses.dataclass(frozen=True)
class EntryMask:
    """The mask of an entry.

    Parameters
    ----------
    group : str
        The first entry that has this mask.
    place : StoredMask
        Where it is.
    """

    group: str
    place: StoredMask


class EntryMasks:
    """The masks of the entries of a CXI file; an entry without any has the first one's.

    Parameters
    ----------
    path : str
        Path of the frames, with ``%`` for the entry.
    groups : ndarray of str, shape (n_frames,)
        The entry of each frame; those of an entry follow one another.
    shape : tuple of int
        Rows and columns of a frame.
    """

    def __init__(self, path: str, groups: NDArray[np.str_], shape: tuple[int, int]) -> None:
        self._path, self._shape = path, shape
        self._n_frames = collections.Counter(groups.tolist())
        self._starts: dict[str, int] = {}
        for index, group in enumerate(groups.tolist()):
            self._starts.setdefault(group, index)
        self._groups = groups
        self._known: dict[str, EntryMask | None] = {}
        self._same: dict[tuple[object, object], EntryMask] = {}

    def of(self, file: h5py.File, index: int) -> EntryMask | None:
        """Return the mask of a frame's entry; None if neither it nor the first has one."""
        group = str(self._groups[index])
        if group not in self._known:
            self._known[group] = self._find(file, group)
        return self._known[group]

    def within(self, index: int) -> int:
        """Return the number of a frame within its entry."""
        return index - self._starts[str(self._groups[index])]

    def key(self, h5file: h5py.File, file: str, index: int) -> MaskKey:
        """Return what tells the mask of a frame from others."""
        found = self.of(h5file, index)
        if found is None:
            return MaskKey(file)
        if found.place.of_frames:
            return MaskKey(file, index=index)
        # Of many entries with a frame and a mask each, a sample is to be read.
        alone = self._n_frames[found.group] == 1
        at = self._starts[found.group] if alone else None
        return MaskKey(file, found.group, at, found.place.content)

    def _find(self, file: h5py.File, group: str) -> EntryMask | None:
        entry = group.strip("/")
        beside = self._path.replace("%", entry, 1).rpartition("/")[0]
        fields = Fields(file, entry)
        place, _ = find_mask(fields, self._shape, self._n_frames[group], beside)
        first = str(self._groups[0])
        if place is None:
            return None if group == first else self.of(file, 0)
        dataset = fields.dataset(place.path)
        assert dataset is not None
        return self._same.setdefault(identity(dataset), EntryMask(group, place))


def of_entries(
    groups: NDArray[np.str_], read: Callable[[str], Mapping[str, NDArray[np.float64]]]
) -> dict[str, NDArray[np.float64]]:
    """Put together what each entry says of its own frames.

    Parameters
    ----------
    groups : ndarray of str, shape (n_frames,)
        The entry of each frame.
    read : callable
        Takes the name of an entry, gives one value of each quantity that it tells, or one for each
        of its frames.

    Returns
    -------
    dict of str to ndarray, shape (n_frames,)
        NaN for frames whose entry does not tell.
    """
    series: dict[str, NDArray[np.float64]] = {}
    for group in dict.fromkeys(groups.tolist()):
        frames = np.flatnonzero(groups == group)
        for name, found in read(group.strip("/")).items():
            own = found if len(found) == len(frames) else np.median(found)
            series.setdefault(name, np.full(len(groups), np.nan))[frames] = own
    return series
