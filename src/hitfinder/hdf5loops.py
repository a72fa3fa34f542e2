"""What HDF5 leaves to its users of virtual datasets: names of sources, and circles of them.

HDF5 follows a virtual dataset that leads back to itself until it crashes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import h5py

MOST_DEEP = 32
"""Virtual datasets of virtual datasets that are followed."""

MOST_NUMBERED = 10_000
"""Numbered sources (``%b`` in the name) that are looked at."""

Place = tuple[str, str]
"""A file and a dataset in it."""


def escaped(name: str) -> str:
    """Write the name of a source's file or dataset as HDF5 wants it: ``%`` doubled."""
    return name.replace("%", "%%")


def is_numbered(name: str) -> bool:
    """Tell whether a stored name stands for numbered sources (``%b``)."""
    return expanded(name, 0) != expanded(name, 1)


def expanded(name: str, number: int) -> str:
    """Return the name that a stored one stands for: ``%b`` is its number, ``%%`` a ``%``."""
    return re.sub("%[%b]", lambda sign: "%" if sign[0] == "%%" else str(number), name)


def is_endless(dataset: h5py.Dataset) -> bool:
    """Tell whether HDF5 would never come to an end of reading a dataset.

    It would not if the dataset is virtual and one of its sources, or of theirs and so on, is the
    dataset itself, or if they are more than `MOST_DEEP` deep.

    Parameters
    ----------
    dataset : h5py.Dataset
        An open dataset; nothing of it is read.
    """
    # What has a place in the file is not virtual, which h5py takes longer to tell.
    if dataset.id.get_offset() is not None or not dataset.is_virtual:
        return False
    place = os.path.realpath(dataset.file.filename), str(dataset.name)
    return _is_endless(place, dataset, (), set())


def _is_endless(
    place: Place, dataset: h5py.Dataset, way: tuple[Place, ...], done: set[Place]
) -> bool:
    if place in way or len(way) > MOST_DEEP:
        return True
    for source in dict.fromkeys(_sources(dataset, place[0])):
        if source in done:
            continue
        if source in (*way, place):
            return True
        try:
            with h5py.File(source[0], "r", locking="best-effort") as file:
                found = file[source[1]]
                virtual = isinstance(found, h5py.Dataset) and found.is_virtual
                if virtual and _is_endless(source, found, (*way, place), done):
                    return True
        except (OSError, KeyError, RuntimeError, ValueError):
            continue  # HDF5 has nothing to follow there
    done.add(place)
    return False


def _sources(dataset: h5py.Dataset, own: str) -> Iterator[Place]:
    """Return the sources of a virtual dataset whose files are there."""
    known = {".": [own]}
    for entry in dataset.virtual_sources():
        numbered = is_numbered(entry.file_name) or is_numbered(entry.dset_name)
        for number in range(MOST_NUMBERED if numbered else 1):
            name, path = expanded(entry.file_name, number), expanded(entry.dset_name, number)
            if name not in known:
                known[name] = _found(name, os.path.dirname(own))
            files = known[name]
            if not files:
                break
            yield from ((file, path if path.startswith("/") else f"/{path}") for file in files)
            if numbered and not is_numbered(entry.file_name) and number >= dataset.shape[0]:
                break


def _found(name: str, folder: str) -> list[str]:
    tried = dict.fromkeys((os.path.join(folder, name), os.path.abspath(name)))
    return [os.path.realpath(file) for file in tried if os.path.isfile(file)]
