"""Measure the reflections of the crystals that were found in a run's frames."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.crystal.lattice import Lattice
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.executors.contract import Done, Executor
from hitfinder.experiment.experiment import Experiment
from hitfinder.export import tables
from hitfinder.export.stream import StreamCrystal, StreamFrame, panel_numbers, stream_writer
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.intensities.measure import measure, spread_evidence
from hitfinder.indexing.intensities.prediction import ReflectionModel
from hitfinder.indexing.intensities.statistics import by_shell
from hitfinder.indexing.known.background import background_image
from hitfinder.io.source import FrameRef
from hitfinder.job.indexing.frames import frames_of
from hitfinder.job.indexing.work import CrystalWork
from hitfinder.progress import Advance
from hitfinder.report.intensities import intensities_part
from hitfinder.report.summary import renewed
from hitfinder.results.hits import HITS_CXI, HITS_GEOM, PEAKS, hit_rows
from hitfinder.results.run import REFLECTIONS, STREAM, Run

log = logging.getLogger(__name__)

SPREADS_PX = (0.05, 0.15, 0.25, 0.4, 0.6, 0.9, 1.3)
"""Of spots about where they are predicted, between which that of a run is sought (standard
deviation). A width a fifth too large makes intensities over much background a fifth too high."""

MOSAICITIES_DEG = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Standard deviations of the turns of mosaic blocks, to choose from for a run. The least two also
make up for lattice points of crystals of 2 and 1 µm, wider than those that are predicted."""

SPREAD_FRAMES, MOSAIC_FRAMES = 30, 10
"""Frames that they are chosen by, those with the most peaks."""

_USUAL_SPREAD_PX = 0.4
"""Spread by which the mosaicity is chosen."""

SEEN_SIGMAS, SEEN_SHARE = 3.0, 0.95
"""A crystal diffracts to where this share of its reflections above so many sigmas lie."""

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class CrystalsTask:
    """The crystals of a frame, to be measured.

    Attributes
    ----------
    frame : int
        Its number.
    photon_energy_ev, camera_length_m : float
        Those of the frame.
    axes : tuple of ndarray, each of shape (3, 3)
        Reciprocal axes of each crystal as columns, in Å⁻¹.
    """

    frame: int
    photon_energy_ev: float
    camera_length_m: float
    axes: tuple[Floats, ...]

    def __str__(self) -> str:
        return f"frame {self.frame}"


@dataclasses.dataclass(frozen=True)
class MeasuringWork(CrystalWork[CrystalsTask, ReflectionModel, Any]):
    """The work of measuring any frame.

    Its result is, for each crystal, the table and scale of `measure`; or, while mosaicity or spread
    are to be chosen, the evidence for each of `MOSAICITIES_DEG` or `SPREADS_PX`.

    Attributes
    ----------
    mosaicity_deg : float or None
        Standard deviation of the turns of mosaic blocks, in degrees; None to choose one.
    spread_px : float or None
        Standard deviation of spots about where they are predicted; None to choose one.
    """

    mosaicity_deg: float | None = None
    spread_px: float | None = None

    def model(self, geometry: Geometry) -> ReflectionModel:
        """Prepare for the crystals in a beam."""
        return ReflectionModel.of(
            self.lattice, geometry, factors=self.factors, bandwidth=self.bandwidth
        )

    def look(
        self,
        task: CrystalsTask,
        model: ReflectionModel,
        finder: LikelihoodFinder,
        counts: NDArray[np.int32],
        rate: NDArray[np.float64],
    ) -> list[Any]:
        """Measure the crystals of a frame."""
        background = background_image(counts, finder.rings, rate)
        if self.mosaicity_deg is None or self.spread_px is None:
            evidence = (
                spread_evidence(model.predict(task.axes[0], *tried), counts, background)
                for tried in self._tried
            )
            if self.mosaicity_deg is None:
                # With more mosaicity far more reflections overlap, which takes minutes to solve.
                return until_they_fall(evidence, len(self._tried))
            return list(evidence)
        mosaicity = math.radians(self.mosaicity_deg)
        predicted = [model.predict(axes, self.spread_px, mosaicity) for axes in task.axes]
        return measure(predicted, counts, background)

    @property
    def _tried(self) -> list[tuple[float, float]]:
        """Spreads and mosaicities, in rad, between which is to be chosen."""
        if self.mosaicity_deg is None:
            return [(_USUAL_SPREAD_PX, math.radians(deg)) for deg in MOSAICITIES_DEG]
        return [(spread, math.radians(self.mosaicity_deg)) for spread in SPREADS_PX]


