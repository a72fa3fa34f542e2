"""Single numbers and planes of pixels that a geometry file points to in HDF5 files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.layout import Slab

MOST_NUMBERS = 1 << 25
"""More than there can be frames."""


def dataset_at(h5file: Any, path: str) -> Any:
    """Return the dataset at `path` of an open file.

    Raises
    ------
    GeometryError
        If there is none.
    """
    import h5py

    from hitfinder.hdf5loops import is_endless

    try:
        found = h5file[path]
    except (KeyError, ValueError, OSError, RuntimeError):
        found = None
    if not isinstance(found, h5py.Dataset):
        raise GeometryError(f"no dataset {path!r} in the file", h5file.file.filename)
    if is_endless(found):
        raise GeometryError("is made of itself", f"{h5file.file.filename}:{path}")
    return found


def values_of(h5file: Any, path: str) -> NDArray[np.float64]:
    """Read one number, or one for each frame.

    Axes of length 1 are passed over, the others count frames: the rule by which CrystFEL reads
    beam and set-up values of multi-frame files.

    Returns
    -------
    ndarray of float64, shape (1,) or (n_frames,)

    Raises
    ------
    GeometryError
        If there is no such dataset, it is not numeric, or it has more axes than one.
    """
    dataset = dataset_at(h5file, path)
    where = f"{h5file.file.filename}:{path}"
    if dataset.dtype.kind not in "iuf":
        raise GeometryError("holds no number", where)
    if sum(n != 1 for n in dataset.shape) > 1 or dataset.size > MOST_NUMBERS:
        raise GeometryError(f"shape {dataset.shape} is not one number per frame", where)
    return np.asarray(dataset[()], np.float64).ravel()


def value_of(h5file: Any, path: str, index: int) -> float:
    """Read one number, for one frame if the dataset holds one for each; see `values_of`.

    Raises
    ------
    GeometryError
        If there is no such number.
    """
    return of_frame(values_of(h5file, path), index, f"{h5file.file.filename}:{path}")


def of_frame(values: NDArray[np.float64], index: int, where: str) -> float:
    """Return the number that holds for a frame, of those that `values_of` read at a place.

    Raises
    ------
    GeometryError
        If there is none for that frame.
    """
    if values.size == 1:
        return float(values[0])
    if index >= values.size:
        raise GeometryError(f"has {values.size} values, none for frame {index}", where)
    return float(values[index])


def plane_of(h5file: Any, path: str, slab: Slab, index: int) -> NDArray[Any]:
    """Read the pixels of one slab from a dataset laid out as the frames are.

    A dataset without the frame axis, or with one frame, stands for every frame.

    Returns
    -------
    ndarray, shape (slab.n_ss, slab.n_fs)

    Raises
    ------
    GeometryError
        If there is no such dataset, or its shape does not hold the slab.
    """
    dataset = dataset_at(h5file, path)
    axis = slab.frame_axis
    if axis is not None and dataset.ndim == len(slab.dims) and dataset.shape[axis] == 1:
        index = 0
    selection = slab.selection(index)
    if axis is not None and dataset.ndim == len(selection) - 1:
        selection = selection[:axis] + selection[axis + 1 :]
    where = f"{h5file.file.filename}:{path}"
    fits = len(selection) == dataset.ndim and all(
        (chosen.stop <= n) if isinstance(chosen, slice) else (chosen < n)
        for chosen, n in zip(selection, dataset.shape, strict=True)
    )
    if not fits:
        what = f"shape {dataset.shape} does not hold {slab.n_ss} x {slab.n_fs} pixels"
        raise GeometryError(f"{what} of frame {index} as {slab.dims}", where)
    plane = np.asarray(dataset[selection])
    return plane.T if slab.transposed else plane
