"""What to train on, and where."""

from __future__ import annotations

import dataclasses

from hitfinder.study.dataset.select import Selection


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where to train, as Lightning's trainer takes it.

    Parameters
    ----------
    accelerator : str
        ``auto``, ``cpu``, ``gpu``, ...
    devices : str or int
        Number of devices in each node, or ``auto``.
    nodes : int
        Nodes; under Slurm Lightning takes ranks and addresses from its environment.
    strategy : str
        ``auto``, ``ddp``, ``fsdp``, ...
    precision : str
        ``32-true``, ``16-mixed``, ``bf16-mixed``, ...
    """

    accelerator: str = "auto"
    devices: str | int = "auto"
    nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"


@dataclasses.dataclass(frozen=True)
class Training:
    """What to train on, and with which seed.

    Parameters
    ----------
    data : str
        The tree.
    selection : Selection
        Frames of it to use.
    seed : int
        Fixes the first weights, the order of the frames, dropout and what is set aside.
    validation_fraction : float
        Part of the training part that is set aside to watch; 0 watches the test part.
    limit : int
        Largest number of frames of each part to use, alike in settings and empties; 0 uses all.
    """

    data: str
    selection: Selection = dataclasses.field(default_factory=Selection)
    seed: int = 0
    validation_fraction: float = 0.125
    limit: int = 0
