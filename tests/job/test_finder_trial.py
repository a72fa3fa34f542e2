import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from hitfinder.compilecache import VARIABLE
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.memory import ArraySource
from hitfinder.job.finder_trial import FinderTold, FinderTrial

SHAPE = (60, 70)
GEOMETRY = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.1, photon_energy_ev=6000)


class Told:
    """A finder that tells what there is to tell; it fails or dies if it is asked to."""

    OPTIONS = {"how": "what becomes of the process"}  # noqa: RUF012
    fingerprint, least_score = "abc", 7.0

    def __init__(self, geometry, settings):
        self.how = settings.options.get("how", "")

    def __call__(self, frame, mask=None):
        assert frame.shape == SHAPE
        assert not frame.any()
        if self.how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 / (self.how != "fail")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    monkeypatch.setitem(sys.modules, "test_finder_trial", sys.modules[__name__])


def trial(**options):
    source = ArraySource(np.zeros((1, *SHAPE), np.uint16))
    settings = FinderSettings(finder="test_finder_trial:Told", options=options)
    return FinderTrial.of(source, GEOMETRY, settings)


def test_a_worker_tells_what_a_finder_says_and_works_on():
    with Processes(1) as executor:
        executor.start(1, ["hitfinder.job.ready"])
        worker = executor._workers[0].process.pid
        assert trial().by(executor) == trial().by(Inline()) == FinderTold("abc", 7.0)
        assert [w.process.pid for w in executor._workers] == [worker]


def test_what_a_finder_does_wrong_is_told():
    with Processes(1) as executor:
        for tried_by in (executor, Inline()):
            with pytest.raises(ConfigError, match=r"fails on an empty frame \(ZeroDivisionError"):
                trial(how="fail").by(tried_by)
        with pytest.raises(HitfinderError, match="SIGKILL"):
            trial(how="die").by(executor)


def test_getting_ready_compiles_nothing(tmp_path):
    """It would take a minute in which the command waits for its workers."""
    done = subprocess.run(
        [sys.executable, "-c", "import hitfinder.job.ready"],
        env=os.environ | {VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.rglob("*.nb[ic]")) == []
