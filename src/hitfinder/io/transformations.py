"""Chains of NeXus transformations: from the frame of a module to the lab.

Rotations and translations depend on one another by the attribute ``depends_on``, up to ``.``, the
lab (https://manual.nexusformat.org/classes/base_classes/NXtransformations.html).
"""

from __future__ import annotations

import math
import posixpath

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.io.links import NOT_THERE, opened
from hitfinder.io.nexus import as_text, attribute, identity
from hitfinder.io.numbers import middle, stored
from hitfinder.io.quantities import LENGTHS_M, normal

Matrix = NDArray[np.float64]

MOST_STEPS = 64
"""Transformations that a chain may have."""

MOST_VALUES = 1 << 22
"""Numbers that an axis which moves during a series may have."""

_MOVED_M, _MOVED_RAD = 1e-4, 3e-4
"""Ways and angles that an axis can move and shift no pixel by more than about one."""

_ANGLES = {
    **dict.fromkeys(("deg", "degree", "degrees", "°"), math.pi / 180),
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    **dict.fromkeys(("mrad", "milliradian", "milliradians"), 1e-3),
}


class Chains:
    """The chains of transformations of a file, of which many begin differently and end alike.

    Parameters
    ----------
    master : h5py.File
        The file in which paths are meant that are not found in that of an axis.

    Attributes
    ----------
    moved : list of str
        What should be said of axes that move during the series.
    """

    def __init__(self, master: h5py.File) -> None:
        self._master = master
        self._to_lab: dict[tuple[object, object], Matrix] = {}
        self.moved: list[str] = []

    def to_lab(self, axis: h5py.Dataset | None) -> Matrix:
        """Return what takes a point in the frame of an axis to the lab.

        Parameters
        ----------
        axis : h5py.Dataset or None
            The first transformation of the chain; None for the lab itself.

        Returns
        -------
        ndarray, shape (4, 4)
            Of homogeneous coordinates, in m.

        Raises
        ------
        ValueError
            If the chain leads nowhere, has no end, or a step of it is not understood.
        """
        matrix = np.eye(4)
        step, walked = axis, list[tuple[tuple[object, object], Matrix]]()
        while step is not None:
            key = identity(step)
            if key in self._to_lab:
                matrix = self._to_lab[key]
                break
            if len(walked) == MOST_STEPS:
                what = f"there are more than {MOST_STEPS} transformations one upon the other"
                raise ValueError(what)
            walked.append((key, _step(step)))
            self.moved += _movement(step)
            step = self.parent(step)
        for key, own in reversed(walked):
            matrix = matrix @ own
            self._to_lab[key] = matrix
        return matrix

    def parent(self, axis: h5py.Dataset) -> h5py.Dataset | None:
        """Return what an axis depends on; None for the lab.

        Raises
        ------
        ValueError
            If it is not there.
        """
        return axis_at(axis, as_text(attribute(axis, "depends_on")), self._master)


def axis_at(beside: h5py.Dataset | h5py.Group, path: str, master: h5py.File) -> h5py.Dataset | None:
    """Return the transformation at a path, which may be relative; None for ``.``, the lab.

    Parameters
    ----------
    beside : h5py.Dataset or h5py.Group
        What names the path.
    path : str
        The path, or nothing.
    master : h5py.File
        As in `Chains`.

    Raises
    ------
    ValueError
        If there is none.
    """
    path = path.strip()
    if path in (".", ""):
        return None
    group = beside.name if isinstance(beside, h5py.Group) else posixpath.dirname(beside.name)
    place = posixpath.normpath(posixpath.join(group, path))
    # Most often the file is the master, and h5py takes long to tell it.
    own = h5py.h5f.get_name(beside.id) == h5py.h5f.get_name(master.id)
    for file in (master,) if own else (beside.file, master):
        try:
            found = opened(file, place)
        except NOT_THERE:
            continue
        if isinstance(found, h5py.Dataset):
            return found
    raise ValueError(f"{beside.name} depends on {path}, which is not there")


