"""Simulate frames into a folder, and open such a folder again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet

from hitfinder.errors import ConfigError
from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import available_cores
from hitfinder.progress import Advance, counting
from hitfinder.simulation.presets import dotted, load_settings
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.write import GEOMETRY, MASTER, file_tasks, write_simulation

if TYPE_CHECKING:
    import pyarrow as pa


class Simulation:
    """Simulated frames in a folder. Its tables are read when they are asked for.

    As a path it is the master file, so that `hitfinder.run` and `hitfinder.open` take it.

    Parameters
    ----------
    folder : str or PathLike
        Folder that `hitfinder.simulate` wrote.

    Raises
    ------
    ConfigError
        If it holds no simulation.

    Attributes
    ----------
    folder : Path
        The folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.master.is_file():
            hint = "Name the folder that `hitfinder simulate` wrote."
            raise ConfigError("holds no simulation", str(folder), hint)

    def __fspath__(self) -> str:
        return str(self.master)

    def __repr__(self) -> str:
        return f"<Simulation {self.folder}>"

    @property
    def master(self) -> Path:
        """The master file of the frames, as an Eiger detector writes it."""
        return self.folder / MASTER

    @property
    def n_frames(self) -> int:
        """Frames."""
        return pyarrow.parquet.read_metadata(self.folder / "shots.parquet").num_rows

    @property
    def geometry_file(self) -> Path:
        """The geometry for CrystFEL."""
        return self.folder / GEOMETRY

    @property
    def truth(self) -> pa.Table:
        """A row per spot: its frame, position, photons and reflection."""
        return self._table("truth")

    @property
    def shots(self) -> pa.Table:
        """A row per frame: what was drawn for it."""
        return self._table("shots")

    @property
    def crystals(self) -> pa.Table:
        """A row per crystal: its frame, size and orientation."""
        return self._table("crystals")

    def _table(self, name: str) -> pa.Table:
        return pyarrow.parquet.read_table(self.folder / f"{name}.parquet")


def simulate(
    out: str | os.PathLike[str],
    n: int | None = None,
    *,
    preset: str | None = None,
    settings: SimulationSettings | str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    frames_per_file: int | None = None,
    overwrite: bool = False,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
    **changes: Any,
) -> Simulation:
    """Simulate frames with known Bragg peaks and write them to a folder.

    This is what the command ``hitfinder simulate`` runs. `hitfinder.Simulator` makes frames in
    memory.

    Parameters
    ----------
    out : str or PathLike
        The folder; made if it is not there.
    n : int, optional
        Frames; 100, or one for each row of a file of orientations.
    preset : str, optional
        Settings to start from, one of `hitfinder.simulation.presets.PRESETS`; ``single-shot`` if
        nothing else is given.
    settings : SimulationSettings, str or PathLike, optional
        All settings, or a TOML file of some.
    workers : int, optional
        Processes; as many as there are cores if not given.
    executor : Executor, optional
        Has the frames made, instead of so many workers.
    frames_per_file : int, optional
        Frames in a data file, which one process makes; by default at most 250, and fewer where
        there would be less than 32 files.
    overwrite : bool
        Replace the simulation in the folder.
    show : callable
        As `hitfinder.progress.counting`, which is the default.
    **changes
        Single settings by their last name, such as ``flux="1e8..3e8"``, as for
        `hitfinder.Simulator.preset`.

    Raises
    ------
    HitfinderError
        If a setting is unknown or impossible, names something that cannot be used, or the folder
        cannot be written.
    ValueError
        If there is no worker.

    Examples
    --------
    >>> import hitfinder as hf
    >>> simulation = hf.simulate("sim", n=2, detector="eiger2-x-500k", seed=7, workers=1)
    >>> simulation.shots.num_rows, simulation.truth.column_names[:3]
    (2, ['frame', 'crystal', 'h'])
    >>> with hf.open(simulation) as frames:
    ...     print(len(frames), frames.shape)
    2 (512, 1028)
    """
    if isinstance(settings, SimulationSettings):
        if preset or changes:
            raise ConfigError("settings are given in full, and a preset or single ones beside them")
        chosen = settings
    else:
        chosen = load_settings(settings, preset, dotted(changes))
    simulator = Simulator.of(chosen, n=n)
    files = file_tasks(len(simulator), frames_per_file)
    if executor is None:
        most = available_cores() if workers is None else workers
        executor = executor_for(min(most, len(files)))
    with show("simulating", len(simulator)) as advance:
        write_simulation(
            simulator,
            chosen,
            Path(out),
            executor,
            files,
            overwrite=overwrite,
            advance=advance,
        )
    return Simulation(out)
