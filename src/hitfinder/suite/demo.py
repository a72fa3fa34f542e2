"""The demo: simulate frames, find and index the hits, compare with what was put in."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from hitfinder.crystal.cellfiles import write_cell_file
from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.orientation import from_columns
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.job.indexing.index import index
from hitfinder.job.indexing.indexed import IndexedRun
from hitfinder.job.run import run
from hitfinder.metrics.comparison import compare
from hitfinder.results.run import Run
from hitfinder.suite.demo_frames import TRUTH, DemoTruth, axes_of, simulate

log = logging.getLogger(__name__)

FLUXES = (1.0, 0.3, 0.1)
"""Share of the Bragg photons of a crystal that is hit in full."""

SHOTS = (1, 100)
"""Pulses whose water background is in a frame."""

CONDITIONS = tuple(itertools.product(SHOTS, FLUXES))
CELL_FILE = "proteinase.cell"
"""The unit cell of the crystals, for CrystFEL and `hitfinder index`."""

BLANK = -1
"""Number of the condition of blank frames."""

LEAST_PHOTONS = 8
"""Photons of a spot that should be found; weaker ones count neither as missed nor as false."""

RIGHT_DEG = 0.5
"""Angle within which an orientation is right."""


@dataclasses.dataclass
class Tally:
    """What became of the frames of one condition."""

    frames: int = 0
    hits: int = 0
    peaks: int = 0
    spots: int = 0
    found: int = 0
    false: int = 0

    def add(self, other: Tally) -> None:
        """Add the numbers of another tally."""
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, mine + theirs)


@dataclasses.dataclass(frozen=True, eq=False)
class Demo:
    """What the demo showed.

    Attributes
    ----------
    run : Run
        The run over the frames.
    truth : Path
        The table of what is in them.
    tallies : dict of int to Tally
        By condition, a number in `CONDITIONS` or `BLANK`.
    indexed : IndexedRun, optional
        What indexing found; None without hits.
    n_right : int
        Indexed hits whose orientation is right.
    """

    run: Run
    truth: Path
    tallies: dict[int, Tally]
    indexed: IndexedRun | None = None
    n_right: int = 0


def show(out: Path, n_frames: int, *, workers: int | None = None, overwrite: bool = False) -> Demo:
    """Simulate frames, find and index the hits, and compare with the truth.

    Parameters
    ----------
    out : Path
        Folder for frames and results.
    n_frames : int
        Frames, half of them blank.
    workers : int, optional
        Processes; as many as there are cores if None.
    overwrite : bool
        Replace an earlier demo.

    Raises
    ------
    HitfinderError
        If the folder cannot be used.
    KeyboardInterrupt
        If the run was interrupted.
    """
    began = time.perf_counter()
    master = out / "frames" / "demo_master.h5"
    log.info("simulating %d frames: %s", n_frames, master)
    truth = simulate(master, n_frames, CONDITIONS, overwrite=overwrite)
    factors = packaged_structure_factors()
    lattice = lattice_of(factors.cell, factors.space_group_name)
    write_cell_file(out / CELL_FILE, lattice)
    log.info("simulated in %.0f s", time.perf_counter() - began)
    done = run(master, out / "run", workers=workers, overwrite=overwrite)
    if not done.summary.complete:
        raise KeyboardInterrupt
    found = Demo(done, out / TRUTH, tallies(done, truth))
    if not done.summary.hits:
        return found
    indexed = index(done, lattice, workers=workers)
    right = n_right(indexed.table, truth, lattice)
    return dataclasses.replace(found, indexed=indexed, n_right=right)


def tallies(run: Run, truth: DemoTruth) -> dict[int, Tally]:
    """Compare the results of a run with the truth, condition by condition."""
    is_hit = np.asarray(run.frames["hit"])
    peaks = {name: run.peaks[name].to_numpy() for name in ("frame", "fs", "ss")}
    found = {int(condition): Tally() for condition in (BLANK, *np.unique(truth.condition))}
    for number, condition in enumerate(truth.condition):
        mine = peaks["frame"] == number
        judged = compare(
            {name: column[mine] for name, column in peaks.items()},
            truth.spots[truth.spots["frame"] == number],
            min_photons=LEAST_PHOTONS,
        )
        found[int(condition)].add(
            Tally(
                1,
                int(is_hit[number]),
                judged.n_found,
                judged.n_true,
                judged.n_matched,
                judged.n_false,
            )
        )
    return found


def n_right(crystals: pa.Table, truth: DemoTruth, lattice: Lattice) -> int:
    """Count the indexed hits whose crystal was simulated in that orientation."""
    right = 0
    for row in crystals.to_pylist():
        if row["indexed"] and truth.condition[row["frame"]] != BLANK:
            off = lattice.angle_deg(from_columns(row), axes_of(row["frame"]))
            right += off < RIGHT_DEG
    return right
