"""Live runs of whole processes: a simulated detector, or files that come, and the folder left."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pyarrow.compute as pc
import pytest

import hitfinder as hf
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.io.ledger import open_ends
from hitfinder.io.simplon.series import Series
from hitfinder.io.simplon.simulated import SimulatedDetector, StreamSender, send_stream
from hitfinder.job.live import feeds
from hitfinder.job.live.live import live
from hitfinder.job.live.searching import Searching
from job.live.half_hits import SHAPE, N
from waiting import LONGEST_S, wait_for

CRYSTFEL = Path(shutil.which("indexamajig") or "/opt/crystfel/bin/indexamajig")
LIBRARIES = ":".join(map(str, (CRYSTFEL.parent.parent / "lib").glob("*")))
OPTIONS = {"finder": "likelihood", "workers": 1, "longest_wait_s": 600.0}

PONI = """poni_version: 2.1
Detector: Detector
Detector_config: {"pixel1": 7.5e-05, "pixel2": 7.5e-05, "max_shape": [96, 100], "orientation": 2}
Distance: 0.06
Poni1: 0.0036
Poni2: 0.00375
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 2.0664e-10
"""


@pytest.fixture(scope="module")
def offline(master, tmp_path_factory):
    """The same frames by `run`, with nothing learnt, which depends on when frames come."""
    out = tmp_path_factory.mktemp("offline") / "out"
    return hf.run(master, out, finder="likelihood", workers=1, hot_pixel_frames=0)


def send(master, detector):
    """Start a detector in a process of its own; return it and its address."""
    sender = StreamSender("tcp://127.0.0.1:*")

    def run():
        with hf.open(master) as source:
            send_stream(source, detector, sender, timeout_s=LONGEST_S)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, sender


def run_live(master, out, detector, **options):
    thread, sender = send(master, detector)
    try:
        return list(live(sender.address, out, timeout_s=LONGEST_S, **OPTIONS | options))
    finally:
        thread.join()
        sender.close(linger_ms=0)


@pytest.mark.parametrize("protocol", ["v1", "stream2"])
def test_a_stream_leaves_the_folder_of_a_run(master, offline, tmp_path, protocol):
    detector = SimulatedDetector(protocol, 500)
    out = tmp_path / "out"
    (run,) = run_live(
        master, out, detector, stop_at_end=True, protocol=protocol, hot_pixel_frames=0
    )
    assert run.summary.complete
    assert (run.summary.frames, run.summary.processed) == (N, N)
    others = ["file", "seconds"]
    assert str(run.frames.drop_columns(others)) == str(offline.frames.drop_columns(others))
    assert run.peaks.equals(offline.peaks)
    assert run.frames["event"].to_pylist() == [f"//{number}" for number in range(N)]
    assert {path.name for path in out.iterdir()} == {
        *(path.name for path in offline.folder.iterdir()),
        *("frames.h5", "live.json", "live-frames.json", "live-history.jsonl"),
    }
    with hf.open(master) as source, h5py.File(out / "hits.cxi") as hits:
        numbers = hits["/entry_1/result_1/frame"][()]
        assert len(numbers) == run.summary.hits == offline.summary.hits
        for row, number in enumerate(numbers):
            np.testing.assert_array_equal(hits["/entry_1/data_1/data"][row], source[int(number)])
    about = json.loads((out / "run.json").read_bytes())
    theirs = json.loads((offline.folder / "run.json").read_bytes())
    assert about["live"]["ended"] == "end"
    assert open_ends(about["live"]["ledger"]) == []
    assert about["live"]["ledger"]["written"] == N
    assert {*about} == {*theirs, "live"}
    for name in ("photon_energy_ev", "camera_length_m", "shape", "masked_pixels"):
        assert about["geometry"][name] == pytest.approx(theirs["geometry"][name])
    # The run can be gone on with as any other.
    with hf.open(run.inputs) as kept:
        np.testing.assert_array_equal(kept[int(numbers[0])].shape, SHAPE)
    check_status(out, run)


def check_status(out, run):
    told = json.loads((out / "live.json").read_bytes())
    assert told["state"] == "finished"
    assert told["counts"] == {
        "frames": N,
        "processed": N,
        "hits": run.summary.hits,
        "doubtful_hits": run.summary.doubtful_hits,
        "doubted_frames": run.summary.doubted_frames,
        "peaks": run.summary.peaks,
    }
    assert open_ends(told["ledger"]) == []
    about = json.loads((out / "run.json").read_bytes())
    for name, unit, set_to in (("energy", "ev", 6000.0), ("camera_length", "m", 0.05)):
        assert told[name][f"set_{unit}"] == pytest.approx(set_to)
        assert told[name]["run"]["frames"] == about["estimated_geometry"]["frames"]
        assert about["live"][name] == told[name]
    assert about["live"]["drift"] == told["drift"]
    last = json.loads((out / "live-frames.json").read_bytes())
    assert sorted(last["number"]) == list(range(N))
    assert sum(last["hit"]) == run.summary.hits
    lines = (out / "live-history.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["processed"] == N


def test_each_series_has_its_folder_whatever_goes_wrong(master, tmp_path):
    faults = ("garbage", "gap", "damage", "duplicate", "repeat-end", "stale")
    detector = SimulatedDetector("stream2", 500, n_series=2, faults=faults)
    thread, sender = send(master, detector)
    runs = []
    try:
        for run in live(sender.address, tmp_path / "out", timeout_s=LONGEST_S, **OPTIONS):
            runs.append(run)
            if len(runs) == 2:
                break
    finally:
        thread.join()
        sender.close(linger_ms=0)
    assert [run.folder.name for run in runs] == ["series_000001", "series_000002"]
    for run in runs:
        about = json.loads((run.folder / "run.json").read_bytes())["live"]
        ledger = about["ledger"]
        assert open_ends(ledger) == []
        assert ledger["not_received"] == 5
        assert ledger["processed"] + ledger["damaged"] == N - 5
        # The last one is lost too, but nobody knows whether it was ever taken.
        assert run.summary.by_status == {"ok": N - 5, "not-received": 4}
        assert about["messages"]["malformed"] > 0


def test_what_is_damaged_has_its_row(master, tmp_path):
    detector = SimulatedDetector("v1", 500, faults=("damage", "huge"))
    (run,) = run_live(master, tmp_path / "out", detector, stop_at_end=True)
    ledger = json.loads((run.folder / "run.json").read_bytes())["live"]["ledger"]
    assert ledger["damaged"] == 5
    assert open_ends(ledger) == []
    assert run.summary.by_status == {"ok": N - 5, "damaged": 5}


def test_what_is_static_is_learnt_on_the_way(tmp_path):
    rng = np.random.default_rng(3)
    frames = rng.poisson(0.05, (N * 4, *SHAPE)).astype(np.uint16)
    frames[:, 40, 41] += 20
    np.save(tmp_path / "frames.npy", frames)
    detector = SimulatedDetector("stream2", 500)
    given = {"photon_energy_ev": 6000, "camera_length_m": 0.05, "pixel_size_um": 75}
    (run,) = run_live(
        tmp_path / "frames.npy", tmp_path / "out", detector, stop_at_end=True, **given
    )
    hit = np.array(run.frames["hit"].to_pylist())
    assert hit[:16].mean() > 0.5
    assert hit[-32:].mean() < 0.1
    about = json.loads((run.folder / "run.json").read_bytes())
    assert about["geometry"]["static_pixels"] >= 1


@pytest.mark.slow
def test_a_header_that_does_not_tell_enough_is_said(master, tmp_path):
    detector = SimulatedDetector("stream2", 500, faults=("drop-header",))
    with pytest.raises(HitfinderError, match="no detector is known"):
        run_live(master, tmp_path / "out", detector, stop_at_end=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == []


def test_nothing_that_comes_is_said(tmp_path):
    sender = StreamSender("tcp://127.0.0.1:*")
    with pytest.raises(HitfinderError, match=r"nothing came for 0.3 s; so far: .*no message"):
        list(live(sender.address, tmp_path / "out", timeout_s=0.3, **OPTIONS))
    sender.close(linger_ms=0)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_other_protocol_is_said(master, tmp_path):
    detector = SimulatedDetector("v1", 500)
    with pytest.raises(HitfinderError, match="speaks v1, stream2 was expected"):
        run_live(master, tmp_path / "out", detector, protocol="stream2")


def test_files_that_come_into_a_folder(master, offline, tmp_path, monkeypatch):
    # It is looked often enough to give the broken one up long before the end.
    monkeypatch.setattr(feeds, "_LOOK_AGAIN_S", 0.05)
    folder = tmp_path / "coming"
    folder.mkdir()
    with hf.open(master) as source:
        for number in range(0, N, 4):
            np.save(folder / f"frames_{number:03d}.npy", source[number : number + 4])
    (folder / "broken.npy").write_bytes(b"no frames")
    given = {"photon_energy_ev": 6000, "camera_length_m": 0.05, "pixel_size_um": 75}
    options = OPTIONS | given | {"hot_pixel_frames": 0}
    (run,) = live(folder, tmp_path / "out", stop_at_end=True, timeout_s=5, **options)
    hits = np.array(run.frames["hit"].to_pylist())
    assert hits.sum() == offline.summary.hits
    assert run.summary.by_status == {"ok": N, "damaged": 1}


def test_a_master_that_is_there(master, offline, tmp_path):
    options = OPTIONS | {"hot_pixel_frames": 0, "geometry": tmp_path / "placed.poni"}
    options["geometry"].write_text(PONI)
    (run,) = live(master, tmp_path / "out", stop_at_end=True, timeout_s=5, **options)
    assert run.frames["hit"].to_pylist() == offline.frames["hit"].to_pylist()
    assert run.geometry.camera_length_m == pytest.approx(0.06)


def test_sigterm_writes_what_was_found(master, tmp_path):
    out = tmp_path / "out"
    thread, sender = send(master, SimulatedDetector("stream2", 500, faults=("no-end",)))
    command = [sys.executable, "-m", "hitfinder", "live", sender.address, "--out", str(out)]
    options = ["--stop-at-end", "--finder", "likelihood", "-j", "1", "--max-delay", "600"]
    process = subprocess.Popen([*command, *options], env=os.environ, stderr=subprocess.PIPE)

    def all_are_processed():
        with contextlib.suppress(OSError, ValueError):
            return json.loads((out / "live.json").read_bytes())["counts"]["processed"] == N

    wait_for(all_are_processed)
    assert list((out / "shards").glob("hits-*.cxi")), "hits are kept before the run ends"
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=LONGEST_S)[1].decode()
    thread.join()
    sender.close(linger_ms=0)
    assert process.returncode == 130, stderr
    run = hf.open_run(out)
    assert not run.summary.complete
    assert run.summary.processed == N
    assert json.loads((out / "live.json").read_bytes())["state"] == "interrupted"
    assert (out / "report.html").exists()
    assert "Traceback" not in stderr


def test_frames_that_are_worked_on_when_the_run_is_ended_have_their_row(
    master, tmp_path, monkeypatch
):
    theirs = Searching._chunks

    def two_chunks_of_which_the_second_is_in_hand(self, n_workers):
        n_taken = 0
        for task in theirs(self, n_workers):
            n_taken += task is not None
            if n_taken == 2:
                raise KeyboardInterrupt
            yield task

    monkeypatch.setattr(Searching, "_chunks", two_chunks_of_which_the_second_is_in_hand)
    detector = SimulatedDetector("stream2", 500)
    (run,) = run_live(master, tmp_path / "out", detector, stop_at_end=True)
    assert not run.summary.complete
    assert {*run.summary.by_status} <= {"ok", "passed-over"}
    ledger = json.loads((run.folder / "run.json").read_bytes())["live"]["ledger"]
    assert open_ends(ledger) == []
    assert run.summary.by_status["passed-over"] >= 1


def test_what_is_on_disk_is_counted_whenever_the_run_is_ended(master, tmp_path, monkeypatch):
    theirs = Series.settle

    def settle_when_ctrl_c_comes(self, **what):
        signal.raise_signal(signal.SIGINT)
        theirs(self, **what)

    monkeypatch.setattr(Series, "settle", settle_when_ctrl_c_comes)
    detector = SimulatedDetector("stream2", 500)
    (run,) = run_live(master, tmp_path / "out", detector, stop_at_end=True)
    ledger = json.loads((run.folder / "run.json").read_bytes())["live"]["ledger"]
    assert run.summary.by_status["ok"] == ledger["processed"] > 0
    assert not run.summary.complete


@pytest.mark.slow
@pytest.mark.skipif(not CRYSTFEL.exists(), reason="needs CrystFEL")
def test_crystfel_takes_what_a_live_run_hands_on(master, tmp_path):
    """From a simulated detector to the real indexamajig, whose peaks are those of the table."""
    out, stream = tmp_path / "out", tmp_path / "out.stream"
    thread, sender = send(master, SimulatedDetector("stream2", 500))
    options = OPTIONS | {"hot_pixel_frames": 0, "offer": "tcp://127.0.0.1:*"}
    runs = live(sender.address, out, timeout_s=LONGEST_S, **options)
    run = next(runs)
    thread.join()
    sender.close(linger_ms=0)
    # The series is over, and its hits wait until the command ends.
    told = json.loads((run.folder / "live.json").read_bytes())["offered"]
    n_hits = run.summary.hits
    assert (told["hits"], told["waiting"]) == (n_hits, n_hits)
    command = [
        CRYSTFEL, f"--zmq-input={told['address']}", "--zmq-request=next", "--data-format=msgpack",
        "--peaks=msgpack", "--no-revalidate", "--indexing=none", "--copy-header=frame",
        "-g", run.folder / "hits-zmq.geom", "-o", stream, "-j", "1",
    ]  # fmt: skip
    environment = {**os.environ, "LD_LIBRARY_PATH": LIBRARIES}
    with open(tmp_path / "said.txt", "wb") as said:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=said, start_new_session=True
        )
    end = "----- End chunk -----"
    wait_for(lambda: stream.exists() and stream.read_text().count(end) == n_hits)
    # Its workers do not end with it.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    runs.close()
    peaks, frames = run.peaks, []
    for text in stream.read_text().split("----- Begin chunk -----")[1:]:
        frame = int(re.search(r"frame = (\d+)", text)[1])
        frames.append(frame)
        table = text.split("Peaks from peak search")[1].split("End of peak list")[0]
        found = np.array([[float(w) for w in line.split()[:4]] for line in table.splitlines()[2:]])
        ours = peaks.filter(pc.equal(peaks["frame"], frame))
        for column, name in ((0, "fs"), (1, "ss"), (3, "photons")):
            np.testing.assert_allclose(found[:, column], ours[name].to_numpy(), atol=0.06)
    assert frames == np.flatnonzero(run.frames["hit"].to_numpy()).tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"offer": "localhost:5555"}, "is no address to hand on hits at"),
        ({"publish": "tcp://192.0.2.1:5555"}, "cannot be listened on"),
        ({"cell": "no.cell"}, "no.cell"),
        ({"space_group": "P 1"}, "a space group is given without a cell"),
        ({"finder": "nosuch"}, "nosuch"),
        ({"outputs": ["nosuch"]}, "nosuch"),
        ({"model": "nosuch"}, "nosuch"),
        ({"reader": "nosuch"}, "nosuch"),
        ({"geometry": "no.geom"}, "no.geom"),
        ({"detector": "nosuch"}, "nosuch"),
        ({"mask": "no.npy"}, "no.npy: there is no such mask file"),
        ({"mask": "no.npy", "detector": "eiger2-x-4m"}, "no.npy: there is no such mask file"),
        ({"adu_per_photon": 60.0}, "counts of a stream are photons"),
    ],
)
def test_options_that_cannot_be_used_are_said_before_anything_begins(tmp_path, options, said):
    begun = []

    @contextlib.contextmanager
    def beside():
        begun.append(True)
        yield

    with pytest.raises(HitfinderError, match=said):
        list(live("tcp://127.0.0.1:1", tmp_path / "out", timeout_s=0.1, beside=beside(), **options))
    assert not begun
    assert not (tmp_path / "out").exists()


def test_what_goes_on_beside_a_run_begins_before_a_frame_comes_and_ends_with_it(tmp_path):
    told = []

    @contextlib.contextmanager
    def beside():
        told.append("begun")
        try:
            yield
        finally:
            told.append("ended")

    @contextlib.contextmanager
    def refused():
        raise ConfigError("port 8421 is in use")
        yield

    with pytest.raises(ConfigError, match="port 8421 is in use"):
        list(live("tcp://127.0.0.1:1", tmp_path / "out", timeout_s=0.1, beside=refused()))
    with pytest.raises(HitfinderError, match="nothing came"):
        list(live("tcp://127.0.0.1:1", tmp_path / "out", timeout_s=0.1, **OPTIONS, beside=beside()))
    assert told == ["begun", "ended"]


def test_a_bandwidth_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"bandwidth must be in 0 to 0\.2"):
        list(live("tcp://127.0.0.1:1", tmp_path / "out", cell="68,68,108", bandwidth=0.3))
