"""Where an HDF5 file keeps its detector, beam and monochromator, whatever they are called."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator

import h5py
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.hdf5loops import is_endless
from hitfinder.io.links import NOT_THERE, at_path

USUAL = {
    "detector": (
        "entry/instrument/detector",
        "entry_1/instrument_1/detector_1",
        "entry/instrument_1/detector_1",
        "entry_1/instrument/detector",
    ),
    "beam": (
        "entry/instrument/beam",
        "entry_1/instrument_1/beam_1",
        "entry/sample/beam",
        "entry/beam",
    ),
    "monochromator": ("entry/instrument/monochromator", "entry_1/instrument_1/monochromator_1"),
}
"""Usual places of the groups."""

FIRST_ENTRY = "entry_1"
"""The first entry of a CXI file."""

CLASSES = {"detector": "NXdetector", "beam": "NXbeam", "monochromator": "NXmonochromator"}
"""``NX_class`` of the groups, by which they are found elsewhere."""

DETECTOR_FIELDS = (
    *("pixel_mask", "mask", "detectorSpecific", "beam_center_x", "x_pixel_size", "distance"),
    *("detector_distance", "bit_depth_image", "saturation_value", "description"),
)
"""What tells a detector of frames from others, such as diodes, and from empty groups."""

MOST_GROUPS, MOST_DEEP = 2000, 6
"""Groups that are looked at, and levels."""


class Fields:
    """The fields of an HDF5 file.

    Parameters
    ----------
    file : h5py.File
        An open file.
    entry : str, optional
        Entry of a CXI file that keeps several, in place of the first.

    Attributes
    ----------
    broken : dict of str to SourceError
        Fields that were asked for and are links which lead nowhere, or cannot be read.
    """

    def __init__(self, file: h5py.File, entry: str = "") -> None:
        self.file, self._entry = file, entry
        self.broken: dict[str, SourceError] = {}

    def places(self, patterns: tuple[str, ...]) -> Iterator[str]:
        """Write out paths in which ``{detector}``, ``{beam}``, ``{monochromator}`` may stand."""
        for path in self._written(patterns):
            inside = path.removeprefix(f"{FIRST_ENTRY}/")
            yield f"{self._entry}/{inside}" if self._entry and inside != path else path

    def _written(self, patterns: tuple[str, ...]) -> Iterator[str]:
        for pattern in patterns:
            kind = next((kind for kind in CLASSES if f"{{{kind}}}" in pattern), None)
            if kind is None:
                yield pattern
                continue
            for group in getattr(self, f"_{kind}s"):
                yield pattern.format(**{kind: group})

    def dataset(self, path: str) -> h5py.Dataset | None:
        """Return the dataset at a path; None if there is none that can be read."""
        try:
            found = at_path(self.file, path)
        except SourceError as error:
            if error.status != "no-frames":
                # Without the traceback, which would keep the file open.
                self.broken[path] = SourceError(error.status, error.what, error.where, error.hint)
            return None
        if not isinstance(found, h5py.Dataset):
            return None
        if is_endless(found):
            where = f"{self.file.filename}:/{path}"
            self.broken[path] = SourceError("unreadable", "is made of itself", where)
            return None
        return found

    @functools.cached_property
    def _detectors(self) -> tuple[str, ...]:
        """The detector's group: a usual one that tells something, else the one that tells most."""
        usual = [path for path in USUAL["detector"] if self._score(path)]
        if usual:
            return tuple(usual)
        others = sorted(self._of_class("NXdetector"), key=self._score, reverse=True)
        return tuple(others[:1]) or USUAL["detector"]

    @property
    def _beams(self) -> Iterator[str]:
        yield from USUAL["beam"]
        yield from self._elsewhere("beam")

    @property
    def _monochromators(self) -> Iterator[str]:
        yield from USUAL["monochromator"]
        yield from self._elsewhere("monochromator")

    def _elsewhere(self, kind: str) -> tuple[str, ...]:
        return tuple(p for p in self._of_class(CLASSES[kind]) if p not in USUAL[kind])

    def _score(self, path: str) -> int:
        """Count the fields of a detector at a path, links that lead nowhere included."""
        group = self._group(path)
        return 0 if group is None else sum(name in group for name in DETECTOR_FIELDS)

    def _group(self, path: str) -> h5py.Group | None:
        try:
            found = self.file.get(path)
        except NOT_THERE:
            return None
        return found if isinstance(found, h5py.Group) else None

    def _of_class(self, nx_class: str) -> list[str]:
        return [path for path, found in self._classes.items() if found == nx_class]

    @functools.cached_property
    def _classes(self) -> dict[str, str]:
        """``NX_class`` of the groups of this file, those near the root first."""
        found: dict[str, str] = {}
        seen: set[tuple[object, object]] = set()
        waiting = collections.deque([("", self.file["/"], 0)])
        while waiting and len(seen) < MOST_GROUPS:
            path, group, depth = waiting.popleft()
            key = identity(group)
            if key in seen:
                continue
            seen.add(key)
            found[path.lstrip("/")] = as_text(group.attrs.get("NX_class", ""))
            if depth < MOST_DEEP:
                names = (f"{path}/{name}" for name in group if _is_own_group(group, name))
                waiting.extend((name, self.file[name], depth + 1) for name in names)
        return found


def lost_fields(file: str, broken: dict[str, SourceError]) -> list[SourceError]:
    """Say which fields cannot be read, those that fail for the same reason together.

    Parameters
    ----------
    file : str
        The file.
    broken : dict of str to SourceError
        As in `Fields`.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for path, error in broken.items():
        names.setdefault((error.status, error.what), []).append(f"/{path.lstrip('/')}")
    found = []
    for (status, what), paths in names.items():
        masks = any(path.endswith("mask") for path in paths)
        told = f"{', '.join(paths)}: {what}" if paths != ["/"] else what
        told += ", so no pixel is masked by it" if masks else ""
        found.append(SourceError(status, told, file))
    return found


def _is_own_group(group: h5py.Group, name: str) -> bool:
    """Whether a member is a group of the same file, found without following links."""
    hard = isinstance(group.get(name, getlink=True), h5py.HardLink)
    encoded = name.encode("utf-8", "surrogateescape")
    return hard and h5py.h5g.get_objinfo(group.id, encoded).type == h5py.h5g.GROUP


def identity(found: h5py.Group | h5py.Dataset) -> tuple[object, object]:
    """Return what tells an object from others, whatever the path that leads to it.

    It is had without reading the index of a dataset's chunks, which may be long, or damaged.
    """
    info = h5py.h5g.get_objinfo(found.id, b".")
    return info.fileno, info.objno


def as_text(value: object) -> str:
    """Return an attribute or a stored text; empty if there is none.

    Parameters
    ----------
    value : object
        As h5py returns it, or None.
    """
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
