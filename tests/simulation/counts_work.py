"""Work for the tests of stages; workers import this module by name."""

import contextlib
import dataclasses

from hitfinder.simulation.simulator import Simulator


@dataclasses.dataclass(frozen=True, eq=False)
class CountsWork:
    """Makes the counts of a frame."""

    simulator: Simulator

    @contextlib.contextmanager
    def opened(self):
        yield lambda number: self.simulator.frame(number).counts