def direction(axis: h5py.Dataset) -> NDArray[np.float64]:
    """Return the vector of an axis, at unit length.

    Raises
    ------
    ValueError
        If it has none.
    """
    vector = _vector(axis, "vector")
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise ValueError(f"{axis.name} has no direction")
    return vector / length


def length_m(axis: h5py.Dataset) -> float:
    """Return the value of an axis as a length, in m; the median if it moves.

    Raises
    ------
    ValueError
        If it has no known unit, or is no number.
    """
    return _value(axis) * _worth(axis, "units", LENGTHS_M)


def offset_m(axis: h5py.Dataset) -> NDArray[np.float64]:
    """Return the offset of an axis, in m; zero if it has none.

    Raises
    ------
    ValueError
        If its unit is not known.
    """
    if "offset" not in axis.attrs:
        return np.zeros(3)
    offset = _vector(axis, "offset")
    if not offset.any():
        return offset
    if "offset_units" not in axis.attrs and as_text(attribute(axis, "transformation_type")) == (
        "translation"
    ):
        return offset * _worth(axis, "units", LENGTHS_M)
    return offset * _worth(axis, "offset_units", LENGTHS_M)


def _step(axis: h5py.Dataset) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, 3] = offset_m(axis)
    kind = as_text(attribute(axis, "transformation_type")).strip().lower()
    if kind == "rotation":
        matrix[:3, :3] = _turn(direction(axis), _value(axis) * _worth(axis, "units", _ANGLES))
    elif kind == "translation":
        value = _value(axis)
        if value:
            worth = _worth(axis, "units", LENGTHS_M)
            matrix[:3, 3] += value * worth * _vector(axis, "vector")
    else:
        raise ValueError(f"{axis.name} is neither a rotation nor a translation")
    return matrix


def _movement(axis: h5py.Dataset) -> list[str]:
    """Say of an axis that does not stay where it is."""
    if axis.size < 2:
        return []
    turns = as_text(attribute(axis, "transformation_type")).strip().lower() == "rotation"
    units, least = (_ANGLES, _MOVED_RAD) if turns else (LENGTHS_M, _MOVED_M)
    values = np.asarray(stored(axis), np.float64)
    low, high = float(values.min()), float(values.max())
    if not (high - low) * _worth(axis, "units", units) > least:
        return []
    unit = as_text(attribute(axis, "units"))
    return [
        f"{axis.name}, on which the detector stands, goes from {low:g} to {high:g} {unit}: "
        "it is taken to stand at the median; process what was taken at one place by itself"
    ]


def _turn(vector: NDArray[np.float64], angle: float) -> Matrix:
    """Return the matrix of a right-handed rotation (Rodrigues' formula)."""
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def _value(axis: h5py.Dataset) -> float:
    if axis.dtype.kind not in "iuf" or not 0 < axis.size <= MOST_VALUES:
        raise ValueError(f"{axis.name} is no number")
    value = middle(np.asarray(stored(axis), np.float64))
    if not math.isfinite(value):
        raise ValueError(f"{axis.name} is no finite number")
    return value


def _vector(axis: h5py.Dataset, name: str) -> NDArray[np.float64]:
    try:
        given = attribute(axis, name)
        vector = np.asarray([] if given is None else given, np.float64).ravel()
    except (KeyError, TypeError, ValueError, OSError):
        vector = np.empty(0)
    if not vector.size:
        raise ValueError(f"{axis.name} has no {name}")
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ValueError(f"the {name} of {axis.name} is not three numbers")
    return vector


def _worth(axis: h5py.Dataset, name: str, units: dict[str, float]) -> float:
    unit = normal(as_text(attribute(axis, name)))
    if unit not in units:
        what = f"is in {unit!r}, which is not known" if unit else "has no unit"
        raise ValueError(f"{axis.name} {what} ({name})")
    return units[unit]
