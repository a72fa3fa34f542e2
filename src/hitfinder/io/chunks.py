"""Read one frame of an HDF5 dataset, by the shortest way that its storage allows."""

from __future__ import annotations

from typing import Literal

import h5py
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.shuffled import Frame, ShuffledFrame

BITSHUFFLE = 32008
"""Registered HDF5 filter number of bitshuffle; its parameters are (version, version, element
size, block size, compressor), the compressor 2 being LZ4 and 3 Zstandard."""

ALGORITHMS = {2: "bslz4", 3: "bszstd"}
FILTER_NAMES = {1: "gzip", 2: "shuffle", 32001: "blosc", 32004: "lz4", 32015: "zstd"}

Axis = int | Literal["%", ":"]
"""What is taken of one axis of a dataset: a fixed index, the frame's, or all of it."""


def item_shape(shape: tuple[int, ...], axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Return the shape of what `axes` takes of a dataset of shape `shape`."""
    return tuple(length for length, axis in zip(shape, axes, strict=True) if axis == ":")


def open_item(
    dataset: h5py.Dataset,
    axes: tuple[Axis, ...],
    index: int,
    out: NDArray,
    algorithm: str,
    where: str,
) -> Frame:
    """Read one frame's part of a dataset, which may stay packed.

    Parameters
    ----------
    dataset : h5py.Dataset
        Where it is.
    axes : tuple
        What to take of each axis.
    index : int
        Position on the axis ``"%"``.
    out : ndarray
        Contiguous array of the item's shape and the dataset's type (native byte order), for the
        counts.
    algorithm : str
        What `chunk_algorithm` says of the dataset and axes.
    where : str
        Names the dataset in errors.

    Returns
    -------
    ndarray or ShuffledFrame
        `out`, filled; or what fills it when its counts are needed, as `numpy.asarray` does.

    Raises
    ------
    SourceError
        ``missing-source`` if the chunk was never written, ``unreadable`` if it is damaged.
    """
    place = f"{where} //{index}"
    offset = tuple(index if a == "%" else a if isinstance(a, int) else 0 for a in axes)
    try:
        # The index of the chunks may be damaged as well as they are.
        if dataset.chunks is not None and _never_written(dataset, offset):
            raise SourceError("missing-source", "the frame was never written", place)
        if algorithm:
            skipped, chunk = dataset.id.read_direct_chunk(offset)
            if not skipped:
                if algorithm == "bslz4":
                    return ShuffledFrame(
                        chunk, out, lambda what: SourceError("unreadable", what, place)
                    )
                from hitfinder.io.unpack import check_blocks

                check_blocks(chunk, out)
        whole = tuple(slice(None) if a == ":" else i for a, i in zip(axes, offset, strict=True))
        dataset.read_direct(out, whole)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        what = f"the counts are damaged ({reason})"
        raise SourceError("unreadable", what, place) from error
    return out


def _never_written(dataset: h5py.Dataset, offset: tuple[int, ...]) -> bool:
    """Whether the chunk at `offset` has no storage: HDF5 would give fill values for it."""
    assert dataset.chunks is not None
    corner = tuple(i - i % step for i, step in zip(offset, dataset.chunks, strict=True))
    return dataset.id.get_chunk_info_by_coord(corner).byte_offset is None


def chunk_algorithm(dataset: h5py.Dataset, axes: tuple[Axis, ...]) -> str:
    """Name how each frame is packed if it is one bitshuffle chunk, else return an empty string.

    Such a chunk can be checked, and unpacked without HDF5's filter pipeline.
    """
    if dataset.chunks is None or not dataset.dtype.isnative:
        return ""
    filters = _filters(dataset)
    if len(filters) != 1 or filters[0][0] != BITSHUFFLE or len(filters[0][1]) < 5:
        return ""
    if dataset.dtype.itemsize not in (1, 2, 4, 8):
        return ""
    lengths = zip(dataset.chunks, dataset.shape, axes, strict=True)
    if not all(chunk == (full if axis == ":" else 1) for chunk, full, axis in lengths):
        return ""
    return ALGORITHMS.get(filters[0][1][4], "")


def _filters(dataset: h5py.Dataset) -> list[tuple[int, tuple[int, ...], str]]:
    plist = dataset.id.get_create_plist()
    found = []
    for position in range(plist.get_nfilters()):
        code, _, parameters, name = plist.get_filter(position)
        found.append((code, tuple(parameters), name.decode(errors="replace").split(";")[0]))
    return found


def compression(dataset: h5py.Dataset) -> str:
    """Name the filters of a dataset, e.g. ``bitshuffle-lz4``; empty if there are none."""
    names = []
    for code, parameters, name in _filters(dataset):
        if code == BITSHUFFLE:
            packers = {0: "", 2: "-lz4", 3: "-zstd"}
            compressor = parameters[4] if len(parameters) > 4 else 0
            names.append(f"bitshuffle{packers.get(compressor, f'-{compressor}')}")
        else:
            names.append(FILTER_NAMES.get(code) or name or f"filter {code}")
    return " + ".join(names)


def check_filters(dataset: h5py.Dataset) -> None:
    """Raise unless HDF5 has every filter that the dataset needs.

    Raises
    ------
    SourceError
        ``missing-filter``, with the registered number of the filter.
    """
    for code, _, name in _filters(dataset):
        if not h5py.h5z.filter_avail(code):
            label = f"{code} ({name})" if name else str(code)
            raise SourceError(
                "missing-filter",
                f"HDF5 filter {label} is not installed",
                f"{dataset.file.filename}{dataset.name}",
                "Set HDF5_PLUGIN_PATH to the folder that has it, or repack the file.",
            )
