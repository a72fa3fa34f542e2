"""The frames of a run, read for the page by their number."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import threading

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError, SourceError
from hitfinder.experiment.experiment import Experiment
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameRef, FrameSource
from hitfinder.monitor.packing import Packed, pack_frame
from hitfinder.monitor.shards import SHARDS, HitShards
from hitfinder.results.run import Run

KEPT = 3
"""Frames that are kept packed, so that several readers of one frame cost one reading."""


class RunFrames:
    """Reads the frames of a run as the run had them. May be used by several threads.

    Parameters
    ----------
    run : Run
        The run.
    n_frames : int
        Frames in its table.

    Attributes
    ----------
    geometry : Geometry or None
        Where the pixels are, with the masks of the run; None if nothing tells.
    problem : str
        Why no frame can be had; empty if some can.
    """

    def __init__(self, run: Run, n_frames: int) -> None:
        self._run = run
        self._one_at_a_time = threading.Lock()
        self._source: FrameSource | None = None
        self._kept: collections.OrderedDict[int, Packed] = collections.OrderedDict()
        self.geometry: Geometry | None = None
        self.problem = ""
        self._shards: HitShards | None = None
        if (run.folder / SHARDS).is_dir():
            self._shards = HitShards(run.folder)
            self.geometry = self._shards.geometry()
            return
        with contextlib.suppress(HitfinderError):
            self.geometry = run.geometry
        try:
            experiment = _opened(run, self.geometry)
        except (HitfinderError, ValueError) as error:
            self.problem = str(error)
            return
        self._take(experiment, n_frames)

    def _take(self, experiment: Experiment, n_frames: int) -> None:
        if len(experiment.source) != n_frames:
            self.problem = (
                f"the files hold {len(experiment.source)} frames, and the run had {n_frames}: "
                "they are not those of the run any more"
            )
            return
        self._source = experiment.source
        mask = None if self.geometry is None else self.geometry.detector.full_mask
        if self.geometry is None or self.geometry.shape != experiment.geometry.shape:
            mask = None
        # The run's own geometry, to the last digit; its file of the hits tells what it masked.
        detector = experiment.geometry.detector
        if mask is not None:
            detector = detector.with_mask(mask)
        self.geometry = dataclasses.replace(experiment.geometry, detector=detector)

    def packed(self, number: int) -> Packed:
        """Return a frame, in photons, as the page receives it.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        with self._one_at_a_time:
            if number not in self._kept:
                self._kept[number] = pack_frame(self._read(number))
            self._kept.move_to_end(number)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return self._kept[number]

    def _read(self, number: int) -> NDArray:
        if self._source is not None:
            return np.asarray(self._source.read(number))
        if self._shards is not None:
            return self._shards.read(number)
        raise SourceError("missing-file", self.problem)

    def ref(self, number: int) -> FrameRef:
        """Return where a frame is kept; names that say nothing if nobody knows."""
        if self._source is not None:
            return self._source.ref(number)
        try:
            return self._run.ref(number)
        except HitfinderError:
            return FrameRef("", "")

    @property
    def waits(self) -> bool:
        """Whether this is of a live run that has not found its first hit."""
        return self._shards is not None and self.geometry is None

    def close(self) -> None:
        """Close the files."""
        if self._source is not None:
            self._source.close()


def _opened(run: Run, geometry: Geometry | None) -> Experiment:
    in_python = geometry if run.has_given_geometry else None
    return run.open_experiment(in_python)
