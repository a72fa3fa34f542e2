import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter

SHAPE, N_FRAMES, PER_FILE = (200, 220), 60, 20


@dataclasses.dataclass(frozen=True)
class Series:
    master: Path
    geometry: Geometry
    frames: list
    spots: list


def make_series(folder: Path) -> Series:
    """Write a master with three data files; every other frame has spots of one pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -110.0, -100.0)
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.03, 6000.0)
    frames, spots = [], []
    master = folder / "run_master.h5"
    with NexusWriter(master, geometry, np.uint16, frames_per_file=PER_FILE) as writer:
        for index in range(N_FRAMES):
            rng = np.random.default_rng([7, index])
            frame = rng.poisson(0.02, SHAPE).astype(np.uint16)
            places = rng.choice(18 * 20, 8 if index % 2 else 0, replace=False)
            # Apart from one another, and not in the same pixels frame after frame.
            top, left = 8 + 3 * (index // 2) % 10, 8 + 3 * (index // 20) % 10
            at = [(10 * (p // 20) + top, 10 * (p % 20) + left) for p in places]
            for row, column in at:
                frame[row, column] += rng.integers(12, 30)
            frames.append(frame)
            spots.append(sorted((column + 0.5, row + 0.5) for row, column in at))
            writer.write(frame)
    return Series(master, geometry, frames, spots)


def run_command(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hitfinder", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="session")
def series(tmp_path_factory) -> Series:
    return make_series(tmp_path_factory.mktemp("series"))


@pytest.fixture
def fresh_series(tmp_path) -> Series:
    """The same frames, in files of the test's own."""
    return make_series(tmp_path / "series")


@pytest.fixture(scope="session")
def hitfinder():
    """Run the command in a process of its own."""
    return run_command


@pytest.fixture(scope="session")
def done(series, tmp_path_factory) -> Path:
    """Folder of a finished run over the series, with two workers."""
    out = tmp_path_factory.mktemp("done") / "out"
    made = run_command("run", series.master, "--out", out, "--csv", "--workers", 2)
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture
def gone():
    """Whether no process of a number runs (a zombie does not run)."""

    def check(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    return check
