"""Streams over real sockets, from a simulated detector to series."""

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Mapping

import cbor2
import numpy as np
import pytest

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.io.ledger import open_ends
from hitfinder.io.memory import ArraySource
from hitfinder.io.simplon.compose import COMPOSERS
from hitfinder.io.simplon.faults import FAULTS
from hitfinder.io.simplon.intake import KINDS, MOST_TO_COME, Intake
from hitfinder.io.simplon.messages import SeriesId, SeriesImage, SeriesStart
from hitfinder.io.simplon.protocols import decode
from hitfinder.io.simplon.receiver import Receiver
from hitfinder.io.simplon.series import NOT_RECEIVED, PASSED_OVER, Series
from hitfinder.io.simplon.simulated import (
    SimulatedDetector,
    StreamSender,
    announcement,
    send_stream,
)
from oracles.captured import SHARED, read, stream1, stream2
from waiting import LONGEST_S, kept_port, wait_for

N = 12
FRAMES = np.random.default_rng(5).poisson(0.3, (N, 40, 50)).astype(np.uint16)
SOURCE = ArraySource(FRAMES)


class Listening:
    """An intake that hears a simulated detector, over a socket of this machine."""

    def __init__(self, protocol="stream2", asked=None, **options):
        self.intake = Intake(asked, options.pop("channel", None))
        self.sender = StreamSender("tcp://127.0.0.1:*")
        self.receiver = Receiver(self.sender.address, self.intake)
        self.detector = SimulatedDetector(protocol, 5000, **options)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.sender.close(linger_ms=0)
        self.receiver.close()

    def send(self):
        """Send all, and wait until it was heard."""
        sent = send_stream(SOURCE, self.detector, self.sender, timeout_s=LONGEST_S)
        wait_for(lambda: sum(self.intake.counts.values()) >= sent.messages)
        return sent


def series_of(intake):
    found = []
    while (series := intake.next_series()) is not None:
        found.append(series)
    return found


def settle_all(series, most=5):
    """Process a series as `live` does; return counts by number and the statuses of the others."""
    images, others, damaged = {}, {}, 0
    series.end("the test does not wait")
    while (batch := series.batch(most)) is not None:
        assert batch.first not in images
        assert sorted([*batch.images, *batch.others]) == list(range(batch.first, batch.stop))
        others |= {number: status for number, (status, _) in batch.others.items()}
        for number, arrived in batch.images.items():
            try:
                images[number] = arrived.image.unpacked()
            except (AttributeError, HitfinderError):
                damaged += 1
                series.settle(damaged=1)
            else:
                series.settle(processed=1)
        assert open_ends(series.told()) == []
    return images, others, damaged


@pytest.mark.parametrize("detail", ["none", "basic", "all"])
@pytest.mark.parametrize("protocol", ["v1", "stream2"])
def test_a_series_arrives_as_it_was(protocol, detail):
    with Listening(protocol, asked=protocol, header_detail=detail) as there:
        there.send()
        (series,) = series_of(there.intake)
        wait_for(lambda: series.ended)
        assert series.ended == "end"
        assert series.ledger.expected == (None if (protocol, detail) == ("v1", "none") else N)
        images, others, damaged = settle_all(series)
        assert (others, damaged) == ({}, 0)
        np.testing.assert_array_equal([images[n] for n in range(N)], FRAMES)
        assert series.told()["processed"] == N
        assert there.intake.counts["images"] == N


FOUND = {
    # fault: (messages that are counted as something else, images, lost, damaged)
    "drop-header": ({}, N, 0, 0),
    "no-end": ({}, N, 0, 0),
    "repeat-header": ({"repeated_headers": 2}, N, 0, 0),
    "repeat-end": ({"repeated_ends": 2}, N, 0, 0),
    "gap": ({}, N - 2, 2, 0),
    "duplicate": ({}, N, 0, 0),
    "reorder": ({}, N, 0, 0),
    "late": ({}, N, 0, 0),
    "stale": ({"stale": N}, N, 0, 0),
    "garbage": ({"malformed": 2 * (N + 2)}, N, 0, 0),
    "damage": ({}, N - 2, 0, 2),
    "huge": ({}, N - 2, 0, 2),
}


