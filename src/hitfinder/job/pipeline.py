"""From a source of frames to results on disk: learn what is static, then search every chunk."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.executors.contract import Executor
from hitfinder.finding.settings import FinderSettings
from hitfinder.finding.static.places import Places
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.io.stream import FrameStream
from hitfinder.job.chunks import Chunk, ChunkWork
from hitfinder.job.chunksize import chunk_size
from hitfinder.job.flow import Flow
from hitfinder.job.static import learn_static
from hitfinder.progress import Advance
from hitfinder.results.store import Store

log = logging.getLogger(__name__)


def chunks_of(n_frames: int) -> Iterator[Chunk]:
    """Cut frames into chunks, the same way for any number of workers."""
    size = chunk_size(n_frames)
    for start in range(0, n_frames, size):
        yield Chunk(range(start, min(start + size, n_frames)), start)


def chunks_of_stream(stream: FrameStream) -> Iterator[Chunk | None]:
    """Gather the frames of a stream into chunks, which grow with the run.

    Yields
    ------
    Chunk or None
        None if there is no frame at the moment; what has come until then makes a chunk.
    """
    start, images = 0, dict[int, NDArray]()
    for image in stream:
        if image is not None:
            images[start + len(images)] = image
        if images and (image is None or len(images) >= chunk_size(start)):
            yield Chunk([*images], start, images)
            start, images = start + len(images), {}
        elif image is None:
            yield None
    if images:
        yield Chunk([*images], start, images)


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline:
    """Finds the peaks of all frames of a source and keeps the results in a store.

    Parameters
    ----------
    source : FrameSource or FrameStream
        Frames; must not have been read from yet.
    geometry : Geometry
        Geometry with every mask but the learnt one.
    settings : FinderSettings
        How peaks are found.
    store : Store
        Where results are kept; chunks that are there already are not done again, but for their
        frames that could not be had for want of a file or a worker.
    hot_pixel_frames : int
        Frames from which it is learnt what is static, evenly spaced; 0 to learn nothing. Nothing is
        learnt from a stream, whose frames come only once.
    estimate : bool
        Whether to estimate photon energy and camera length from the frames.
    """

    source: FrameSource | FrameStream
    geometry: Geometry
    settings: FinderSettings
    store: Store
    hot_pixel_frames: int = 64
    estimate: bool = True

    def static(self, executor: Executor) -> Places:
        """Learn, or load from the store, what does not move."""
        known = load_static(self.store)
        if known is not None:
            return known
        places = Places.none(self.source.shape)
        if self.hot_pixel_frames and isinstance(self.source, FrameSource):
            places = learn_static(self.source, self.geometry, self.hot_pixel_frames, executor)
        save_static(self.store, places)
        return places

    def run(self, executor: Executor, advance: Advance) -> Places:
        """Process the frames that are not done yet.

        Parameters
        ----------
        executor : Executor
            Has the frames processed; the results do not depend on it.
        advance : Advance
            Told of the frames that are done, once at the start and then by the chunk.

        Returns
        -------
        Places
            What is static, and was masked.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; what was finished before is in the store.
        HitfinderError
            If results cannot be written or no worker can work.
        """
        advance(self.store.counts.frames, str(self.store.counts))
        static = self.static(executor)
        log.info("static pixels masked: %d in %d places", static.mask.sum(), len(static.masked))
        geometry = dataclasses.replace(
            self.geometry, detector=self.geometry.detector.with_mask(static.mask)
        )
        chunks: Iterable[Chunk | None]
        if isinstance(self.source, FrameSource):
            readable = self.source
            again = [Chunk(f.tolist(), home) for home, f in self.store.wanting().items()]
            fresh = (c for c in chunks_of(len(readable)) if c.home not in self.store.done)
            chunks = itertools.chain(fresh, again)
        else:
            readable, chunks = None, chunks_of_stream(self.source)
        shape, dtype = self.source.shape, self.source.dtype
        work = ChunkWork(readable, shape, dtype, geometry, self.settings, self.estimate)
        flow = Flow(chunks)
        for outcome in executor.run(work, flow.tasks()):
            if (settled := flow.settle(outcome)) is not None:
                chunk, result = settled
                before = self.store.counts.frames
                self.store.add(chunk.home, result)
                advance(self.store.counts.frames - before, str(self.store.counts))
        log.debug("the frames are searched")
        return static


def save_static(store: Store, places: Places) -> None:
    """Keep what was learnt to be static."""
    store.save_array("static-places", places.table)
    store.save_array("static-frames", np.array(places.n_looked))
    store.save_array("static-mask", places.mask)


def load_static(store: Store) -> Places | None:
    """Return what an unfinished run has learnt to be static; None if it has not."""
    names = ("static-places", "static-mask", "static-frames")
    table, mask, n_looked = (store.load_array(name) for name in names)
    if table is None or mask is None or n_looked is None:
        return None
    return Places(table, mask, int(n_looked))
