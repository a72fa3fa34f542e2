"""Write data files of a detector, one bitshuffle-LZ4 chunk for each frame."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import DTypeLike, NDArray

from hitfinder.errors import OutputError
from hitfinder.io.newfile import new_hdf5, reason
from hitfinder.io.nxmx import DATA_PATH

_PACKERS = itertools.count()


class FramePacker:
    """Packs frames as they stand in a data file.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : dtype-like
        Type of the counts.
    """

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._dataset: h5py.Dataset | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_dataset": None}

    def pack(self, frame: NDArray) -> bytes:
        """Return the chunk of a frame.

        Raises
        ------
        ValueError
            If the frame has not the shape and type of the others.
        """
        _check(frame, self.shape, self.dtype)
        if self._dataset is None:
            # HDF5 packs what is written to a file, which may be in memory. It tells such files
            # apart by their names.
            name = f"packed {next(_PACKERS)}"
            file = h5py.File(name, "w", driver="core", backing_store=False, rdcc_nbytes=0)
            self._dataset = _frame_dataset(file, self.shape, self.dtype)
            self._dataset.resize(1, axis=0)
        self._dataset[0] = frame
        return self._dataset.id.read_direct_chunk((0, 0, 0))[1]


class DataFile:
    """Write a data file of a series frame by frame.

    Used as a context manager: leaving it by an exception closes a file that is to be dropped.

    Parameters
    ----------
    path : Path
        File to write.
    shape : tuple of int
        Rows and columns of a frame.
    dtype : dtype-like
        Type of the counts.
    first : int
        Number of its first frame in the series, from 0.
    where : str
        What to call it in messages, if its name is not the final one.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: DTypeLike,
        *,
        first: int = 0,
        where: str = "",
    ) -> None:
        self._path, self._where = path, where or str(path)
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._first, self._length = first, 0
        self._stack = contextlib.ExitStack()

    def __len__(self) -> int:
        """Return the number of frames written so far."""
        return self._length

    def write(self, frame: NDArray) -> None:
        """Append a frame.

        Raises
        ------
        ValueError
            If the frame has not the shape and type of the others.
        OutputError
            If it cannot be written.
        """
        _check(frame, self._shape, self._dtype)
        try:
            self._dataset.resize(self._length + 1, axis=0)
            self._dataset[self._length] = frame
        except (OSError, RuntimeError) as error:
            raise OutputError.unwritable(reason(error), self._where) from error
        self._length += 1

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(new_hdf5(self._path, self._where))
            self._dataset = _frame_dataset(file, self._shape, self._dtype)
            file["entry"].attrs["NX_class"] = "NXentry"
            file["entry/data"].attrs["NX_class"] = "NXdata"
            file["entry/data"].attrs["signal"] = "data"
            self._dataset.attrs["image_nr_low"] = self._first + 1
            stack.push(self._tell_last)
            self._stack = stack.pop_all()
        return self

    def _tell_last(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._dataset.attrs["image_nr_high"] = self._first + self._length

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.__exit__(*exc_info)


def _check(frame: NDArray, shape: tuple[int, int], dtype: np.dtype) -> None:
    if frame.shape != shape or frame.dtype != dtype:
        raise ValueError(f"frame is {frame.dtype} {frame.shape}, others are {dtype} {shape}")


def _frame_dataset(file: h5py.File, shape: tuple[int, int], dtype: np.dtype) -> h5py.Dataset:
    """Make the dataset of a data file, without frames."""
    return file.create_dataset(
        DATA_PATH,
        shape=(0, *shape),
        maxshape=(None, *shape),
        chunks=(1, *shape),
        dtype=dtype,
        **hdf5plugin.Bitshuffle(cname="lz4"),
    )
