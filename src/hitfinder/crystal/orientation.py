"""Crystal orientations."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError

COLUMNS = tuple(f"{axis}star_{x}" for axis in "abc" for x in "xyz")
"""Columns of an orientation table: components of a*, b*, c* in m⁻¹."""


def to_columns(axes: NDArray[np.floating]) -> dict[str, float]:
    """Name the components of reciprocal axes, given as columns in Å⁻¹, in m⁻¹."""
    return dict(zip(COLUMNS, (np.asarray(axes).T.ravel() * 1e10).tolist(), strict=True))


def from_columns(row: Mapping[str, Any]) -> NDArray[np.float64]:
    """Put reciprocal axes together from a row of `COLUMNS`; columns a*, b*, c* in Å⁻¹.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a column is missing or no number.
    """
    return np.array([float(row[name]) for name in COLUMNS]).reshape(3, 3).T * 1e-10


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a rotation matrix uniformly on SO(3).

    From a normalised four-vector of normal numbers taken as a quaternion (K. Shoemake, Graphics
    Gems III, 124 (1992), gives the equivalent uniform construction).

    Returns
    -------
    ndarray, shape (3, 3)
    """
    w, x, y, z = _unit(rng.standard_normal(4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def read_orientations(path: str | Path) -> NDArray[np.float64]:
    """Read reciprocal axes from a CSV file with the columns ``astar_x`` ... ``cstar_z`` in m⁻¹.

    Returns
    -------
    ndarray, shape (n, 3, 3)
        For each row the matrix with columns a*, b*, c* in Å⁻¹.

    Raises
    ------
    ConfigError
        If the file cannot be read, a column is missing, a value is not a number, or the axes of a
        row lie in a plane.
    """
    where = str(path)
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            rows = list(reader)
            names = [name.strip() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read orientations: {error}", where) from error
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ConfigError(
            f"no column {missing[0]!r}", where, f"Columns are {', '.join(COLUMNS)}, in m⁻¹."
        )
    if not rows:
        raise ConfigError("no orientations", where)
    axes = np.empty((len(rows), 3, 3))
    for number, row in enumerate(rows):
        values = {str(key).strip(): value for key, value in row.items()}
        try:
            axes[number] = from_columns(values)
        except (TypeError, ValueError) as error:
            raise ConfigError("a value is not a number", f"{where}, row {number + 1}") from error
        lengths = np.linalg.norm(axes[number], axis=0)
        if not abs(np.linalg.det(axes[number])) > 1e-3 * lengths.prod():
            raise ConfigError("the axes span no volume", f"{where}, row {number + 1}")
    return axes
