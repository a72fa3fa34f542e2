"""From a source of frames to results on disk: learn hot pixels, then every chunk in a worker."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.executors.contract import Executor, Lost
from hitfinder.finding.contract import Finder
from hitfinder.finding.registry import FINDERS, make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.progress import Advance
from hitfinder.results.store import Store
from hitfinder.run.chunks import Chunk, ChunkWork
from hitfinder.run.hotpixels import learn_hot_pixels

log = logging.getLogger(__name__)

SMALLEST_CHUNK, LARGEST_CHUNK, CHUNKS = 8, 256, 512
"""Frames in a chunk, within limits such that a job has about so many chunks."""


def chunks_of(n_frames: int) -> Iterator[Chunk]:
    """Cut frames into chunks, the same way for any number of workers.

    Small chunks lose little when a job is killed; large ones keep the number of files down.
    """
    size = int(np.clip(n_frames // CHUNKS, SMALLEST_CHUNK, LARGEST_CHUNK))
    for start in range(0, n_frames, size):
        yield Chunk(start, min(start + size, n_frames))


def try_out(source: FrameSource, geometry: Geometry, settings: FinderSettings) -> Finder:
    """Process an empty frame: what is wrong with the settings shows before anything is done.

    It also compiles, or loads what was compiled before, once for all workers.

    Returns
    -------
    Finder
        The one that was tried.

    Raises
    ------
    HitfinderError
        If there can be no such finder, or one of another package fails.
    """
    finder, found = make_finder(geometry, settings), FINDERS.find(settings.finder)
    try:
        finder(np.zeros(source.shape, source.dtype))
    except HitfinderError:
        raise
    except Exception as error:
        if found.is_ours:
            raise
        log.debug("finder %r", settings.finder, exc_info=True)
        kind = type(error).__name__
        what = f"finder {settings.finder!r} fails on an empty frame ({kind}: {error})"
        raise ConfigError(what, hint=f"It is from {found.origin}.") from error
    return finder


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """Finds the peaks of all frames of a source and keeps the results in a store.

    Parameters
    ----------
    source : FrameSource
        Frames; must not have been read from yet.
    geometry : Geometry
        Geometry with every mask but the learnt one.
    settings : FinderSettings
        How peaks are found.
    store : Store
        Where results are kept; chunks that are there already are not done again.
    hot_pixel_frames : int
        Frames from which hot pixels are learnt, evenly spaced; 0 to learn none.
    estimate : bool
        Whether to estimate photon energy and camera length from the frames.
    """

    source: FrameSource
    geometry: Geometry
    settings: FinderSettings
    store: Store
    hot_pixel_frames: int = 64
    estimate: bool = True

    def hot_pixels(self) -> NDArray[np.bool_]:
        """Learn, or load from the store, the pixels that are hot; shape of a frame."""
        known = self.store.load_array("hot")
        if known is not None:
            return known
        if not self.hot_pixel_frames:
            hot = np.zeros(self.source.shape, bool)
        else:
            # Reading opens files, and workers need a source that is not open.
            with copy.deepcopy(self.source) as source:
                hot = learn_hot_pixels(source, self.geometry, self.hot_pixel_frames)
        self.store.save_array("hot", hot)
        return hot

    def run(self, executor: Executor, advance: Advance) -> NDArray[np.bool_]:
        """Process the frames that are not done yet.

        Parameters
        ----------
        executor : Executor
            Has the frames processed; the results do not depend on it.
        advance : Advance
            Told of the frames that are done, once at the start and then by the chunk.

        Returns
        -------
        ndarray of bool
            The hot pixels that were masked.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; what was finished before is in the store.
        HitfinderError
            If results cannot be written or no worker can work.
        """
        advance(self.store.counts.frames, str(self.store.counts))
        hot = self.hot_pixels()
        log.info("hot pixels masked: %d", hot.sum())
        geometry = dataclasses.replace(
            self.geometry, detector=self.geometry.detector.with_mask(hot)
        )
        work = ChunkWork(self.source, geometry, self.settings, self.estimate)
        todo = (c for c in chunks_of(len(self.source)) if c.start not in self.store.done)
        for outcome in executor.run(work, todo):
            if isinstance(outcome, Lost):
                part, image = work.lost(outcome.task, outcome.why)
            else:
                part, image = outcome.result
            self.store.add(part, image)
            advance(len(part.rows), str(self.store.counts))
        return hot
