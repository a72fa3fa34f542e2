"""The work of simulating frames, as an executor spreads it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from hitfinder.io.write import FramePacker
from hitfinder.simulation.frame import SimulatedFrame
from hitfinder.simulation.simulator import Simulator

_NO_PIXELS = np.empty((0, 0), np.uint16)


class FrameNumber(int):
    """Number of a frame to simulate: a task."""

    def __str__(self) -> str:
        return f"frame {int(self)}"


PackedFrame = tuple[bytes, SimulatedFrame]
"""The counts of a frame as they stand in a file, and the frame without them."""


@dataclasses.dataclass(frozen=True, eq=False)
class FrameWork:
    """The work of making any frame; see `hitfinder.executors.contract.Work`.

    Frames are packed where they are made: that takes as long as simulating a sparse one, and what
    is sent is a fraction of its size.

    Attributes
    ----------
    simulator : Simulator
        What makes frames.
    packer : FramePacker
        What packs their counts.
    """

    simulator: Simulator
    packer: FramePacker

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[FrameNumber], PackedFrame]]:
        """Return a function that makes a frame."""
        buffer = np.empty(self.simulator.shape, self.simulator.dtype)

        def make(number: FrameNumber) -> PackedFrame:
            frame = self.simulator.frame(number, buffer)
            return self.packer.pack(frame.counts), dataclasses.replace(frame, counts=_NO_PIXELS)

        yield make
