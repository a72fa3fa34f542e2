"""Hits handed on over real sockets: to CrystFEL, to who asks as it does, and to subscribers."""

import dataclasses
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zmq

from hitfinder.errors import ConfigError
from hitfinder.export.hit_message import MASKED, message_geom_lines
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.geometry.crystfel import write_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.live import handing
from hitfinder.job.live.handing import HandingOn, HitOffer, HitPublisher
from hitfinder.job.live.work import LiveChunk
from hitfinder.results.chunk import OK, ChunkResult, empty_rows
from waiting import LONGEST_S, wait_for

CRYSTFEL = Path(shutil.which("indexamajig") or "/opt/crystfel/bin/indexamajig")
LIBRARIES = ":".join(map(str, (CRYSTFEL.parent.parent / "lib").glob("*")))
SHAPE = (60, 80)
ROOT = Path(__file__).parents[3]


class Frame:
    """A frame that is unpacked when it is asked for."""

    def __init__(self, counts):
        self.counts, self.held_bytes, self.n_unpacked = counts, counts.nbytes, 0

    def unpacked(self):
        self.n_unpacked += 1
        return self.counts


@pytest.fixture(scope="module")
def geometry():
    flat = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    mask = np.zeros(SHAPE, bool)
    mask[10, 12] = True
    return dataclasses.replace(flat, detector=flat.detector.with_mask(mask))


def chunk_of(n, n_hits=None, seed=0):
    """Frames with peaks, of which the first so many are hits, as a worker returns them."""
    rng = np.random.default_rng(seed)
    rows = empty_rows(n, OK)
    rows["hit"] = np.arange(n) < (n if n_hits is None else n_hits)
    rows["score"], rows["n_peaks"] = 5.0, rng.integers(3, 9, n)
    peaks = np.zeros(rows["n_peaks"].sum(), PEAK_DTYPE)
    peaks["fs"], peaks["ss"] = rng.uniform(1, 79, len(peaks)), rng.uniform(1, 59, len(peaks))
    peaks["photons"], peaks["probability"] = rng.uniform(5, 90, len(peaks)), 0.9
    images = {k: Frame(rng.poisson(3, SHAPE).astype(np.uint16)) for k in range(n)}
    return LiveChunk(0, n, images, {}), ChunkResult(np.arange(n), rows, peaks)


def peaks_of(result, frame):
    ends = np.cumsum(result.rows["n_peaks"])
    return result.peaks[ends[frame] - result.rows["n_peaks"][frame] : ends[frame]]


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def asking(context, address):
    socket = context.socket(zmq.REQ)
    socket.connect(address)
    socket.setsockopt(zmq.RCVTIMEO, 1000 * LONGEST_S)
    return socket


def test_who_asks_gets_the_next_hit_as_crystfel_reads_it(geometry, context):
    chunk, result = chunk_of(3, 2)
    with HitOffer("tcp://127.0.0.1:*") as offer:
        out = HandingOn((offer,), "tcp://detector:31001", 7)
        early = asking(context, offer.address)
        early.send(b"next")
        wait_for(lambda: offer._requests)
        out.take(chunk, result, geometry)
        first = msgpack.unpackb(early.recv())
        early.send(b"next")
        second = msgpack.unpackb(early.recv())
        wait_for(lambda: out.told()["offered"]["fetched"] == 2)
        told = out.told()["offered"]
    assert told == {
        **{"address": offer.address, "hits": 2, "fetched": 2},
        **{"passed_over": 0, "failed": 0, "waiting": 0},
    }
    assert [first["frame"], second["frame"]] == [0, 1]
    assert [first["serial"], second["serial"]] == [0, 1]
    assert (first["series"], first["source"]) == (7, "tcp://detector:31001")
    assert (first["photon_energy_ev"], first["camera_length_m"]) == (6000.0, 0.05)
    assert first["score"] == 5.0
    assert first["image"]["type"] == "<i4"
    assert first["image"]["shape"] == [60, 80]
    sent = np.frombuffer(first["image"]["data"], "<i4").reshape(SHAPE)
    expected = chunk.images[0].counts.astype(int)
    expected[10, 12] = MASKED
    np.testing.assert_array_equal(sent, expected)
    # Indices of pixels: CrystFEL adds the half again.
    peaks = peaks_of(result, 0)
    assert first["peaks"]["fs"] == pytest.approx(peaks["fs"] - 0.5, abs=1e-4)
    assert first["peaks"]["ss"] == pytest.approx(peaks["ss"] - 0.5, abs=1e-4)
    assert first["peaks"]["intensity"] == pytest.approx(peaks["photons"])
    # CrystFEL takes the first key that is the beginning of the one it looks for.
    for table in (first, first["peaks"], first["image"]):
        assert not [(a, b) for a in table for b in table if a != b and b.startswith(a)]


