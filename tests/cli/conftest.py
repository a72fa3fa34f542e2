import contextlib
import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hitfinder.cli.main import main
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from waiting import LONGEST_S

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


def run_here(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run the command in this process: what it says and its exit code, as a process gives them."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or Path.cwd()),
        pytest.raises(SystemExit) as stop,
    ):
        main([*map(str, arguments)])
    return subprocess.CompletedProcess(arguments, stop.value.code, out.getvalue(), err.getvalue())


def run_command(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hitfinder", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, **options)


@pytest.fixture(scope="session")
def series(tmp_path_factory) -> Series:
    return make_series(tmp_path_factory.mktemp("series"))


@pytest.fixture
def fresh_series(tmp_path) -> Series:
    """The same frames, in files of the test's own."""
    return make_series(tmp_path / "series")


@pytest.fixture(scope="session")
def hitfinder():
    """Run the command, in this process: starting another takes longer than most runs."""
    return run_here


@pytest.fixture(scope="session")
def hitfinder_apart():
    """Run the command in a process of its own."""
    return run_command


@pytest.fixture(scope="session")
def finished(series, tmp_path_factory) -> tuple[Path, str]:
    """Folder of a run over the series in a process of its own, with two workers; what was said."""
    out = tmp_path_factory.mktemp("done") / "out"
    made = run_command("run", series.master, "--out", out, "--csv", "--workers", 2)
    assert made.returncode == 0, made.stderr
    return out, made.stderr


@pytest.fixture(scope="session")
def done(finished) -> Path:
    """Folder of a finished run over the series, with two workers."""
    return finished[0]


@pytest.fixture(scope="session")
def said(finished) -> str:
    """What that run said on standard error."""
    return finished[1]


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
