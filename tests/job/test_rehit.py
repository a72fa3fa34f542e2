import json
import os
import shutil

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import hitfinder as hf
from hitfinder.errors import HitfinderError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from hitfinder.job import rehit as job
from hitfinder.job.indexing.joint_hits import decide_by_crystal
from hitfinder.job.rehit import rehit
from hitfinder.locks import Lock
from hitfinder.progress import counting
from hitfinder.results.crystalhits import CrystalEvidence

SHAPE, N_FRAMES = (160, 180), 40
OPTIONS = {"workers": 1, "hot_pixel_frames": 12}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folder with frames, of which some have spots too weak for a hit, and a run of them."""
    folder = tmp_path_factory.mktemp("rehit")
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -90.0, -80.0)
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.03, 6000.0)
    with NexusWriter(folder / "run_master.h5", geometry, np.uint16) as writer:
        for index in range(N_FRAMES):
            rng = np.random.default_rng([11, index])
            frame = rng.poisson(0.05, SHAPE).astype(np.uint16)
            for spot in range(index % 4):
                row, column = 10 + 37 * spot + index, 15 + 40 * spot + index
                frame[row, column] += 1 + index % 7
            frame[100, 100] = 9
            writer.write(frame)
    hf.run(folder / "run_master.h5", folder / "run", **OPTIONS)
    return folder


@pytest.fixture
def copied(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "run")
    return tmp_path / "run"


def assert_same(folder, other):
    frames = [pq.read_table(f / "frames.parquet").drop_columns("seconds") for f in (folder, other)]
    assert frames[0].equals(frames[1])
    for name in ("peaks.parquet", "hits.lst", "hits.geom"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    with h5py.File(folder / "hits.cxi") as one, h5py.File(other / "hits.cxi") as two:
        names = []
        one.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        for name in names:
            left, right = one[name][()], two[name][()]
            equal = {"equal_nan": True} if left.dtype.kind == "f" else {}
            assert np.array_equal(left, right, **equal), name
    told = [json.loads((f / "run.json").read_text()) for f in (folder, other)]
    for name in ("counts", "hits_from", "settings", "fingerprint", "verdict", "static", "files"):
        assert told[0][name] == told[1][name], name
    assert sorted(os.listdir(folder)) == sorted(os.listdir(other))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"false_hits": 0.4}, marks=pytest.mark.slow),
        pytest.param({"hit_threshold": 4.0}, marks=pytest.mark.slow),
        {"false_hits": 0.2, "min_peaks": 2},
    ],
)
def test_the_folder_becomes_that_of_such_a_run(place, copied, change, tmp_path):
    before = pq.read_table(copied / "frames.parquet")["hit"].to_numpy()
    decided = rehit(copied, **change)
    hf.run(place / "run_master.h5", tmp_path / "other", **OPTIONS, **change)
    assert_same(copied, tmp_path / "other")
    hit = decided.frames["hit"].to_numpy()
    assert (hit != before).any()
    assert (copied / "report.html").exists()
    again = hf.run(place / "run_master.h5", copied, resume=True, **OPTIONS, **change)
    assert again.was_complete
    told = json.loads((copied / "run.json").read_text())["decided_again"]
    assert told[0]["hits_from_before"] == {"score": 2.0, "false_hits": 0.01}
    assert told[0]["frames_searched_again"] > 0


def test_a_run_of_some_frames_is_decided_anew(place, tmp_path):
    some = OPTIONS | {"frames": "1::2", "limit": 15}
    hf.run(place / "run_master.h5", tmp_path / "run", **some)
    rehit(tmp_path / "run", false_hits=0.4)
    hf.run(place / "run_master.h5", tmp_path / "other", false_hits=0.4, **some)
    assert_same(tmp_path / "run", tmp_path / "other")


def test_what_is_decided_back_is_as_it_was(place, copied):
    rehit(copied, false_hits=0.4)
    rehit(copied, false_hits=0.01)
    assert_same(copied, place / "run")


def test_a_decision_that_was_cut_short_is_made_again(place, copied, tmp_path, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(outputs, found, folder, estimate):
        outputs["tables"].write(found, folder)
        (folder / "run.json").unlink()
        shutil.copy(place / "run" / "peaks.parquet", folder / "peaks.parquet")
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(job, "write_outputs", killed)
        with pytest.raises(KilledError):
            rehit(copied, false_hits=0.4)
    assert not (copied / "run.json").exists()
    rehit(copied, false_hits=0.2)
    hf.run(place / "run_master.h5", tmp_path / "other", false_hits=0.2, **OPTIONS)
    assert_same(copied, tmp_path / "other")


def by_crystal(folder, scores):
    """Decide on a run's hits with what a crystal says of some frames."""

    def evidence(least_score, min_peaks):
        told = np.array([*scores.values()], float)
        return CrystalEvidence(np.array([*scores]), told, 2 * told, least_score, min_peaks)

    return decide_by_crystal(hf.open_run(folder), evidence, {"cell": "made up"}, counting)


