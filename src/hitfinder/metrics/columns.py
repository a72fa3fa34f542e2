"""Columns of tables of peaks, whatever kind of table it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Columns = dict[str, NDArray[Any]]


def columns_of(table: Any, what: str, more: Sequence[str] = ()) -> Columns:
    """Return the positions of a table of peaks, and other columns if it has them.

    Parameters
    ----------
    table : table
        A structured array, an Arrow table, a DataFrame, a mapping, or positions of shape (n, 2).
    what : str
        What to call it in messages.
    more : sequence of str
        Other columns to take.

    Raises
    ------
    ValueError
        If it has no positions.
    """
    names = _names(table)
    if names is None:
        positions = _as_positions(table, what)
        return {"fs": positions[:, 0], "ss": positions[:, 1]}
    lacking = [name for name in ("fs", "ss") if name not in names]
    if lacking:
        raise ValueError(
            f"{what} has no column {lacking[0]!r}; it has {', '.join(map(str, names))}"
        )
    columns: Columns = {
        name: np.asarray(table[name]) for name in ("fs", "ss", *more) if name in names
    }
    for name in ("fs", "ss"):
        columns[name] = columns[name].astype(np.float64)
    lengths = {name: column.shape for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or len(columns["fs"].shape) != 1:
        raise ValueError(f"{what} has columns of different lengths: {lengths}")
    return columns


def _names(table: Any) -> list[str] | None:
    """Names of a table's columns; None if it is none."""
    if isinstance(table, np.ndarray):
        return list(table.dtype.names) if table.dtype.names else None
    if hasattr(table, "column_names"):  # Arrow
        return list(table.column_names)
    if hasattr(table, "columns"):  # pandas and others
        return list(table.columns)
    return list(table) if isinstance(table, Mapping) else None


def _as_positions(table: ArrayLike, what: str) -> NDArray[np.float64]:
    try:
        positions = np.asarray(table, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} is no table of peaks: it is a {type(table).__name__}") from error
    if positions.size == 0:
        return np.empty((0, 2))
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"{what} needs columns fs and ss, or shape (n, 2); got {positions.shape}")
    return positions
