"""A table of found peaks against a table of true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.metrics.columns import Columns, columns_of
from hitfinder.metrics.matching import match_peaks


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """How well found peaks agree with true ones.

    Attributes
    ----------
    n_true : int
        True peaks that should be found.
    n_found : int
        Found peaks, all of them.
    distance_px : ndarray of float, shape (n_matched,)
        Distance of each matched pair, in pixels.
    matched_found, matched_true : ndarray of int, shape (n_matched,)
        Rows of the two tables that belong together.
    missed : ndarray of int
        Rows of true peaks that should be found and were not.
    false : ndarray of int
        Rows of found peaks that are at no true peak, however weak.
    """

    n_true: int
    n_found: int
    distance_px: NDArray[np.float64]
    matched_found: NDArray[np.intp]
    matched_true: NDArray[np.intp]
    missed: NDArray[np.intp]
    false: NDArray[np.intp]

    @property
    def n_matched(self) -> int:
        """True peaks that were found."""
        return len(self.matched_true)

    @property
    def n_missed(self) -> int:
        """True peaks that were not found."""
        return len(self.missed)

    @property
    def n_false(self) -> int:
        """Found peaks that are at no true one."""
        return len(self.false)

    @property
    def recall(self) -> float:
        """Share of the true peaks that were found; NaN if there are none."""
        return self.n_matched / self.n_true if self.n_true else float("nan")

    @property
    def precision(self) -> float:
        """Share of the found peaks that are true; NaN if none were found."""
        return 1 - self.n_false / self.n_found if self.n_found else float("nan")

    @property
    def position_error_px(self) -> float:
        """Median distance of the found from the true position, in pixels; NaN without pairs."""
        return float(np.median(self.distance_px)) if self.n_matched else float("nan")

    def __str__(self) -> str:
        return (
            f"recall {self.recall:.3f} ({self.n_matched} of {self.n_true}), "
            f"precision {self.precision:.3f} ({self.n_false} false), "
            f"position error {self.position_error_px:.2f} px"
        )


def compare(
    found: Any, truth: Any, *, tolerance_px: float = 3.0, min_photons: float = 0.0
) -> Comparison:
    """Compare found peaks with true ones.

    Each found peak belongs to one true peak at most, and the other way round. Of all such
    matchings within the tolerance the one with the most pairs is taken, then the one with the
    least distance.

    Parameters
    ----------
    found, truth : table
        Peaks with the columns ``fs`` and ``ss``, in pixels of one convention: a structured array,
        an Arrow table, a DataFrame or a mapping. If both have a column ``frame``, peaks are
        matched within each frame only. Plain positions of shape (n, 2) will do too.
    tolerance_px : float
        Largest distance of a pair, in pixels.
    min_photons : float
        True peaks with fewer ``photons`` need not be found: they count neither as missed, nor is
        a peak that is found there false.

    Returns
    -------
    Comparison
        Precision, recall, position error, and which rows belong together.

    Raises
    ------
    ValueError
        If a table has no positions, a position is not finite, or the tolerance is not positive.

    Examples
    --------
    >>> import hitfinder as hf
    >>> truth = {"fs": [10.5, 80.2], "ss": [20.5, 40.1], "photons": [30, 12]}
    >>> found = {"fs": [10.9, 55.0], "ss": [20.5, 5.0]}
    >>> print(hf.compare(found, truth))
    recall 0.500 (1 of 2), precision 0.500 (1 false), position error 0.40 px
    """
    if not tolerance_px > 0:
        raise ValueError(f"tolerance_px must be positive, got {tolerance_px}")
    mine = columns_of(found, "found", ("frame",))
    true = columns_of(truth, "truth", ("frame", "photons"))
    if min_photons > 0 and "photons" not in true:
        raise ValueError("min_photons needs a truth with the column 'photons'")
    wanted = true["photons"] >= min_photons if min_photons > 0 else np.ones(len(true["fs"]), bool)
    at, places = (np.stack([table["fs"], table["ss"]], 1) for table in (mine, true))
    none: NDArray[np.intp] = np.empty(0, np.intp)
    pairs, distances, missed, false = [(none, none)], [np.empty(0)], [none], [none]
    for i, j in _frames(mine, true):
        bright, faint = j[wanted[j]], j[~wanted[j]]
        match = match_peaks(at[i], places[bright], tolerance_px)
        pairs.append((i[match.found], bright[match.true]))
        distances.append(match.distance)
        missed.append(bright[match.missed])
        rest = i[match.false]
        false.append(rest[match_peaks(at[rest], places[faint], tolerance_px).false])
    matched_found, matched_true = (np.concatenate(rows) for rows in zip(*pairs, strict=True))
    return Comparison(
        n_true=int(wanted.sum()),
        n_found=len(at),
        distance_px=np.concatenate(distances),
        matched_found=matched_found,
        matched_true=matched_true,
        missed=np.concatenate(missed),
        false=np.concatenate(false),
    )


def _frames(mine: Columns, true: Columns) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows of the two tables that are of one frame, frame by frame."""
    if "frame" not in mine or "frame" not in true:
        yield np.arange(len(mine["fs"])), np.arange(len(true["fs"]))
        return
    orders = [np.argsort(table["frame"], kind="stable") for table in (mine, true)]
    ordered = [table["frame"][order] for table, order in zip((mine, true), orders, strict=True)]
    for frame in np.union1d(*ordered):
        first, last = (
            [np.searchsorted(rows, frame, side=side) for rows in ordered]
            for side in ("left", "right")
        )
        yield orders[0][first[0] : last[0]], orders[1][first[1] : last[1]]