def test_a_known_crystal_makes_hits_of_frames_and_unmakes_others(place, copied):
    plain = pq.read_table(copied / "frames.parquet").to_pydict()
    before = np.array(plain["hit"])
    some = np.flatnonzero(~before & (np.array(plain["n_peaks"]) == 0))[[0, 3]]
    found = by_crystal(copied, {int(some[0]): 6.0, int(some[1]): 1.0})
    after = pq.read_table(copied / "frames.parquet").to_pydict()
    hit, joint = np.array(after["hit"]), np.array(after["joint_score"])
    assert hit[some].tolist() == [True, False]
    np.testing.assert_array_equal(hit, joint >= 2)
    assert (found.by_peaks, found.more) == (before.sum(), (hit & ~before).sum())
    assert found.fewer == (before & ~hit).sum()
    with h5py.File(copied / "hits.cxi") as file:
        np.testing.assert_array_equal(file["entry_1/result_1/frame"], np.flatnonzero(hit))
    # Its peaks are kept as those of a hit are.
    hf.run(place / "run_master.h5", copied.parent / "all", hit_threshold=-1.0, **OPTIONS)
    all_hits = pq.read_table(copied.parent / "all" / "frames.parquet").to_pydict()
    assert after["n_peaks"][some[0]] == all_hits["n_peaks"][some[0]]
    assert after["n_peaks"][some[1]] == plain["n_peaks"][some[1]]
    assert json.loads((copied / "run.json").read_text())["crystal_hits"]["cell"] == "made up"
    again = by_crystal(copied, {})
    assert (again.by_peaks, again.more) == (before.sum(), 0)
    rehit(copied, false_hits=0.01)
    assert_same(copied, place / "run")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_refused(folder, match, **change):
    before = contents(folder)
    with pytest.raises(HitfinderError, match=match):
        rehit(folder, **(change or {"false_hits": 0.4}))
    assert contents(folder) == before


def change_run(folder, **change):
    told = json.loads((folder / "run.json").read_text())
    told["settings"] |= change.pop("settings", {})
    (folder / "run.json").write_text(json.dumps(told | change))


def test_what_cannot_be_decided_again_is_refused(copied, tmp_path):
    assert_refused(copied, "nothing is to change", min_peaks=None)
    assert_refused(copied, "must be between 0 and 1", false_hits=2.0)
    change_run(copied, complete=False)
    assert_refused(copied, "the run is not complete")
    change_run(copied, complete=True, hits_from={"score": 0.5, "false_hits": None})
    assert_refused(copied, "decides on hits by itself")
    change_run(copied, hits_from={"score": 2.0, "false_hits": 0.01})
    change_run(copied, fingerprint={"number of frames": 3})
    assert_refused(copied, "the run in this folder is another one")
    change_run(copied, live={"source": "tcp://detector:9999"})
    assert_refused(copied, "a live run cannot be decided again")
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "holds no results of a run")


def test_without_the_frames_nothing_is_written(copied):
    change_run(copied, inputs=["gone_master.h5"])
    assert_refused(copied, "gone_master.h5")


def test_without_the_totals_nothing_is_written(copied):
    (copied / "totals.npz").write_bytes(b"x")
    assert_refused(copied, "totals.npz: cannot be read")


def test_two_do_not_decide_at_once(copied):
    (copied / ".parts").mkdir()
    (copied / ".parts" / "rehit.json").write_text("{}")
    lock = Lock(copied / ".parts" / "lock", "run")
    assert_refused(copied, "another run is writing here")
    lock.release()
