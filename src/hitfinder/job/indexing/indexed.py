"""What indexing finds in a run, and its files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

import hitfinder
from hitfinder.atomic import replacing
from hitfinder.crystal.cellfiles import write_cell_file
from hitfinder.crystal.lattice import Lattice
from hitfinder.export import tables
from hitfinder.export.solutions import write_solutions
from hitfinder.indexing.cellfit import FittedCell
from hitfinder.io.lst import write_lst
from hitfinder.io.source import FrameRef
from hitfinder.job.indexing.center import FittedCenter
from hitfinder.job.indexing.integrate import MeasuredRun
from hitfinder.job.indexing.joint_hits import JointHits
from hitfinder.job.indexing.judge_again import judge_again
from hitfinder.report.verdict import IndexRate
from hitfinder.results.hits import HITS_CXI, hit_rows
from hitfinder.results.run import CRYSTALS, REFLECTIONS, STREAM, Run

if TYPE_CHECKING:
    import pyarrow as pa

INFO, SOLUTIONS, LIST = "indexed.json", "indexed.sol", "indexed.lst"
CELL = "indexed.cell"
TABLES = (CRYSTALS, "indexed.csv")

Axes = NDArray[np.float64]
"""Reciprocal axes of a crystal as columns, in Å⁻¹."""


@dataclasses.dataclass(frozen=True)
class Solved:
    """Orientations found in the frames of a run.

    Attributes
    ----------
    crystals : mapping of int to list of ndarray
        For each indexed frame, the reciprocal axes of its crystals.
    rows : iterator of dict
        Columns of the table of crystals, a few rows at a time.
    n_searched : int
        Frames that were searched.
    n_by_chance : float
        Those of them that would be indexed by chance.
    settings : dict
        What ``indexed.json`` says of how they were found.
    n_wanting : int
        Frames that were to be searched and could not be read, or ended the workers.
    joint_hits : JointHits, optional
        The hits by peaks and crystal together.
    """

    crystals: Mapping[int, list[Axes]]
    rows: Iterator[dict[str, Any]]
    n_searched: int
    n_by_chance: float
    settings: dict[str, Any]
    n_wanting: int
    joint_hits: JointHits | None = None


@dataclasses.dataclass(frozen=True)
class IndexedRun:
    """What indexing found in the hits of a run.

    Attributes
    ----------
    folder : Path
        Folder of the run.
    lattice : Lattice
        Of the crystals.
    n_hits, n_indexed, n_crystals : int
        Hits of the run, those that are indexed, and the crystals in them.
    n_by_chance : float
        Frames that would be indexed by chance: with each peak turned about the beam at random, or
        by the stated share of frames without a crystal where pixels were searched.
    n_wanting : int
        Frames that were to be searched or measured and could not be read, or ended the workers.
    n_reflections : int
        Reflections measured; 0 where intensities are not wanted or the frames are gone.
    joint_hits : JointHits, optional
        The hits by peaks and crystal together, where pixels were searched.
    cell_fit : FittedCell, optional
        The cell that the peaks fit best, if they fit any near the given one.
    """

    folder: Path
    lattice: Lattice
    n_hits: int
    n_indexed: int
    n_crystals: int
    n_by_chance: float
    n_wanting: int
    n_reflections: int = 0
    joint_hits: JointHits | None = None
    cell_fit: FittedCell | None = None

    @property
    def table(self) -> pa.Table:
        """A row per crystal, in frame order: score, and reciprocal axes."""
        return pyarrow.parquet.read_table(self.folder / CRYSTALS)

    @property
    def reflections(self) -> pa.Table:
        """A row per measured reflection, in frame order."""
        return Run(self.folder).reflections

    @property
    def stream(self) -> Path:
        """The file of intensities for CrystFEL."""
        return self.folder / STREAM

    @property
    def solutions(self) -> Path:
        """The file of orientations for CrystFEL."""
        return self.folder / SOLUTIONS


def write_indexed(
    folder: Path,
    lattice: Lattice,
    fit: FittedCell | None,
    center: FittedCenter | None,
    solved: Solved,
    *,
    csv: bool,
) -> IndexedRun:
    """Write the outputs, ``indexed.json`` after the tables, and return what was found.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    lattice : Lattice
        Of the crystals.
    fit : FittedCell, optional
        The cell that the peaks fit best.
    center : FittedCenter, optional
        The beam centre that they fit best.
    solved : Solved
        What was found.
    csv : bool
        Write the table as CSV too.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    hits = folder / HITS_CXI
    numbers = {int(row): number for number, row in enumerate(hit_rows(folder))}
    given = [
        (FrameRef(str(hits.resolve()), f"//{numbers[frame]}"), axes)
        for frame, crystals in solved.crystals.items()
        if frame in numbers
        for axes in crystals
    ]
    done = IndexedRun(
        folder,
        lattice,
        solved.n_searched,
        len(solved.crystals),
        sum(map(len, solved.crystals.values())),
        solved.n_by_chance,
        solved.n_wanting,
        joint_hits=solved.joint_hits,
        cell_fit=fit,
    )
    # First what says that there is an indexing: a kill must not leave parts of two.
    for old in (INFO, *TABLES, REFLECTIONS, "reflections.csv", STREAM, SOLUTIONS, LIST, CELL):
        (folder / old).unlink(missing_ok=True)
    write_solutions(folder / SOLUTIONS, lattice, given)
    write_cell_file(folder / CELL, lattice)
    write_lst(folder / LIST, list(dict.fromkeys(ref for ref, _ in given)))
    tables.write_table(folder / CRYSTALS, tables.index_schema(), solved.rows, csv=csv)
    told = {
        "hitfinder": hitfinder.__version__,
        "lattice": {"code": lattice.code, "cell": str(lattice.cell)},
        "settings": solved.settings,
        "counts": {
            "hits": done.n_hits,
            "indexed": done.n_indexed,
            "crystals": done.n_crystals,
            "by_chance": done.n_by_chance,
            "wanting": done.n_wanting,
        },
        "cell_fit": _fit_told(fit),
        "center_fit": None if center is None else dataclasses.asdict(center),
    }
    _tell(folder, told)
    rate = IndexRate(
        done.n_hits, done.n_indexed, done.n_by_chance, tuple(_against(lattice, fit, center))
    )
    judge_again(folder, rate, lattice, fit)
    return done


