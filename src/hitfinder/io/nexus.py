"""Where an HDF5 file keeps its detector, beam and monochromator, whatever they are called."""

from __future__ import annotations

import collections
import copy
import functools
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from hitfinder.errors import SourceError
from hitfinder.hdf5loops import is_endless
from hitfinder.io.links import NOT_THERE, at_path, opened

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
    numbers : dict
        What `hitfinder.io.numbers.first_values` has found: it is asked for some fields often.
    """

    def __init__(self, file: h5py.File, entry: str = "") -> None:
        self.file, self._entry = file, entry
        self.broken: dict[str, SourceError] = {}
        self.numbers: dict[tuple[tuple[str, ...], float], Any] = {}
        self._detector_of_frames = ""
        self._named: dict[str, bool] = {}
        self._groups: dict[str, h5py.Group | None] = {}

    def renewed(self) -> Fields:
        """Return the same fields as if none had been asked for yet; what is where is known."""
        other = copy.copy(self)
        other.broken, other.numbers = {}, {}
        return other

    def of_frames(self, path: str) -> Fields:
        """Return fields not yet asked for, in which the detector that holds frames comes first.

        Parameters
        ----------
        path : str
            Path of the frames.
        """
        other = self.renewed()
        other._detector_of_frames = self._holder(path.strip("/"))
        other.__dict__.pop("_detectors", None)
        return other

    def _holder(self, frames: str) -> str:
        """Return the detector that frames stand in, or that links them; empty if none is seen."""
        above = frames.split("/")
        for n in range(len(above) - 1, 0, -1):
            group, named = "/".join(above[:n]), above[n - 1].startswith("detector")
            if self._score(group) and (named or group in self._of_class("NXdetector")):
                return group
        beside = self._members("/".join(above[:-1]), "detector")
        if len(beside) == 1 and self._score(beside[0]):
            return beside[0]
        several = [
            group
            for instrument in (path.rpartition("/")[0] for path in USUAL["detector"])
            for group in self._members(instrument, "detector")
        ]
        if len(several) < 2:
            return ""
        wanted = self._identity(frames)
        found = (g for g in several if wanted and self._identity(f"{g}/data") == wanted)
        return next(found, "")

    def _members(self, parent: str, begin: str) -> list[str]:
        """Return the paths of a group's members whose names begin so, but for collections."""
        group = self._group(parent) if self._is_named(parent) else None
        names = [] if group is None else sorted(name for name in group if name.startswith(begin))
        return [f"{parent}/{name}" for name in names if self._group(f"{parent}/{name}") is not None]

    def _identity(self, path: str) -> tuple[object, object] | None:
        try:
            found = opened(self.file, path) if self._is_named(path) else None
        except NOT_THERE:
            return None
        return identity(found) if isinstance(found, h5py.Dataset) else None

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
        if not self._is_named(path.strip("/")):
            return None
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

    def _is_named(self, path: str) -> bool:
        """Whether there may be something at a path: no group on the way to it lacks a name of it.

        Most fields are in no file, and HDF5 takes long to say why nothing is there.
        """
        if path not in self._named:
            parent, _, name = path.rpartition("/")
            self._named[path] = not path or (self._is_named(parent) and self._has(parent, name))
        return self._named[path]

    def _has(self, parent: str, name: str) -> bool:
        """Whether a group has a link of a name; what is no group, or cannot be had, may have it."""
        if parent not in self._groups:
            self._groups[parent] = self._group(parent or "/")
        group = self._groups[parent]
        return group is None or group.id.links.exists(name.encode("utf-8", "surrogateescape"))

    @functools.cached_property
    def _detectors(self) -> tuple[str, ...]:
        """The detector: that of the frames, a usual one that tells something, or who tells most."""
        usual = [path for path in USUAL["detector"] if self._score(path)]
        if self._detector_of_frames:
            # Others would tell of themselves what this one does not tell.
            return (self._detector_of_frames,)
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
        group = self._group(path) if self._is_named(path) else None
        return 0 if group is None else sum(name in group for name in DETECTOR_FIELDS)

    def _group(self, path: str) -> h5py.Group | None:
        try:
            found = opened(self.file, path)
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
            found[path.lstrip("/")] = as_text(attribute(group, "NX_class"))
            if depth < MOST_DEEP:
                waiting.extend((f"{path}/{n}", one, depth + 1) for n, one in _own_groups(group))
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


def _own_groups(group: h5py.Group) -> list[tuple[str, h5py.Group]]:
    """Return the members of a group that are groups of the same file, no links followed."""
    hard: list[bytes] = []

    def keep(name: bytes, info: h5py.h5l.LinkInfo) -> None:
        if info.type == h5py.h5l.TYPE_HARD:
            hard.append(name)

    members = group.id
    members.links.iterate(keep, info=True)
    return [
        (name.decode("utf-8", "surrogateescape"), h5py.Group(h5py.h5g.open(members, name)))
        for name in hard
        if h5py.h5g.get_objinfo(members, name).type == h5py.h5g.GROUP
    ]


def identity(found: h5py.Group | h5py.Dataset) -> tuple[object, object]:
    """Return what tells an object from others, whatever the path that leads to it.

    It is had without reading the index of a dataset's chunks, which may be long, or damaged.
    """
    info = h5py.h5g.get_objinfo(found.id, b".")
    return info.fileno, info.objno


def attribute(holder: h5py.Group | h5py.Dataset, name: str) -> object:
    """Return an attribute as ``holder.attrs[name]`` does, in less time; None if there is none.

    Raises
    ------
    One of `NOT_THERE`, or TypeError
        If it cannot be read.
    """
    key = name.encode()
    if not h5py.h5a.exists(holder.id, key):
        return None
    stored = h5py.h5a.open(holder.id, key)
    shape, dtype = stored.shape, stored.dtype
    if shape is None or dtype.kind not in "iufO" or dtype.subdtype is not None:
        return holder.attrs[name]
    if dtype.kind == "O" and (shape or h5py.check_string_dtype(dtype) is None):
        return holder.attrs[name]
    value = np.empty(shape, dtype)
    stored.read(value)
    if dtype.kind == "O":
        text = value[()]
        return text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return value if shape else value[()]


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