def until_they_fall(values: Iterable[float], n: int) -> list[float]:
    """Return so many values, those after two that fall in a row not worked out: -inf.

    Parameters
    ----------
    values : iterable of float
        Where a maximum is sought.
    n : int
        How many there would be.
    """
    found: list[float] = []
    for value in values:
        found.append(value)
        if len(found) > 2 and found[-1] < found[-2] < found[-3]:
            break
    return found + [-math.inf] * (n - len(found))


def likeliest(values: Sequence[float], evidence: Floats) -> float:
    """Return where a parabola through the highest evidence and those beside it is highest.

    Parameters
    ----------
    values : sequence of float
        What was tried, above 0 and rising; the parabola is of their logarithms.
    evidence : ndarray, shape (n,)
        Log likelihood of each.
    """
    best = int(evidence.argmax())
    if not 0 < best < len(evidence) - 1:
        return values[best]
    three = slice(best - 1, best + 2)
    away = np.log(np.array(values[three]) / values[best])
    curvature, slope, _ = np.polyfit(away, evidence[three], 2)
    return float(values[best] * np.exp(-slope / (2 * curvature))) if curvature < 0 else values[best]


@dataclasses.dataclass(frozen=True)
class MeasuredRun:
    """What was measured.

    Attributes
    ----------
    frames, crystals, reflections : int
        How many.
    spread_px : float
        Standard deviation of spots about where they are predicted, by which it was done.
    mosaicity_deg : float
        That of the turns of mosaic blocks, in degrees.
    wanting : int
        Frames that could not be read, or ended the workers.
    """

    frames: int
    crystals: int
    reflections: int
    spread_px: float
    mosaicity_deg: float
    wanting: int


def measure_reflections(
    run: Run,
    lattice: Lattice,
    factors: StructureFactors | None,
    solved: Mapping[int, Sequence[Floats]],
    *,
    bandwidth: float,
    executor: Executor,
    csv: bool,
    show: Callable[[str, int], contextlib.AbstractContextManager[Advance]],
) -> MeasuredRun:
    """Measure the reflections of a run's crystals; write them as Parquet and as a stream.

    Parameters
    ----------
    run : Run
        The run, whose input files must still be there.
    lattice : Lattice
        Of the crystals.
    factors : StructureFactors, optional
        Their |F|², if known.
    solved : mapping of int to sequence of ndarray
        For each indexed frame, the reciprocal axes of its crystals.
    bandwidth : float
        Relative bandwidth of the beam, full width.
    executor : Executor
        Has the frames measured.
    csv : bool
        Write the table as CSV too.
    show : callable
        As `hitfinder.progress.counting`.

    Raises
    ------
    HitfinderError
        If the run's frames cannot be found any more, or the folder cannot be written to.
    """
    experiment, geometry = frames_of(run)
    work = MeasuringWork(experiment.source, geometry, lattice, factors, bandwidth)
    tasks = [
        CrystalsTask(frame, *experiment.of_frame(frame), tuple(solved[frame]))
        for frame in sorted(solved)
    ]
    best = _best(run, tasks)
    evidence = _evidence(work, best[:MOSAIC_FRAMES], executor)
    # Where an orientation is not quite right, mosaicity makes up for it: the median leaves it out.
    mosaicity = MOSAICITIES_DEG[int(np.median(evidence.argmax(1)))]
    work = dataclasses.replace(work, mosaicity_deg=mosaicity)
    spread = likeliest(SPREADS_PX, _evidence(work, best, executor).sum(0))
    work = dataclasses.replace(work, spread_px=spread)
    output = _Outputs(run, lattice, geometry, experiment)
    geom = (run.folder / HITS_GEOM).read_text(encoding="utf-8")
    n_frames = n_crystals = 0
    with (
        tables.table_writer(run.folder / REFLECTIONS, tables.reflection_schema(), csv=csv) as table,
        stream_writer(
            run.folder / STREAM, lattice, geometry, geom, bandwidth, math.radians(mosaicity)
        ) as stream,
        show("intensities", len(tasks)) as advance,
    ):
        for outcome in executor.run(work, tasks, ordered=True):
            found = outcome.result if isinstance(outcome, Done) else []
            if found:
                for number, (reflections, _) in enumerate(found):
                    table.add(output.columns(outcome.task.frame, number, reflections))
                n_frames, n_crystals = n_frames + 1, n_crystals + len(found)
                stream.add(output.frame(outcome.task, [one for one, _ in found], n_frames))
            advance(1)
    _report(run, lattice, n_frames)
    wanting = len(tasks) - n_frames
    return MeasuredRun(n_frames, n_crystals, table.rows, spread, mosaicity, wanting)


