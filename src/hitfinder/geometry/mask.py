"""Reading pixel masks from files."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import read_geom

log = logging.getLogger(__name__)

_GOOD = "good:"
"""What stands before the name of a mask of which values other than 0 are good."""

MOST_MASKED = 0.5
"""Share of pixels that a mask may leave out without a word."""

_HDF5_ENDINGS = {".h5", ".hdf5", ".cxi", ".nxs"}


def read_mask(
    path: str | os.PathLike[str],
    shape: tuple[int, int],
    dataset: str | None = None,
    *,
    ones_are_good: bool = False,
) -> NDArray[np.bool_]:
    """Read a pixel mask.

    Parameters
    ----------
    path : path-like
        ``.npy``; HDF5 (``.h5``, ``.hdf5``, ``.cxi``, ``.nxs``), the dataset after ``//`` or found
        by looking; a CrystFEL ``.geom``, for its bad regions and the pixels on no panel; or any
        image that fabio reads (``.tif``, ``.edf``, ``.cbf``, ``.msk``). With ``good:`` before it,
        as `ones_are_good`.
    shape : tuple of int
        Rows and columns that a frame has.
    dataset : str, optional
        HDF5 path of the mask.
    ones_are_good : bool
        Whether the file marks good pixels with values other than 0. Without it such values are
        bad, which serves masks of 0 and 1 and the bits of NXmx ``pixel_mask`` alike.

    Returns
    -------
    ndarray of bool, shape `shape`
        True where a pixel is to be ignored.

    Raises
    ------
    GeometryError
        If the file cannot be read, holds no mask or several, its shape is not that of the frames,
        or no pixel is left.
    """
    given, ones_are_good = _sense(str(path), ones_are_good)
    name, _, inside = given.partition("//")
    file, dataset = Path(name), dataset or (f"/{inside}" if inside else None)
    if not file.is_file():
        raise GeometryError("there is no such mask file", name)
    ending = file.suffix.lower()
    if ending == ".geom":
        mask = read_geom(file).detector(shape).full_mask
        _check(mask, shape, name)
        return mask
    if ending in _HDF5_ENDINGS:
        stored, where = _from_hdf5(file, shape, dataset)
    else:
        stored, where = _from_image(file), name
    if stored.dtype.kind not in "biuf":
        raise GeometryError(f"values of type {stored.dtype} are no mask", where)
    _check_shape(stored, shape, where)
    bad = stored == 0 if ones_are_good else stored != 0
    if stored.dtype.kind == "f":
        bad |= np.isnan(stored)
    _check(bad, shape, where)
    if bad.mean() > MOST_MASKED and not ones_are_good:
        log.warning(
            "%s masks %.3g %% of the pixels; if other values than 0 stand for good pixels there, "
            "give it as %s%s",
            *(where, 100 * bad.mean(), _GOOD, given),
        )
    return bad


def mask_file(path: str) -> str:
    """Return the file of what `read_mask` takes for a mask."""
    return _sense(path)[0].partition("//")[0]


def _sense(path: str, ones_are_good: bool = False) -> tuple[str, bool]:
    """Take away what says that a mask marks good pixels; a file may be called so too."""
    if path.startswith(_GOOD) and not Path(path.partition("//")[0]).is_file():
        return path.removeprefix(_GOOD), True
    return path, ones_are_good


def _check_shape(mask: NDArray[Any], shape: tuple[int, int], where: str) -> None:
    if mask.shape != tuple(shape):
        raise GeometryError(f"mask shape {mask.shape} is not the frame shape {tuple(shape)}", where)


def _check(bad: NDArray[np.bool_], shape: tuple[int, int], where: str) -> None:
    _check_shape(bad, shape, where)
    if bad.all():
        hint = f"If 1 stands for a good pixel in this file, give it as {_GOOD}FILE"
        raise GeometryError("the mask leaves no pixel", where, hint)


def _from_image(file: Path) -> NDArray[Any]:
    try:
        if file.suffix.lower() == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        import fabio

        with fabio.open(str(file)) as image:
            return np.asarray(image.data)
    except Exception as error:
        what = f"cannot be read as a mask ({str(error).splitlines()[0] if str(error) else error!r})"
        raise GeometryError(what, str(file)) from error


def _from_hdf5(file: Path, shape: tuple[int, int], dataset: str | None) -> tuple[NDArray[Any], str]:
    import h5py
    import hdf5plugin  # noqa: F401 - masks may be compressed with its filters

    try:
        with h5py.File(file, "r") as h5file:
            path = dataset or _find_mask(h5file, shape)
            found = h5file.get(path)
            if not isinstance(found, h5py.Dataset):
                raise GeometryError(f"no dataset {path!r} in the file", str(file))
            _check_stored(found, shape, f"{file}//{path.lstrip('/')}")
            stored = np.asarray(found[()])
    except (OSError, RuntimeError, ValueError) as error:
        raise GeometryError(f"cannot be read as HDF5 ({error})", str(file)) from error
    # Axes of length 1 in front of the pixel axes say nothing.
    while stored.ndim > 2 and stored.shape[0] == 1:
        stored = stored[0]
    return stored, f"{file}//{path.lstrip('/')}"


def _check_stored(dataset: Any, shape: tuple[int, int], where: str) -> None:
    """Refuse a dataset that had better not be read: of another shape, or without end."""
    from hitfinder.hdf5loops import is_endless

    lead = dataset.shape[:-2]
    if dataset.shape[-2:] != tuple(shape) or any(length != 1 for length in lead):
        what = f"mask shape {dataset.shape} is not the frame shape {tuple(shape)}"
        raise GeometryError(what, where)
    if is_endless(dataset):
        raise GeometryError("is made of itself", where)


def _find_mask(h5file: Any, shape: tuple[int, int]) -> str:
    """Return the dataset that is called a mask, or else the only one of the frames' shape."""
    import h5py

    fitting: list[str] = []
    named: list[str] = []

    def look(path: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "biuf" or item.ndim < 2:
            return
        called_mask = path.rpartition("/")[2].lower().endswith("mask")
        if called_mask:
            named.append(path)
        if item.shape[-2:] == tuple(shape) and item.size == shape[0] * shape[1]:
            fitting.append(path)

    h5file.visititems(look)
    candidates = [path for path in named if path in fitting] or named or fitting
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        what = f"holds no mask of shape {tuple(shape)}"
        raise GeometryError(what, h5file.filename)
    listed = ", ".join(f"/{path}" for path in candidates[:5])
    hint = f"name one, as in {h5file.filename}//{candidates[0]}"
    raise GeometryError(f"several datasets may be the mask: {listed}", h5file.filename, hint)
