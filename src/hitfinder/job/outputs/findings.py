"""What a job has found, as its outputs see it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.executors.beside import Beside
from hitfinder.experiment.experiment import Experiment
from hitfinder.export.hits import Hit
from hitfinder.export.tables import ROWS_PER_GROUP
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef
from hitfinder.report.evidence import HitEvidence
from hitfinder.results.chunk import OK, PENDING, ChunkResult
from hitfinder.results.crystalhits import CrystalEvidence
from hitfinder.results.doubts import Doubts
from hitfinder.results.finished import FinishedResults
from hitfinder.results.store import Store
from hitfinder.results.totals import Totals


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """The results of a job, finished or not, in frame order, as often as they are asked for.

    They are read from disk chunk by chunk, so that memory does not grow with the run.

    Attributes
    ----------
    experiment : Experiment
        The frames: ``stored`` as they are in the files, ``source`` in photons.
    geometry : Geometry
        Geometry with every mask, static pixels too.
    store : Store or FinishedResults
        Where the results are kept.
    about : mapping
        What ``run.json`` will say of the run.
    n_frames : int or None
        Frames of the run; None if nobody knows how many there are.
    crystal : CrystalEvidence, optional
        What a known crystal says of the frames, where they were searched for it.
    beside : Beside
        What workers do while outputs are written.
    lost : dict
        Hits whose frames could not be read again when they were to be handed on, and why; outputs
        add to it.
    """

    experiment: Experiment
    geometry: Geometry
    store: Store | FinishedResults
    about: Mapping[str, Any]
    n_frames: int | None = None
    crystal: CrystalEvidence | None = None
    beside: Beside = dataclasses.field(default_factory=Beside)
    lost: dict[int, SourceError] = dataclasses.field(default_factory=dict)

    @property
    def wanting(self) -> int:
        """Frames and hits that could not be had, and that a resumed job tries again."""
        return self.store.counts.wanting + len(self.lost)

    @property
    def totals(self) -> Totals:
        """What is added up over the frames."""
        return self.store.totals

    def lose(self, hit: Hit, error: SourceError) -> None:
        """Note a hit that cannot be handed on, since its frame cannot be read any more."""
        self.lost[hit.frame] = error

    def ref(self, frame: int) -> FrameRef:
        """Return where a frame is kept."""
        return self.experiment.stored.ref(frame)

    @functools.cached_property
    def doubts(self) -> Doubts:
        """What the run says of its doubtful hits."""
        hits_from = self.about["hits_from"]
        if hits_from["false_hits"] is None:
            return Doubts(0.0)
        n_pixels = int((~self.geometry.detector.full_mask).sum())
        return Doubts.of(self.store.chunks, hits_from["score"], n_pixels)

    def _decided(self) -> Iterator[ChunkResult]:
        """Yield the results of the store, doubtful hits and those by the crystal decided."""
        for chunk in self.store.chunks():
            decided = self.doubts.decided(chunk)
            if self.crystal is not None:
                decided = self.crystal.decided(decided)
            yield decided

    def chunks(self) -> Iterator[ChunkResult]:
        """Yield the results chunk by chunk; frames that are not done yet are ``pending``."""
        at = 0
        for chunk in self._decided():
            if self.n_frames is not None:
                yield from _pending(at, int(chunk.frames[0]))
            yield chunk
            at = int(chunk.frames[-1]) + 1
        if self.n_frames is not None:
            yield from _pending(at, self.n_frames)

    def hits(self) -> Iterator[Hit]:
        """Yield the hits."""
        for chunk in self._decided():
            ends = np.cumsum(chunk.rows["n_peaks"])
            for row in np.flatnonzero(chunk.rows["hit"]):
                found, index = chunk.rows[row], int(chunk.frames[row])
                peaks = chunk.peaks[ends[row] - found["n_peaks"] : ends[row]]
                energy, length = self.experiment.of_frame(index)
                yield Hit(index, peaks, found, energy, length)


@dataclasses.dataclass(eq=False)
class FrameCounts:
    """Frames of a run counted.

    Attributes
    ----------
    frames, processed, hits, peaks : int
        All frames, those with results, hits, and peaks of all frames.
    frames_with_peaks_left_out : int
        Frames with more peaks than are looked at, whose weakest are left out.
    doubtful_hits, doubted_frames : int
        Hits that rest on one thing that may be no Bragg peak, and frames that are no hits for it.
    by_status : dict of str to int
        Frames by their status.
    background : ndarray of float32, shape (processed,)
        Expected background per pixel of the frames with results, in photons.
    evidence : HitEvidence
        What the hits are like.
    """

    frames: int
    processed: int
    hits: int
    peaks: int
    frames_with_peaks_left_out: int
    doubtful_hits: int
    doubted_frames: int
    by_status: dict[str, int]
    background: NDArray[np.float32]
    evidence: HitEvidence

    @staticmethod
    def of(found: Findings) -> FrameCounts:
        """Count the frames of a run."""
        evidence = HitEvidence(found.geometry, found.about["static"])
        counts = FrameCounts(*7 * (0,), {}, np.empty(0, np.float32), evidence)
        background = [counts.background]
        for chunk in found.chunks():
            evidence.add(chunk)
            ok = chunk.rows["status"] == OK
            counts.frames += len(ok)
            counts.processed += int(ok.sum())
            counts.hits += int(chunk.rows["hit"].sum())
            counts.peaks += len(chunk.peaks)
            counts.frames_with_peaks_left_out += int(chunk.rows["peaks_left_out"].sum())
            doubted = chunk.rows["doubt"] != ""
            counts.doubtful_hits += int((doubted & chunk.rows["hit"]).sum())
            counts.doubted_frames += int((doubted & ~chunk.rows["hit"]).sum())
            statuses = np.unique(chunk.rows["status"], return_counts=True)
            for status, n in zip(*statuses, strict=True):
                counts.by_status[str(status)] = counts.by_status.get(str(status), 0) + int(n)
            background.append(chunk.rows["background_per_pixel"][ok].astype(np.float32))
        counts.background = np.concatenate(background)
        return counts

    def told(self) -> dict[str, Any]:
        """Return what ``run.json`` says of them."""
        names = [field.name for field in dataclasses.fields(self)]
        kept = [name for name in names if name not in ("background", "evidence")]
        return {name: getattr(self, name) for name in kept}


def _pending(start: int, stop: int) -> Iterator[ChunkResult]:
    for at in range(start, stop, ROWS_PER_GROUP):
        frames = range(at, min(at + ROWS_PER_GROUP, stop))
        yield ChunkResult.without_results(frames, PENDING)