def test_what_nobody_asks_for_is_passed_over_and_costs_nothing(geometry, context, monkeypatch):
    monkeypatch.setattr(handing, "MOST_WAITING", 5)
    chunk, result = chunk_of(12)
    offer = HitOffer("tcp://127.0.0.1:*")
    gone_away = offer._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    looks, attend = itertools.count(), offer._attend
    offer._attend = lambda: (attend(), next(looks))
    with offer:
        out = HandingOn((offer,), "file", None)
        out.take(chunk, result, geometry)
        assert sum(frame.n_unpacked for frame in chunk.images.values()) == 0
        told = out.told()["offered"]
        assert (told["hits"], told["passed_over"], told["waiting"]) == (12, 7, 5)
        # The newest are kept; who went away while it waited costs no hit.
        gone = asking(context, offer.address)
        gone.send(b"next")
        assert msgpack.unpackb(gone.recv())["frame"] == 7
        for frame in (8, 9, 10, 11):
            gone.send(b"next")
            assert msgpack.unpackb(gone.recv())["frame"] == frame
        gone.send(b"next")
        wait_for(lambda: len(offer._requests) == 1)
        gone.close(linger=0)
        assert gone_away.poll(LONGEST_S * 1000), "nobody notices"
        # The socket is told soon after its monitor, and heeds that when it is looked at.
        enough = next(looks) + 20
        wait_for(lambda: next(looks) > enough)
        out.take(*chunk_of(1), geometry)
        other = asking(context, offer.address)
        other.send(b"next")
        assert msgpack.unpackb(other.recv())["serial"] == 12
        wait_for(lambda: out.told()["offered"]["fetched"] == 6)
    told = out.told()["offered"]
    assert (told["hits"], told["passed_over"], told["waiting"]) == (13, 7, 0)


