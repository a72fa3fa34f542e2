"""Numbers of HDF5 files, at the first of several places that has any."""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

DETECTORS = (
    "entry/instrument/detector",
    "entry_1/instrument_1/detector_1",
    "entry/instrument_1/detector_1",
    "entry_1/instrument/detector",
)


class Values(NamedTuple):
    """Numbers of a file.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        The numbers; the median of the good ones stands for those that are not good.
    unit : str
        Unit that the file gives, or nothing.
    place : str
        Where they are.
    n_bad : int
        How many were not good.
    """

    values: NDArray[np.float64]
    unit: str
    place: str
    n_bad: int = 0


def places(patterns: tuple[str, ...]) -> list[str]:
    """Write out the places of the detector group."""
    return [
        pattern.format(detector=group)
        for pattern in patterns
        for group in (DETECTORS if "{detector}" in pattern else ("",))
    ]


def dataset_at(file: h5py.File, path: str) -> h5py.Dataset | None:
    """Return the dataset at a path; None if there is none, or a link leads nowhere."""
    try:
        found = file[path]
    except (KeyError, OSError):
        return None
    return found if isinstance(found, h5py.Dataset) else None


def first_values(file: h5py.File, patterns: tuple[str, ...], least: float = 0.0) -> Values | None:
    """Return the numbers of the first place that has finite ones above `least`."""
    for path in places(patterns):
        dataset = dataset_at(file, path)
        if dataset is None or dataset.dtype.kind not in "iuf" or not dataset.size:
            continue
        unit = dataset.attrs.get("units", "")
        unit = unit.decode() if isinstance(unit, bytes) else str(unit)
        values = np.asarray(dataset[()], np.float64).ravel()
        if (found := _mended(Values(values, unit, dataset.name), least)) is not None:
            return found
    return None


def _mended(found: Values, least: float = 0.0) -> Values | None:
    """Replace numbers that are not finite or not above `least`; None if no other is left."""
    good = np.isfinite(found.values) & (found.values > least)
    if not good.any():
        return None
    values = np.where(good, found.values, np.median(found.values[good]))
    return found._replace(values=values, n_bad=int(np.count_nonzero(~good)))


def first_number(file: h5py.File, pattern: str) -> float | None:
    """Return the first finite number at a place, of whatever sign."""
    found = first_values(file, (pattern,), least=-np.inf)
    return None if found is None else float(found.values[0])


def attribute_values(file: h5py.File, name: str) -> Values | None:
    """Return an attribute of the frames' dataset, or of a group on the way to it."""
    for path in ("entry/data/data", "entry/data", "entry", "/"):
        holder = file.get(path)
        if holder is not None and name in holder.attrs:
            try:
                values = np.atleast_1d(np.asarray(holder.attrs[name], np.float64))
            except (TypeError, ValueError):
                continue
            found = _mended(Values(values, "", f"{holder.name}, attribute {name}"))
            if found is not None:
                return found
    return None
