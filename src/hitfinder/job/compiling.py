"""Compiling before it is needed: as a step of an installation, not of the first run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from hitfinder.executors.contract import Executor, results
from hitfinder.finding.settings import FinderSettings
from hitfinder.io.memory import ArraySource
from hitfinder.job.chunks import Chunk, ChunkWork
from hitfinder.job.live.warm import COUNTS, WarmUp
from hitfinder.job.made_up import made_up_frames, small_geometry
from hitfinder.job.static import learn_static
from hitfinder.lazy import import_all
from hitfinder.progress import Advance
from hitfinder.report.detector_view import DetectorView

_FINDERS = ("network", "likelihood")
"""Those of the registry that look at frames with compiled code."""


def compile_ahead(executor: Executor, advance: Advance) -> None:
    """Compile what finds hits in files and in streams, what simulates frames and what indexes them.

    Frames of each kind are made up and gone through; Numba keeps what it compiles.

    Parameters
    ----------
    executor : Executor
        Whose workers compile, each something else.
    advance : Advance
        Told of each of `STEPS` that is done.

    Raises
    ------
    HitfinderError
        If something cannot be compiled.
    """
    for _ in results(executor.run(CompileWork(), STEPS)):
        advance(1)


@dataclasses.dataclass(frozen=True)
class CompileWork:
    """The work of compiling; see `hitfinder.executors.contract.Work`. A task is one of `STEPS`."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[str], None]]:
        """Return a function that does a step."""
        yield lambda step: _STEPS[step]()


def _search_files(dtype: np.dtype) -> None:
    geometry, frames = small_geometry(), made_up_frames(dtype)
    learn_static(ArraySource(frames), geometry)
    for finder in _FINDERS:
        settings = FinderSettings(finder=finder)
        work = ChunkWork(ArraySource(frames), geometry.shape, frames.dtype, geometry, settings)
        with work.opened() as find:
            found = find(Chunk(range(len(frames)), 0))
        if found.problems:
            raise RuntimeError(f"made-up frames cannot be searched: {found.problems}")
    DetectorView.of(geometry, 2.0).mean_image(frames[0])


def _search_streams() -> None:
    for dtype in COUNTS:
        with WarmUp(FinderSettings(), estimate=True).opened() as search:
            search(dtype)


def _simulate() -> None:
    # Slow to import.
    from hitfinder.simulation.simulator import Simulator

    for name in ("single-shot", "integrated"):
        Simulator.preset(name)[0]


def _index() -> None:
    # Slow to import.
    from hitfinder.crystal.lattice import lattice_of
    from hitfinder.crystal.tables import packaged_structure_factors
    from hitfinder.indexing.batch import FramePeaks, PeaksWork
    from hitfinder.indexing.indexer import USUAL_BANDWIDTH, Indexer
    from hitfinder.job.indexing.integrate import CrystalsTask, MeasuringWork
    from hitfinder.job.indexing.pixels import PixelTask, PixelWork

    geometry, source = small_geometry(), ArraySource(made_up_frames(np.dtype(np.uint16)))
    beam = geometry.photon_energy_ev, geometry.camera_length_m
    known = packaged_structure_factors()
    lattice = lattice_of(known.cell, known.space_group_name)
    for factors in (known, None):
        crystal = source, geometry, lattice, factors, USUAL_BANDWIDTH
        with PixelWork(*crystal).opened() as search:
            search(PixelTask(0, *beam, scramble=1))
            found = search(PixelTask(4, *beam)) or []
            search(PixelTask(4, *beam, taken=tuple(found[:1])))
    axes = (found[0].turn @ lattice.cell.reciprocal,)
    for mosaicity_deg, spread_px in ((None, None), (0.1, None), (0.1, 0.4)):
        with MeasuringWork(*crystal, mosaicity_deg, spread_px).opened() as measure:
            measure(CrystalsTask(0, *beam, axes))
    ss, fs = np.argwhere(source.read(0) >= 40).T + 0.5
    peaks = FramePeaks(0, geometry.scattering_vectors(fs, ss), np.ones(len(fs)))
    with PeaksWork(Indexer(lattice, 0.3, geometry.pixel_inv_a), -np.inf, 2).opened() as index:
        index(peaks)


def _import() -> None:
    # Slow to import.
    from hitfinder.job.outputs.page import ReportOutput
    from hitfinder.job.run import AFTER_OPENING

    import_all([*AFTER_OPENING, *ReportOutput.imports])


# The longest first, and what shares most with another step after it.
_STEPS: dict[str, Callable[[], None]] = {
    "files of 16 bits": lambda: _search_files(np.dtype(np.uint16)),
    "indexing": _index,
    "simulation": _simulate,
    "files of 32 bits": lambda: _search_files(np.dtype(np.uint32)),
    "streams": _search_streams,
    "bytecode of what runs import": _import,
}

STEPS = tuple(_STEPS)
"""What is compiled."""