@pytest.mark.parametrize("fault", FOUND)
@pytest.mark.parametrize("protocol", ["v1", "stream2"])
def test_a_fault_is_counted_by_name_and_costs_nothing_else(protocol, fault):
    counted, n_images, n_lost, n_damaged = FOUND[fault]
    with Listening(protocol, n_series=2, faults=(fault,)) as there:
        sent = there.send()
        counts = there.intake.counts
        assert sum(counts.values()) == sent.messages
        usual = "headers", "images", "ends"
        assert {k: n for k, n in counts.items() if n and k not in usual} == counted
        found = series_of(there.intake)
        assert [series.id.number for series in found] == [1, 2]
        for series in found:
            images, others, damaged = settle_all(series)
            assert damaged == n_damaged
            assert list(others.values()) == [NOT_RECEIVED] * n_lost
            assert len(images) == n_images
            for number, counts in images.items():
                np.testing.assert_array_equal(counts, FRAMES[number])
            told = series.told()
            assert told["duplicates"] == (2 if fault == "duplicate" else 0)
            assert told["not_received"] == n_lost
            assert told["received"] == N - n_lost + told["duplicates"]


def test_a_series_that_is_broken_off_ends_when_the_next_begins():
    with Listening(n_series=3, faults=("abort", "stale")) as there:
        there.send()
        found = series_of(there.intake)
        assert [series.ended[:6] for series in found] == ["no end", "no end", "end"]
        assert [len(settle_all(series)[0]) for series in found] == [N // 2 - 1, N // 2 - 1, N]
        assert there.intake.counts["stale"] > 0
        assert open_ends(found[0].told()) == []
        assert found[0].told()["not_received"] == N - (N // 2 - 1)


def test_every_fault_of_the_simulator_is_tried():
    assert {*FOUND, "abort"} == set(FAULTS)
    from hitfinder.cli import stream_sim

    assert set(stream_sim.FAULTS) == set(FAULTS)
    assert set(stream_sim.PROTOCOLS) == set(COMPOSERS)


def test_all_faults_at_once():
    with Listening(n_series=4, faults=tuple(FAULTS)) as there:
        sent = there.send()
        assert sum(there.intake.counts.values()) == sent.messages
        for series in series_of(there.intake):
            settle_all(series)
            assert open_ends(series.told()) == []


def image(number, series=1):
    return SeriesImage(SeriesId(series), number, {"": PACKED})


PACKED = decode(
    [
        b'{"htype":"dimage-1.0","series":1,"frame":0}',
        b'{"htype":"dimage_d-1.0","shape":[50,40],"type":"uint16","encoding":"<"}',
        FRAMES[0].tobytes(),
        b"{}",
    ]
).images[""]


def test_a_late_image_is_passed_over_and_a_repeated_one_is_not():
    series = Series(SeriesId(1))
    for number in (0, 1, 3):
        series.offer(image(number), now_s=10.0)
    assert series.batch(5, now_s=10.0) is None, "it waits a moment for number 2"
    batch = series.batch(5, now_s=11.0)
    assert list(batch.images) == [0, 1, 3]
    assert batch.others == {2: (NOT_RECEIVED, "no message of this frame came")}
    assert series.told()["not_received"] == 1
    series.offer(image(2))
    series.offer(image(2))
    series.offer(image(1))
    told = series.told()
    assert (told["passed_over"], told["duplicates"], told["not_received"]) == (1, 2, 0)
    assert open_ends(told | {"waiting": 3}) == []


def test_the_newest_are_kept_when_frames_come_too_fast():
    series = Series(SeriesId(1), most_bytes=3 * len(PACKED.content))
    for number in range(10):
        series.offer(image(number))
    batch = series.batch(8, now_s=time.monotonic() + 1)
    assert list(batch.images) == [7, 8, 9]
    assert {status for status, _ in batch.others.values()} == {PASSED_OVER}
    assert series.told()["passed_over"] == 7
    series.settle(processed=3)
    assert open_ends(series.told()) == []


def test_what_waits_too_long_is_passed_over_if_newer_ones_wait():
    series = Series(SeriesId(1))
    for number, came in enumerate((0.0, 1.0, 2.0, 9.0)):
        series.offer(image(number), now_s=came)
    batch = series.batch(8, longest_wait_s=1.5, now_s=10.0)
    assert list(batch.images) == [3]
    assert series.told()["passed_over"] == 3
    series.offer(image(4), now_s=20.0)
    assert list(series.batch(8, longest_wait_s=1.5, now_s=90.0).images) == [4], "never none"


def test_numbers_that_cannot_be_are_refused():
    series = Series(SeriesId(1))
    assert series.offer(image(0))
    assert not series.offer(image(1 << 40))
    assert series.offer(image(5))
    announced = Series(SeriesId(1))
    announced.ledger.expected = 10
    assert announced.offer(image(9))
    assert not announced.offer(image(10))
    assert announced.told()["received"] == 1


def test_memory_does_not_grow_while_nothing_is_processed():
    intake = Intake(most_bytes=1_000_000)
    composer = COMPOSERS["stream2"](0.001)
    chunk = decode_chunk()
    said = announcement(SOURCE, 10_000, 0.001)
    for series in range(1, 4):
        intake.take(composer.start(series, said, "all", ""))
        for number in range(50):
            intake.take(composer.image(series, number, FRAMES[0], chunk))
    tracemalloc.start()
    for series in range(4, 40):
        intake.take(composer.start(series, said, "all", ""))
        for number in range(300 if series > 30 else 3):
            intake.take(composer.image(series, number, FRAMES[0], chunk))
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert intake.series_passed_over == 39 - MOST_TO_COME
    assert grown < 12_000_000
    assert len(series_of(intake)) == MOST_TO_COME


def decode_chunk():
    from hitfinder.io.datafile import FramePacker

    return FramePacker(FRAMES[0].shape, FRAMES.dtype).pack(FRAMES[0].copy())


def test_the_other_protocol_is_said():
    with Listening("v1", asked="stream2") as there:
        there.send()
        with pytest.raises(HitfinderError, match="speaks v1, stream2 was expected"):
            there.intake.next_series()


def test_it_connects_again_and_may_be_there_first():
    intake = Intake()
    address = f"tcp://127.0.0.1:{kept_port()}"
    with Receiver(address, intake) as receiver:
        for series in (1, 2):
            wait_for(lambda: not receiver.is_connected)
            sender = StreamSender(address)
            send_stream(SOURCE, SimulatedDetector("v1", 5000, first_series=series), sender)
            wait_for(lambda n=series: intake.counts["ends"] == n)
            sender.close(linger_ms=0)
        assert receiver.connections == 2
    assert [len(settle_all(series)[0]) for series in series_of(intake)] == [N, N]


def test_what_came_before_anything_was_ready_is_not_too_old():
    series = Series(SeriesId(1))
    for number in range(3):
        series.offer(image(number), now_s=1.0)
    batch = series.batch(8, longest_wait_s=1.5, since_s=50.0, now_s=51.0)
    assert list(batch.images) == [0, 1, 2]


def test_a_port_in_use_is_said():
    sender = StreamSender("tcp://127.0.0.1:*")
    with pytest.raises(ConfigError, match="port is in use"):
        StreamSender(sender.address)
    sender.close(linger_ms=0)


@pytest.mark.parametrize("address", ["nonsense", "tcp://nonsense", "tcp://127.0.0.1:99999"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(ConfigError, match="is no address of a stream"):
        Receiver(address, Intake())
    with pytest.raises(ConfigError, match="is no address to listen on"):
        StreamSender(address)


def test_what_is_wrong_with_a_connection_is_said():
    port = kept_port()
    with Receiver(f"tcp://127.0.0.1:{port}", Intake()) as receiver:
        assert receiver.state == f"not connected: nothing listens at port {port}"
    with Receiver("tcp://detector.invalid:31001", Intake()) as receiver:
        assert receiver.state == "not connected: no host of the name detector.invalid is known"
    sender = StreamSender("tcp://127.0.0.1:*")
    with Receiver(sender.address, Intake()) as receiver:
        wait_for(lambda: receiver.state == "connected")
    sender.close(linger_ms=0)


def test_a_port_of_another_service_is_said():
    words = "connected to something that does not speak ZeroMQ"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Receiver(f"tcp://127.0.0.1:{server.getsockname()[1]}", Intake()) as receiver,
        server.accept()[0] as answering,
    ):
        answering.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        wait_for(lambda: receiver.state == words)


def test_a_message_that_is_too_large_is_refused_and_the_next_one_heard(monkeypatch):
    from hitfinder.io.simplon import receiver as module

    monkeypatch.setattr(module, "MOST_BYTES", 5000)
    sender, intake = StreamSender("tcp://127.0.0.1:*"), Intake()
    with Receiver(sender.address, intake):
        sender.send([bytes(100_000)], LONGEST_S)
        wait_for(lambda: intake.counts["malformed"] == 1)
        assert "more than 5000 bytes" in intake.heard
        assert sender.send([bytes(3000)] * 4, LONGEST_S)
        wait_for(lambda: intake.counts["malformed"] == 2)
        assert sender.send([cbor2.dumps({"type": "end", "series_id": 1})], LONGEST_S)
        wait_for(lambda: intake.counts["stray_ends"] == 1)
        assert "12000 bytes" in intake.heard
    sender.close(linger_ms=0)


def test_a_thread_that_processes_while_another_receives():
    """The ledger closes at every moment, and no image is lost or doubled between the threads."""
    with Listening(n_images=300) as there:
        thread = threading.Thread(target=there.send)
        thread.start()
        wait_for(lambda: there.intake.counts["images"])
        series = there.intake.next_series()
        n_images = 0
        while not series.is_over:
            batch = series.batch(8)
            if batch is None:
                time.sleep(0.001)
                continue
            n_images += len(batch.images)
            series.settle(processed=len(batch.images))
            assert open_ends(series.told()) == []
        thread.join()
    assert n_images == 300


def shape_of(value):
    """What a field is, without its value: names, types and tags."""
    if isinstance(value, Mapping):
        return {key: shape_of(item) for key, item in value.items()}
    if isinstance(value, cbor2.CBORTag):
        return value.tag, shape_of(value.value)
    if isinstance(value, (list, tuple)):
        return [shape_of(item) for item in value]
    return type(value).__name__


def fields2(parts):
    content = parts[0].removeprefix(b"\xd9\xd9\xf7")
    return shape_of(cbor2.loads(content, tag_hook=lambda tag, immutable: tag))


def fields1(part):
    return shape_of(json.loads(part))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the captured messages")
def test_the_simulated_detector_says_what_a_detector_says():
    """Every field of the recorded messages, of the same type, in the same place."""
    frames = ArraySource(np.zeros((1, 60, 70), np.uint32))
    sent = {}
    for protocol in ("v1", "stream2"):
        detector = SimulatedDetector(protocol, appendix='{"filename": "", "rotate": 0}')
        sent[protocol] = [told.parts for told in detector.messages(frames)]
    folder = SHARED / "captured_stream1_eiger_1m"
    start, shot = (
        [read(path) for path in sorted(folder.glob(f"{number}_part*"))] for number in ("000", "001")
    )
    for ours, theirs in zip(sent["v1"], (start, shot, stream1("end")), strict=True):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            if other[:1] == b"{":
                assert fields1(one) == fields1(other)
    folder = SHARED / "captured_stream2_eiger_1m"
    captured = [[read(folder / name)] for name in ("000_start.cbor.gz", "001_image.cbor.gz")]
    for ours, theirs in zip(sent["stream2"], (*captured, stream2("end")), strict=True):
        assert ours[0][:3] == b"\xd9\xd9\xf7"
        one, other = fields2(ours), fields2(theirs)
        one.pop("image_dtype", None)  # of newer detectors
        assert one == other
        assert next(iter(one)) == "type"


def test_kinds_are_all_counted():
    assert set(Intake().counts) == set(KINDS)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"two_theta_start": 0.0, "detector_orientation": [-1, 0, 0, 0, -1, 0]}, ""),
        ({"two_theta_start": 15.0}, "2θ = 15"),
        ({"goniometer": {"two_theta": {"increment": 0, "start": -20.0}}}, "2θ = -20"),
        ({"detector_orientation": [0.999, 0, 0.0436, 0, 1, 0]}, "tilted by 2.5"),
        ({"detector_orientation": ["a"] * 6, "two_theta_start": None}, ""),
    ],
)
def test_a_detector_that_does_not_stand_across_the_beam_is_told(caplog, said, told):
    Intake()._sort(SeriesStart(SeriesId(1), said))
    assert told in caplog.text
    assert bool(told) == bool(caplog.records)