def with_measured(done: IndexedRun, measured: MeasuredRun) -> IndexedRun:
    """Add to ``indexed.json`` what was measured."""
    info = json.loads((done.folder / INFO).read_bytes())
    info["intensities"] = dataclasses.asdict(measured)
    n_wanting = done.n_wanting + measured.wanting
    info["counts"]["wanting"] = n_wanting
    _tell(done.folder, info)
    return dataclasses.replace(done, n_reflections=measured.reflections, n_wanting=n_wanting)


def _tell(folder: Path, told: Mapping[str, Any]) -> None:
    """Write ``indexed.json``."""
    with replacing(folder / INFO) as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _against(
    lattice: Lattice, fit: FittedCell | None, center: FittedCenter | None
) -> Iterator[str]:
    """Say what the peaks have against the cell that was used, and against the beam centre."""
    if fit is not None and fit.is_given_one_wrong and lattice.cell == fit.given:
        size = f"{100 * abs(fit.larger_by):.1f} % {'larger' if fit.larger_by > 0 else 'smaller'}"
        yield (
            f"the peaks fit a cell that is {size} than the given one: that, the photon energy or "
            "the camera length is wrong"
        )
    if center is not None and center.is_given_one_wrong:
        (fs, ss), used = center.fitted, center.given
        yield (
            f"the peaks fit a beam centre of fs {fs:.1f}, ss {ss:.1f}, and {used[0]:.1f}, "
            f"{used[1]:.1f} was used"
        )


def _fit_told(fit: FittedCell | None) -> dict[str, Any] | None:
    """Return what ``indexed.json`` holds of the cell that the peaks fit."""
    if fit is None:
        return None
    return dataclasses.asdict(fit) | {"given": str(fit.given), "fitted": str(fit.fitted)}
