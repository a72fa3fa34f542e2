"""Run another finder in its own Python on frames kept in a file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hitfinder.suite.condition import Frames

HERE = Path(__file__).resolve().parent
VENVS = HERE.parent / ".peers"
Settings = dict[str, float | int | str]


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another finder.

    Parameters
    ----------
    name : str
        For tables.
    python : Path
        The interpreter that has it.
    module : str
        What that interpreter must be able to import.
    runner : str
        Script in ``benchmarks/peers``.
    version : str
        Code that prints its version.
    """

    name: str
    python: Path
    module: str
    runner: str
    version: str

    def available(self) -> bool:
        """Whether it is installed."""
        return self.python.exists() and not self._call(["-c", f"import {self.module}"]).returncode

    def version_string(self) -> str:
        return self._call(["-c", self.version]).stdout.strip()

    def _call(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.python, *arguments], capture_output=True, text=True)

    def search(
        self, frames: Frames, indices: list[int], settings: list[Settings]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Search frames at several settings.

        Parameters
        ----------
        frames : Frames
            The condition.
        indices : list of int
            Frames to search.
        settings : list of dict
            Settings to try.

        Returns
        -------
        peaks : ndarray, shape (n, 5)
            Number of the setting, place in `indices`, fs, ss and strength of each peak.
        seconds : ndarray, shape (n_settings, n_frames)
            Time of the finding step.
        """
        meta = json.loads((frames.folder / "meta.json").read_text())
        job = {
            "frames": str(frames.folder / "frames.npy"),
            "mask": str(frames.folder / "mask.npy"),
            "indices": indices,
            "numbers": [frames.number(i) for i in indices],
            "geometries": meta["geometries"],
            "settings": settings,
        }
        with tempfile.TemporaryDirectory() as temporary:
            question, answer = Path(temporary) / "job.json", Path(temporary) / "answer.npz"
            question.write_text(json.dumps(job))
            subprocess.run(
                [self.python, HERE / "peers" / self.runner, question, answer],
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            with np.load(answer) as data:
                return data["peaks"], data["seconds"]


PEAKFINDER8 = Peer(
    "peakfinder8",
    VENVS / "cfelpyutils" / "bin" / "python",
    "cfelpyutils.peakfinding",
    "cfelpyutils_runner.py",
    "from importlib.metadata import version; print('cfelpyutils', version('cfelpyutils'))",
)
OM = Peer(
    "peakfinder8 (OM)",
    VENVS / "om" / "bin" / "python",
    "om",
    "om_runner.py",
    "from importlib.metadata import version; print('ondamonitor', version('ondamonitor'))",
)
DIALS = Peer(
    "DIALS",
    Path("/usr/bin/python3"),
    "dials.algorithms.image.threshold, dials.model.data",
    "dials_runner.py",
    "from dials.util.version import dials_version; print(dials_version())",
)
PEERS = (PEAKFINDER8, DIALS)


def grid(**choices: Iterable[float | int | str]) -> list[Settings]:
    """Every combination of the choices."""
    names = list(choices)
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*choices.values())
    ]
