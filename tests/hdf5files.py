"""Small HDF5 files for tests of readers, and what becomes of their frames."""

import h5py
import numpy as np

from hitfinder.errors import SourceError

SHAPE = (20, 24)


def counts(*lengths, dtype=np.uint16):
    """Return few photons in frames of `SHAPE`, the same each time."""
    return np.random.default_rng(1).poisson(0.5, (*lengths, *SHAPE)).astype(dtype)


def write(path, **datasets):
    """Write datasets, in whose names ``__`` stands for ``/``; return the path."""
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name.replace("__", "/")] = value
    return path


def statuses(source):
    """Return what becomes of each frame of a source: ``ok``, or the status of the error."""
    found = []
    for index in range(len(source)):
        try:
            source.read(index)
            found.append("ok")
        except SourceError as error:
            found.append(error.status)
    return found
