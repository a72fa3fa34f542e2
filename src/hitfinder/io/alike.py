"""What a file says, known from another that is the same in all that was read of it.

Masters of one detector say the same of beam and detector, and to find out what one says takes many
small steps in HDF5. Which bytes of a file these steps read is recorded once. HDF5 knows no more of
a file than the bytes that it reads and the size: where these are the same, so are the answers.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import h5py

from hitfinder.io.links import NOT_THERE

T = TypeVar("T")

MOST_KNOWN = 4
"""Files whose bytes are kept, and that are recorded in turn before one was of use."""

MOST_BYTES = 1 << 22
"""Bytes read of a file beyond which they aren't kept: most is a mask, which is packed."""

MOST_OBJECTS = 2000
"""Objects of a file that is recorded."""


class _ReadRecorder(io.FileIO):
    """A file that remembers which of its bytes were read."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.read_ranges: list[tuple[int, int]] = []

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer, and remember the place."""
        start = self.tell()
        n_bytes = super().readinto(buffer)
        self.read_ranges.append((start, start + (n_bytes or 0)))
        return n_bytes


@dataclasses.dataclass(frozen=True)
class _Learned(Generic[T]):
    """What a file of some size said, and the bytes that were read of it."""

    key: Hashable
    size: int
    ranges: tuple[tuple[int, int], ...]
    content: bytes
    said: T


class Alike(Generic[T]):
    """What files said that were read before in this process.

    Parameters
    ----------
    read : callable
        Finds out what an open file says. Its answer is that of the file's own bytes alone.
    """

    def __init__(self, read: Callable[[h5py.File, Any], object]) -> None:
        self._read = read
        self._known: collections.deque[_Learned[T]] = collections.deque(maxlen=MOST_KNOWN)
        self._last_size, self._in_vain = -1, 0

    def find(self, path: str, key: Hashable, links: Sequence[str]) -> T | None:
        """Return what a file says, if one said it that is the same; else None.

        Parameters
        ----------
        path : str
            The file.
        key : hashable
            What else the answer depends on.
        links : sequence of str
            Names of linked data files, in which files may differ.
        """
        if not self._known:
            return None
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for known in self._known:
                if (known.key, known.size) != (key, size):
                    continue
                if _blanked(_bytes_at(file, known.ranges), links) == known.content:
                    self._in_vain = 0
                    return known.said
        return None

    def learn(self, file: h5py.File, key: Hashable, links: Sequence[str], said: T) -> None:
        """Remember what a file says, if one of the same size was read just before it.

        Parameters
        ----------
        file : h5py.File
            The open file.
        key, links
            As in `find`.
        said : T
            What it says.
        """
        path = file.filename
        size, before = os.stat(path).st_size, self._last_size
        self._last_size = size
        if size != before or self._in_vain >= MOST_KNOWN or not _stands_alone(file):
            return
        if _blanked(told := repr(said).encode(), [*links, os.path.basename(path)]) != told:
            return
        self._in_vain += 1
        with _ReadRecorder(path) as recorder:
            try:
                with h5py.File(recorder, "r") as again:
                    self._read(again, key)
            except NOT_THERE:
                return
            ranges = tuple(_joined(recorder.read_ranges))
            if sum(stop - start for start, stop in ranges) <= MOST_BYTES:
                content = _blanked(_bytes_at(recorder, ranges), links)
                self._known.append(_Learned(key, size, ranges, content, said))


def _joined(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield ranges in order, those that overlap or touch as one."""
    start = stop = 0
    for first, last in sorted(ranges):
        if first > stop:
            if stop > start:
                yield start, stop
            start = first
        stop = max(stop, last)
    if stop > start:
        yield start, stop


def _bytes_at(file: io.FileIO, ranges: Sequence[tuple[int, int]]) -> bytes:
    number = file.fileno()
    return b"".join(os.pread(number, stop - start, start) for start, stop in ranges)


def _blanked(content: bytes, links: Sequence[str]) -> bytes:
    """Return bytes, as many, without what differs in files that say the same.

    This is when the file and objects in it were made, and the names of its data files.
    """
    names = [os.fsencode(link) for link in links]
    found = bytearray(content)
    for start, stop in _heap_objects(content):
        # The sources of a virtual dataset, with a checksum of the names.
        if any(content.find(name, start, stop) >= 0 for name in names):
            found[start:stop] = bytes(stop - start)
    for pattern in (*map(re.escape, names), _TIME, _OBJECT_TIME):
        for match in re.finditer(pattern, content, re.DOTALL):
            found[slice(*match.span(match.lastindex or 0))] = bytes(
                len(match[match.lastindex or 0])
            )
    return bytes(found)


_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*"
"""A time as formats write it."""

_OBJECT_TIME = rb"\x12\0\x08\0.\0\0\0\x01\0\0\0(....)"
"""HDF5's message of an object's time: type and size, flags, version, seconds since 1970."""

_HEAP = re.compile(rb"GCOL\x01\0\0\0(.{8})", re.DOTALL)
"""Beginning of a heap of texts and virtual sources, with its size."""


def _heap_objects(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the objects of HDF5's global heaps are: each has a number, 6 bytes, its size."""
    for heap in _HEAP.finditer(content):
        at, end = heap.end(), min(heap.start() + int.from_bytes(heap[1], "little"), len(content))
        while at + 16 <= end and content[at : at + 2] != b"\0\0":
            stop = at + 16 + int.from_bytes(content[at + 8 : at + 16], "little")
            yield at + 16, min(stop, end)
            at = stop + -(stop - heap.start()) % 8  # they are aligned


_OF_FRAMES = re.compile(rb"data(_\d+)?$")
"""Names of datasets of frames, which say nothing else."""


def _stands_alone(file: h5py.File) -> bool:
    """Whether a file has all but its frames in itself, not linked, virtual or stored elsewhere."""
    seen = 0

    def is_elsewhere(path: bytes, link: h5py.h5l.LinkInfo) -> bool | None:
        nonlocal seen
        seen += 1
        if seen > MOST_OBJECTS:
            return True
        if _OF_FRAMES.match(path.rpartition(b"/")[2]):
            return None
        if link.type == h5py.h5l.TYPE_HARD:
            return _lies_elsewhere(file, path) or None
        return link.type != h5py.h5l.TYPE_SOFT or _lies_elsewhere(file, path) or None

    try:
        return not file.swmr_mode and file.id.links.visit(is_elsewhere, info=True) is None
    except NOT_THERE:
        return False


def _lies_elsewhere(file: h5py.File, path: bytes) -> bool:
    try:
        found = h5py.h5o.open(file.id, path)
    except NOT_THERE:
        return False  # a link that leads nowhere is told of as broken, if it is asked for
    if h5py.h5f.get_name(found) != h5py.h5f.get_name(file.id):
        return True
    if not isinstance(found, h5py.h5d.DatasetID):
        return False
    how = found.get_create_plist()
    return how.get_layout() == h5py.h5d.VIRTUAL or how.get_external_count() > 0
