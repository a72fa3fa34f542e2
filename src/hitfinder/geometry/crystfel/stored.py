"""Single numbers and planes of pixels that a geometry file points to in HDF5 files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.layout import Slab


def dataset_at(h5file: Any, path: str) -> Any:
    """Return the dataset at `path` of an open file.

    Raises
    ------
    GeometryError
        If there is none.
    """
    import h5py

    try:
        found = h5file[path]
    except (KeyError, ValueError, OSError):
        found = None
    if not isinstance(found, h5py.Dataset):
        raise GeometryError(f"no dataset {path!r} in the file", h5file.file.filename)
    return found


def value_of(h5file: Any, path: str, index: int) -> float:
    """Read one number, for one frame if the dataset holds one for each.

    Axes of length 1 are passed over, the others count frames: the rule by which CrystFEL reads
    beam and set-up values of multi-frame files.

    Raises
    ------
    GeometryError
        If there is no such dataset, it is not numeric, or it is too short.
    """
    dataset = dataset_at(h5file, path)
    where = f"{h5file.file.filename}:{path}"
    if dataset.dtype.kind not in "iuf":
        raise GeometryError("holds no number", where)
    if sum(n != 1 for n in dataset.shape) > 1:
        raise GeometryError(f"shape {dataset.shape} is not one number per frame", where)
    if any(n != 1 and index >= n for n in dataset.shape):
        raise GeometryError(f"has {max(dataset.shape)} values, none for frame {index}", where)
    return float(dataset[tuple(0 if n == 1 else index for n in dataset.shape)])


def plane_of(h5file: Any, path: str, slab: Slab, index: int) -> NDArray[Any]:
    """Read the pixels of one slab from a dataset laid out as the frames are.

    A dataset without the frame axis stands for every frame, as a static mask does.

    Returns
    -------
    ndarray, shape (slab.n_ss, slab.n_fs)

    Raises
    ------
    GeometryError
        If there is no such dataset, or its shape does not hold the slab.
    """
    dataset = dataset_at(h5file, path)
    selection = slab.selection(index)
    if slab.frame_axis is not None and dataset.ndim == len(selection) - 1:
        selection = selection[: slab.frame_axis] + selection[slab.frame_axis + 1 :]
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
