import contextlib
import shutil

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from hitfinder.job.rehit import rehit
from hitfinder.locks import Lock
from hitfinder.monitor.watched import WatchedRun

SHAPE, N_FRAMES = (160, 180), 60
OPTIONS = {"workers": 1, "hot_pixel_frames": 0, "finder": "likelihood"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder with frames, of which one in five has a ray and one in ten a crystal; a run of them.

    One place is bright in some frames that share nothing else.
    """
    folder = tmp_path_factory.mktemp("doubts")
    geometry = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.03, photon_energy_ev=6000)
    with NexusWriter(folder / "run_master.h5", geometry, np.uint16) as writer:
        for index in range(N_FRAMES):
            rng = np.random.default_rng([3, index])
            frame = rng.poisson(0.02, SHAPE).astype(np.uint16)
            if index % 5 == 2:
                frame[rng.integers(3, 157), rng.integers(3, 177)] += 30
            if index % 10 == 0:
                frame[rng.integers(3, 157, 6), rng.integers(3, 177, 6)] += 8
            if index % 17 == 1:
                frame[100:102, 40:42] += 6
            writer.write(frame)
    hf.run(folder / "run_master.h5", folder / "run", **OPTIONS)
    return folder


@pytest.mark.parametrize("score", [1.0, 4.0])
def test_another_threshold_decides_as_a_run_does(place, tmp_path, score):
    watched = WatchedRun(place / "run")
    as_run = watched.decided(watched.decision)[1]
    decided = watched.decided(watched.decision.at(score, None))[1]
    shutil.copytree(place / "run", tmp_path / "run")
    frames = rehit(tmp_path / "run", hit_threshold=score).frames
    assert np.array_equal(decided.hit, frames["hit"].to_numpy())
    assert decided.doubt.tolist() == frames["doubt"].to_pylist()
    assert as_run.doubted > 5
    assert decided.doubted > 5
    assert "static-place" in decided.doubt


def test_the_page_says_which_frames_are_in_doubt(place, serve):
    run = hf.Run(place / "run")
    doubt, hit = (run.frames[name].to_numpy() for name in ("doubt", "hit"))
    with serve(place / "run") as served:
        told = served.json("/api/summary")
        assert told["doubted_frames"] == run.summary.doubted_frames > 5
        assert told["doubtful_hits"] == run.summary.doubtful_hits
        number = int(np.flatnonzero((doubt != "") & ~hit)[0])
        frame = served.json(f"/api/frame/{number}")
        assert (frame["hit"], frame["doubt"]) == (False, doubt[number])


def test_hits_of_a_run_at_work_are_decided_too(place, tmp_path):
    work = tmp_path / "run"
    run = hf.run(place / "run_master.h5", work, show=interrupting, **OPTIONS)
    (work / "run.json").unlink()
    lock = Lock(work / ".parts" / "lock", "run")
    watched = WatchedRun(work)
    assert watched.state == "running"
    decided = watched.decided(watched.decision)[1]
    lock.release()
    assert 30 < watched.table.ok.sum() < N_FRAMES
    assert decided.doubted > 5
    assert np.array_equal(decided.hit, run.frames["hit"].to_numpy())
    assert decided.doubt.tolist() == run.frames["doubt"].to_pylist()


@contextlib.contextmanager
def interrupting(what, total):
    """Progress that interrupts a run when most of its frames are done."""
    done = []

    def advance(n, note=""):
        done.append(n)
        if sum(done) > 0.7 * N_FRAMES:
            raise KeyboardInterrupt

    yield advance
