"""The work of simulating the frames of a data file, as an executor spreads it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hitfinder.atomic import replacing
from hitfinder.io.datafile import DataFile
from hitfinder.io.write import mark, marked_pixels
from hitfinder.simulation.detector import shot_geometry
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.tables import tables_written


class FrameNumber(int):
    """Number of a frame to simulate: a task."""

    def __str__(self) -> str:
        return f"frame {int(self)}"


@dataclasses.dataclass(frozen=True)
class SeriesTask:
    """A data file to write: a task.

    Attributes
    ----------
    number : int
        Its number, from 1.
    first, last : int
        Its first frame, and the first that is not in it.
    """

    number: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"data file {self.number}"

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def suffix(self) -> str:
        """What the names of its files end in."""
        return f"_{self.number:06d}"


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesWork:
    """The work of writing any data file; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    simulator : Simulator
        What makes frames.
    folder : Path
        Folder for data files, and the tables of each.
    """

    simulator: Simulator
    folder: Path

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[SeriesTask], int]]:
        """Return a function that writes a data file and its tables, and returns its frames."""
        simulator = self.simulator
        buffer = np.empty(simulator.shape, simulator.dtype)
        marked = marked_pixels(simulator.geometry, simulator.dtype)

        def make(task: SeriesTask) -> int:
            path = self.path(task)
            # The data file appears last: where it is, the tables are.
            with (
                replacing(path) as part,
                DataFile(
                    part, simulator.shape, simulator.dtype, first=task.first, where=str(path)
                ) as file,
                tables_written(self.folder, task.suffix) as add,
            ):
                for number in range(task.first, task.last):
                    frame = simulator.frame(number, buffer)
                    add(frame, shot_geometry(simulator.geometry, frame.shot))
                    if marked is not None:
                        mark(frame.counts, marked)
                    file.write(frame.counts)
            return len(task)

        yield make

    def path(self, task: SeriesTask) -> Path:
        """Return where a data file is written."""
        return self.folder / f"data{task.suffix}.h5"
