"""Links of HDF5 files: what they lead to, and why they lead nowhere."""

from __future__ import annotations

import os

import h5py

from hitfinder.errors import SourceError
from hitfinder.io.handles import POOL, open_error

NOT_THERE = (KeyError, OSError, RuntimeError, ValueError)
"""What h5py raises where a path leads nowhere; RuntimeError for links that go in a circle."""


_OWN_FILES = h5py.h5p.create(h5py.h5p.LINK_ACCESS)
_STRONG = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
_STRONG.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
_OWN_FILES.set_elink_fapl(_STRONG)
"""Linked files are opened as h5py opens files, which HDF5 wants of all that open one."""


def opened(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Return what is at a path, for reading, as ``group[path]`` does in twice the time.

    h5py asks every time whether the file may be written to.

    Raises
    ------
    One of `NOT_THERE`
        If there is nothing, or it is neither a group nor a dataset.
    """
    found = h5py.h5o.open(group.id, path.encode(), lapl=_OWN_FILES)
    if isinstance(found, h5py.h5g.GroupID):
        return h5py.Group(found)
    if isinstance(found, h5py.h5d.DatasetID):
        return h5py.Dataset(found, readonly=True)
    raise KeyError(f"{path} is neither a group nor a dataset")


def file_of(found: h5py.Group | h5py.Dataset) -> str:
    """Return the name of the file that holds an object, as ``found.file.filename`` does."""
    return os.fsdecode(h5py.h5f.get_name(found.id))


def at_path(handle: h5py.File, path: str) -> h5py.Group | h5py.Dataset:
    """Return what is at a path of an open file, links followed.

    A linked file that another program is writing cannot be opened through the link, but by itself.

    Raises
    ------
    SourceError
        ``no-frames`` if there is nothing; otherwise saying which link leads nowhere, and why.
    """
    try:
        return opened(handle, path)
    except NOT_THERE as error:
        found = _in_written_file(handle, path)
        if found is not None:
            return found
        # An error that is kept in a variable would keep the file open, by its traceback.
        raise link_error(handle, path, error) from error


def _in_written_file(handle: h5py.File, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return what is at a path that leads to a file in SWMR mode; None if it does not."""
    place = _linked_place(handle, path)
    try:
        linked = None if place is None else POOL.file(place[0])
        return linked[place[1]] if linked is not None and place and linked.swmr_mode else None
    except (*NOT_THERE, SourceError):
        return None


def _linked_place(handle: h5py.File, path: str) -> tuple[str, str] | None:
    """Return the file that the first external link on a path leads to, and the path in it."""
    group: object = handle
    names = path.strip("/").split("/")
    for number, name in enumerate(names):
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            file = resolve_file(link.filename, handle.filename)
            return None if file is None else (file, "/".join([link.path, *names[number + 1 :]]))
        try:
            group = group[name] if isinstance(group, h5py.Group) else None
        except NOT_THERE:
            return None
    return None


def link_error(handle: h5py.File, path: str, error: Exception) -> SourceError:
    """Say which link on the way to `path` leads nowhere."""
    group, walked = handle, ""
    for name in path.strip("/").split("/"):
        walked += f"/{name}"
        where = f"{handle.filename}{walked}"
        link = group.get(name, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            asked = "/" + path.strip("/")
            within = "" if walked == asked else f", nor anything at {walked}"
            what = f"there is no such dataset{within}"
            return SourceError("no-frames", what, f"{handle.filename}{asked}")
        try:
            group = group[name]
        except NOT_THERE as broken:
            return _broken_link(link, handle, where, broken)
    return open_error(error, handle.filename)


def _broken_link(
    link: h5py.ExternalLink | h5py.SoftLink, handle: h5py.File, where: str, error: Exception
) -> SourceError:
    if not isinstance(link, h5py.ExternalLink):
        wrong = "in a circle" if "too many links" in str(error) else "which does not exist"
        target = getattr(link, "path", "")
        return SourceError("missing-source", f"links to {target}, {wrong}", where)
    linked = resolve_file(link.filename, handle.filename)
    if linked is None:
        return SourceError("missing-source", f"linked file {link.filename} is missing", where)
    if "doesn't exist" in str(error) or "not found" in str(error).replace("signature not", ""):
        what = f"linked file {link.filename} has no {link.path}"
        return SourceError("missing-source", what, where)
    reason = open_error(error, linked)
    return SourceError(reason.status, f"linked file {link.filename}: {reason.what}", where)


def resolve_file(name: str, beside: str) -> str | None:
    """Find a linked file as HDF5 does: beside the linking file, then from the working directory.

    An absolute path that leads nowhere is tried by its last component beside the linking file.
    Returns None if there is no such file.
    """
    folders = {os.path.dirname(os.path.abspath(beside)), os.path.dirname(os.path.realpath(beside))}
    candidates = [name] if os.path.isabs(name) else []
    tail = os.path.basename(name) if os.path.isabs(name) else name
    candidates += [os.path.join(folder, tail) for folder in sorted(folders)]
    candidates += [] if os.path.isabs(name) else [os.path.abspath(name)]
    return next((c for c in candidates if os.path.isfile(c)), None)
