"""Make HDF5 files, and drop those that cannot be finished."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import h5py

from hitfinder.errors import OutputError


@contextlib.contextmanager
def new_hdf5(path: Path, where: str = "") -> Iterator[h5py.File]:
    """Write an HDF5 file; one that cannot be finished is dropped, on a full disk too.

    Parameters
    ----------
    path : Path
        Where to write it.
    where : str
        What to call it in messages, if its name is not the final one.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    try:
        file = h5py.File(path, "w", rdcc_nbytes=0)
    except OSError as error:
        raise OutputError.unwritable(reason(error), where or path) from error
    try:
        yield file
        file.flush()
        file.close()
    except BaseException as error:
        if file:
            close_unwritten(file)
        if isinstance(error, OSError) or _is_of_hdf5(error):
            raise OutputError.unwritable(reason(error), where or path) from error
        raise


def _is_of_hdf5(error: BaseException) -> bool:
    """Tell an error of HDF5 that h5py has no other class for."""
    told = isinstance(error, RuntimeError) and re.match("(Can't|Unable to|Couldn't) ", str(error))
    return bool(told)


def close_unwritten(file: h5py.File) -> None:
    """Close a file that is to be dropped, whether or not its disk takes any more.

    HDF5 writes what it still holds when it closes a file, and a process may crash if that fails:
    let it go to the null device instead.
    """
    with open(os.devnull, "r+b") as null, contextlib.suppress(OSError, RuntimeError, ValueError):
        os.dup2(null.fileno(), file.id.get_vfd_handle())
        file.close()


def reason(error: BaseException) -> str:
    """Return why writing HDF5 failed in a few words; HDF5's own take several lines."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    said = re.search(r"error message = '([^']*)'", str(error))
    return said[1] if said else next(iter(str(error).splitlines()), type(error).__name__)