def test_subscribers_get_all_hits_and_a_slow_one_costs_nothing(geometry, context, monkeypatch):
    monkeypatch.setattr(handing, "MOST_WAITING", 10_000)
    large = np.zeros((1000, 1000), np.uint16)
    big = Geometry.flat(large.shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    chunk, result = chunk_of(60)
    for frame in chunk.images.values():
        frame.counts = large
    with HitPublisher("tcp://127.0.0.1:*") as publisher:
        out = HandingOn((publisher,), "file", None)
        out.take(*chunk_of(1), geometry)
        wait_for(lambda: out.told()["published"]["without_subscriber"] == 1)
        quick, slow = context.socket(zmq.SUB), context.socket(zmq.SUB)
        for socket in (quick, slow):
            socket.setsockopt(zmq.RCVHWM, 1)
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.setsockopt(zmq.RCVTIMEO, 1000 * LONGEST_S)
            socket.connect(publisher.address)
        wait_for(lambda: publisher.n_subscribers == 2)
        got = []

        def read():
            while len(got) < 1 or got[-1] != 60:
                got.append(msgpack.unpackb(quick.recv())["serial"])

        thread = threading.Thread(target=read)
        thread.start()
        for k in range(60):
            images = {0: chunk.images[k]}
            row = slice(*np.cumsum([0, *result.rows["n_peaks"]])[k : k + 2])
            one = ChunkResult(np.array([0]), result.rows[k : k + 1], result.peaks[row])
            out.take(LiveChunk(0, 1, images, {}), one, big)
            wait_for(lambda k=k: out.told()["published"]["sent"] == k + 1)
            wait_for(lambda k=k: k + 1 in got)
        thread.join(LONGEST_S)
        told = out.told()["published"]
        assert got == list(range(1, 61))
        assert told["sent"] == 60
        assert told["waiting"] == 0
        # The slow one has missed some, as far as can be told.
        assert told["missed_by_some"] > 0
        slow.close(linger=0)
        wait_for(lambda: publisher.n_subscribers == 1)


def test_the_program_of_the_page_reads_the_hits_that_are_published(geometry):
    page = (ROOT / "docs/live.md").read_text()
    (code,) = re.findall(r'^```python title="watch_hits.py"\n(.*?)^```', page, re.M | re.S)
    chunk, result = chunk_of(3)
    with HitPublisher("tcp://127.0.0.1:*") as publisher:
        out = HandingOn((publisher,), "file", None)
        code = code.replace("tcp://beamline:5556", publisher.address)
        reader = subprocess.Popen(
            [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True
        )
        try:
            wait_for(lambda: publisher.n_subscribers == 1)
            out.take(chunk, result, geometry)
            printed = [reader.stdout.readline().split() for _ in range(3)]
        finally:
            reader.kill()
            reader.communicate()
    for frame, line in enumerate(printed):
        lit = chunk.images[frame].counts > 0
        n_lit = int(lit.sum()) - int(lit[10, 12])  # masked
        assert line[1:] == [str(frame), "5.0", str(result.rows["n_peaks"][frame]), str(n_lit)]


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:5555", "is no address"), ("tcp://192.0.2.1:5555", "cannot be listened on")],
)
def test_addresses_that_cannot_be(address, said):
    for kind in (HitOffer, HitPublisher):
        with pytest.raises(ConfigError, match=said):
            kind(address)


def test_a_port_in_use_is_said():
    with HitOffer("tcp://127.0.0.1:*") as offer:
        with pytest.raises(ConfigError, match="the port is in use") as caught:
            HitPublisher(offer.address)
        assert caught.value.hint == "Choose another port."


@pytest.mark.skipif(not CRYSTFEL.exists(), reason="needs CrystFEL")
def test_crystfel_takes_hits_and_their_peaks(geometry, tmp_path):
    """The real indexamajig asks for hits; its stream has the peaks of the table, corner-based."""
    n = 4
    chunk, result = chunk_of(n)
    write_geom(tmp_path / "hits-zmq.geom", message_geom_lines(geometry))
    with HitOffer("tcp://127.0.0.1:*") as offer:
        out = HandingOn((offer,), "file", None)
        command = [
            CRYSTFEL, f"--zmq-input={offer.address}", "--zmq-request=next",
            "--data-format=msgpack", "--peaks=msgpack", "--no-revalidate", "--indexing=none",
            "-g", "hits-zmq.geom", "-o", "out.stream", "-j", "1",
        ]  # fmt: skip
        with open(tmp_path / "said.txt", "w") as said:
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=said, stderr=said, start_new_session=True,
                env={**os.environ, "LD_LIBRARY_PATH": LIBRARIES},
            )  # fmt: skip
        try:
            out.take(chunk, result, geometry)
            stream = tmp_path / "out.stream"
            end = "----- End chunk -----"
            wait_for(lambda: stream.exists() and stream.read_text().count(end) == n)
        finally:
            # Its workers do not end with it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "Error" not in (tmp_path / "said.txt").read_text()
    chunks = stream.read_text().split("----- Begin chunk -----")[1:]
    assert len(chunks) == n
    for frame, text in enumerate(chunks):
        table = text.split("Peaks from peak search")[1].split("End of peak list")[0]
        found = np.array([[float(w) for w in line.split()[:4]] for line in table.splitlines()[2:]])
        expected = peaks_of(result, frame)
        np.testing.assert_allclose(found[:, 0], expected["fs"], atol=0.06)
        np.testing.assert_allclose(found[:, 1], expected["ss"], atol=0.06)
        np.testing.assert_allclose(found[:, 3], expected["photons"], atol=0.06)
        assert float(re.search(r"photon_energy_eV = ([\d.]+)", text)[1]) == 6000.0
        assert float(re.search(r"average_camera_length = ([\d.]+) m", text)[1]) == 0.05