def _report(run: Run, lattice: Lattice, n_frames: int) -> None:
    """Tell of the intensities in the report of the run, if it has one."""
    if not run.report.exists():
        return
    table = run.reflections
    names = ("intensity", "sigma", "weight", "expected")
    columns = [table[name].to_numpy().astype(float) for name in names]
    hkl = np.stack([table[name].to_numpy() for name in "hkl"], 1)
    part = intensities_part(by_shell(lattice, hkl, *columns), n_frames)
    page = run.report.read_text(encoding="utf-8")
    with replacing(run.report) as part_file:
        part_file.write_text(renewed(page, part), encoding="utf-8")


def _best(run: Run, tasks: list[CrystalsTask]) -> list[CrystalsTask]:
    """Return the frames with the most peaks."""
    n_peaks = run.frames["n_peaks"].to_numpy()
    return sorted(tasks, key=lambda task: (-n_peaks[task.frame], task.frame))[:SPREAD_FRAMES]


def _evidence(work: MeasuringWork, tasks: list[CrystalsTask], executor: Executor) -> Floats:
    """Return the evidence of each frame for each of the values that `work` tries, in order."""
    outcomes = executor.run(work, tasks, ordered=True)
    found = [o.result for o in outcomes if isinstance(o, Done) and o.result]
    return np.array(found or [[1.0]])


class _Outputs:
    """Turns measured reflections into rows of the table and frames of the stream."""

    def __init__(
        self, run: Run, lattice: Lattice, geometry: Geometry, experiment: Experiment
    ) -> None:
        self._run, self._experiment = run, experiment
        self._panels = panel_numbers(geometry)
        self._names = np.array([panel.name for panel in geometry.detector], object)
        self._hits = {int(row): number for number, row in enumerate(hit_rows(run.folder))}
        names = ["frame", "fs", "ss", "resolution_a", "photons"]
        peaks = pyarrow.parquet.read_table(run.folder / PEAKS, columns=names)
        self._peaks = np.stack([peaks[name].to_numpy().astype(float) for name in names], 1)
        self._peaks[:, 3] = 1 / self._peaks[:, 3]

    def columns(self, frame: int, crystal: int, found: NDArray[np.void]) -> dict[str, Any]:
        """Return reflections as columns of the table."""
        given = {"frame": np.full(len(found), frame), "crystal": np.full(len(found), crystal)}
        given["panel"] = self._names[self._panels[found["ss"].astype(int), found["fs"].astype(int)]]
        given["expected"] = np.where(np.isfinite(found["f_squared"]), found["expected"], np.nan)
        rest = (name for name in tables.REFLECTION_COLUMNS if name not in given)
        return given | {name: found[name] for name in rest}

    def frame(
        self, task: CrystalsTask, found: Sequence[NDArray[np.void]], number: int
    ) -> StreamFrame:
        """Return a frame as a stream has it: hits by their place in ``hits.cxi``."""
        if task.frame in self._hits:
            cxi: Path = self._run.folder / HITS_CXI
            ref = FrameRef(str(cxi.resolve()), f"//{self._hits[task.frame]}")
        else:
            ref = self._run.ref(task.frame)
        first, last = np.searchsorted(self._peaks[:, 0], [task.frame, task.frame + 1])
        return StreamFrame(
            ref,
            number,
            task.photon_energy_ev,
            task.camera_length_m,
            self._peaks[first:last, 1:],
            [stream_crystal(axes, one) for axes, one in zip(task.axes, found, strict=True)],
        )


def stream_crystal(axes: Floats, found: NDArray[np.void]) -> StreamCrystal:
    """Return a crystal's reflections as a stream has them.

    CrystFEL takes intensities for proportional to |F|² but for the polarisation, which it corrects
    itself. So photons are divided by the rest of the weight.

    Parameters
    ----------
    axes : ndarray, shape (3, 3)
        Reciprocal axes as columns, in Å⁻¹.
    found : structured ndarray of REFLECTION_DTYPE
        Its reflections.
    """
    factor = found["polarisation"] / found["weight"]
    seen = found["intensity"] > SEEN_SIGMAS * found["sigma"]
    inv_d = 1 / found["resolution_a"]
    some = inv_d[seen] if seen.any() else inv_d
    return StreamCrystal(
        axes,
        np.stack([found[name] for name in "hkl"], 1),
        np.stack(
            [
                found["intensity"] * factor,
                found["sigma"] * factor,
                found["maximum"],
                found["background"] / np.maximum(found["n_pixels"], 1),
                found["fs"],
                found["ss"],
            ],
            1,
        ),
        float(np.quantile(some, SEEN_SHARE)) if len(some) else 0.0,
    )
