"""Numbers of HDF5 files, at the first of several places that has any."""

from __future__ import annotations

from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io.nexus import Fields, attribute
from hitfinder.io.tables import MOST_FRAMES


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


def first_values(fields: Fields, patterns: tuple[str, ...], least: float = 0.0) -> Values | None:
    """Return the numbers of the first place that has finite ones above `least`."""
    key = patterns, least
    if key not in fields.numbers:
        fields.numbers[key] = _first_values(fields, patterns, least)
    return fields.numbers[key]


def _first_values(fields: Fields, patterns: tuple[str, ...], least: float) -> Values | None:
    for path in fields.places(patterns):
        dataset = fields.dataset(path)
        if dataset is None or dataset.dtype.kind not in "iuf":
            continue
        if not 0 < dataset.size <= MOST_FRAMES:
            continue
        try:
            values = np.asarray(stored(dataset), np.float64).ravel()
        except (OSError, RuntimeError, ValueError) as error:
            where = f"{fields.file.filename}:/{path}"
            reason = " ".join(str(error).split())
            fields.broken[path] = SourceError("unreadable", f"cannot be read ({reason})", where)
            continue
        found = _mended(Values(values, _unit(dataset), dataset.name), least)
        if found is not None:
            return found
    return None


def stored(dataset: h5py.Dataset) -> NDArray:
    """Read a whole dataset of numbers, as ``dataset[()]`` does in more time."""
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def _unit(dataset: h5py.Dataset) -> str:
    """Return the unit of a dataset; empty if it has none."""
    for name in ("units", "unit"):
        try:
            unit = attribute(dataset, name)
        except (OSError, RuntimeError, ValueError, TypeError):
            continue
        if isinstance(unit, np.ndarray) and unit.size == 1:
            unit = unit.ravel()[0]
        if isinstance(unit, (bytes, str)):
            return unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return ""


def _mended(found: Values, least: float = 0.0) -> Values | None:
    """Replace numbers that are not finite or not above `least`; None if no other is left."""
    good = np.isfinite(found.values) & (found.values > least)
    if good.all():
        return found if found.values.size else None
    if not good.any():
        return None
    values = np.where(good, found.values, np.median(found.values[good]))
    return found._replace(values=values, n_bad=int(np.count_nonzero(~good)))


def middle(values: NDArray[np.float64]) -> float:
    """Return the median of numbers, most often of a single one."""
    return float(values.flat[0] if values.size == 1 else np.median(values))


def first_number(fields: Fields, pattern: str) -> float | None:
    """Return the first finite number at a place, of whatever sign."""
    found = first_values(fields, (pattern,), least=-np.inf)
    return None if found is None else float(found.values[0])


def attribute_values(fields: Fields, name: str) -> Values | None:
    """Return an attribute of the frames' dataset, or of a group on the way to it."""
    for path in ("entry/data/data", "entry/data", "entry", "/"):
        try:
            holder = fields.file.get(path)
            if holder is None or name not in holder.attrs:
                continue
            values = np.atleast_1d(np.asarray(holder.attrs[name], np.float64))
        except (KeyError, OSError, RuntimeError, TypeError, ValueError):
            continue
        found = _mended(Values(values.ravel(), "", f"{holder.name}, attribute {name}"))
        if found is not None:
            return found
    return None
