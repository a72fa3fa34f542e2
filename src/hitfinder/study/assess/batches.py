"""Frames of a tree predicted batch by batch, here or by the workers of an executor."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from hitfinder.executors.contract import Executor, results
from hitfinder.study.dataset.torch import FrameDataset, loader
from hitfinder.study.networks.trained import TrainedNetwork
from hitfinder.study.pipeline import Predictor

MadeT = TypeVar("MadeT")


@dataclasses.dataclass(frozen=True)
class FrameBatch:
    """Some of the frames that are predicted: a task.

    Attributes
    ----------
    start, stop : int
        Number of the first frame, and of the one after the last.
    """

    start: int
    stop: int

    def __str__(self) -> str:
        return f"frames {self.start} to {self.stop - 1}"


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionWork(Generic[MadeT]):
    """The work of predicting any batch of frames; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    trained : TrainedNetwork
        The network.
    device : str
        Where it is computed.
    frames : FrameDataset
        The frames.
    make : callable
        Turns a batch into what is wanted of it.
    """

    trained: TrainedNetwork
    device: str
    frames: FrameDataset
    make: Callable[[Predictor, Mapping[str, Any]], MadeT]

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FrameBatch], MadeT]]:
        """Load the network, and return a function that predicts a batch."""
        predictor = Predictor(self.trained, self.device)

        def predict(batch: FrameBatch) -> MadeT:
            return self.make(predictor, self.frames.batch([*range(batch.start, batch.stop)]))

        yield predict


def predicted(
    predictor: Predictor,
    frames: FrameDataset,
    batch_size: int,
    make: Callable[[Predictor, Mapping[str, Any]], MadeT],
    workers: int,
    executor: Executor | None,
) -> Iterator[MadeT]:
    """Yield what is made of the batches of all frames, in order.

    Parameters
    ----------
    predictor : Predictor
        The network.
    frames : FrameDataset
        The frames.
    batch_size : int
        Frames in a batch.
    make : callable
        Turns a batch into what is wanted of it.
    workers : int
        Processes that read, without an executor.
    executor : Executor, optional
        Has the frames read and predicted, instead of this process.

    Raises
    ------
    HitfinderError
        If a frame cannot be read, or a batch ends its worker each time.
    """
    if executor is None:
        for batch in loader(frames, batch_size, workers=workers):
            yield make(predictor, batch)
        return
    n = len(frames)
    tasks = (FrameBatch(start, min(start + batch_size, n)) for start in range(0, n, batch_size))
    work = PredictionWork(predictor.trained, str(predictor.device), frames, make)
    yield from results(executor.run(work, tasks, ordered=True))
