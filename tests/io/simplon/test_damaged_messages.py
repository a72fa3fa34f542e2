"""Messages damaged at random: each is told, and none takes others with it."""

import copy
import dataclasses
import json
import random

import cbor2
import numpy as np
import pytest

from hitfinder.errors import HitfinderError
from hitfinder.io.ledger import open_ends
from hitfinder.io.memory import ArraySource
from hitfinder.io.simplon.intake import Intake
from hitfinder.io.simplon.simulated import SimulatedDetector
from hitfinder.job.live.feeds import StreamFeed

N = 4
FRAMES = np.random.default_rng(1).poisson(0.3, (N, 24, 40)).astype(np.uint16)
HOSTILE = (
    *(None, True, -1, 0, 1 << 31, (1 << 64) - 1, -(10**30), 0.0, 1e308, -1e308, 1e-320),
    *(float("nan"), float("-inf"), "", "\x1b[31m", "9" * 5000, b"", b"\xff" * 9, [], {}),
    *([[]], [0, 0], [1, 2, 3], [float("nan")] * 6, [10**30] * 3, {"start": 1e308}),
)
"""What no detector says."""


def messages(protocol):
    """Header, images and end of a series, as parts; the header has number 0, image n is n + 1."""
    source = ArraySource(FRAMES)
    return [list(told.parts) for told in SimulatedDetector(protocol, 1000).messages(source)]


MESSAGES = {protocol: messages(protocol) for protocol in ("v1", "stream2")}


def places(value, before=()):
    """Yield the way to every value in a tree of dictionaries, lists and tags."""
    if isinstance(value, cbor2.CBORTag):
        yield from places(value.value, (*before, "value"))
        return
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield (*before, key)
        yield from places(inner, (*before, key))


def replaced(value, place, new):
    """Return a tree with another value at a place."""
    if not place:
        return new
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, replaced(value.value, place[1:], new))
    value = copy.copy(value)
    value[place[0]] = replaced(value[place[0]], place[1:], new)
    return value


def with_hostile_value(part, rng):
    """Return a part that says something impossible; a part that is no JSON or CBOR as it is."""
    is_json = part[:1] == b"{"
    try:
        said = json.loads(part) if is_json else cbor2.loads(part)
        said = replaced(said, rng.choice(list(places(said))), rng.choice(HOSTILE))
        return json.dumps(said, default=repr).encode() if is_json else cbor2.dumps(said)
    except (ValueError, TypeError, IndexError, cbor2.CBORError):
        return part


def damaged(parts, rng):
    """Damage a message in one of the ways."""
    parts = list(parts)
    number = rng.randrange(len(parts))
    part = bytearray(parts[number])
    at = rng.randrange(len(part) + 1)
    match rng.choice(("flip", "flip", "cut", "insert", "zeros", "says", "says", "says", "drop")):
        case "flip" if part:
            part[at % len(part)] ^= 1 << rng.randrange(8)
        case "cut":
            del part[at:]
        case "insert":
            part[at:at] = rng.randbytes(3)
        case "zeros":
            part[at : at + 8] = bytes(8)
        case "says":
            part = with_hostile_value(bytes(part), rng)
        case "drop":
            return parts[:number] + parts[number + 1 :]
    parts[number] = bytes(part)
    return parts


def series_of(intake):
    while (series := intake.next_series()) is not None:
        yield series


def counts_of(series):
    """Settle a series; return the counts of its images by number, those that are not damaged."""
    found = {}
    while (batch := series.batch(10)) is not None:
        for number, arrived in batch.images.items():
            if not isinstance(arrived.image, str):
                try:
                    found[number] = arrived.image.unpacked()
                except HitfinderError:
                    continue
        n_damaged = sum(number not in found for number in batch.images)
        series.settle(processed=len(batch.images) - n_damaged, damaged=n_damaged)
    assert open_ends(series.ledger.told()) == []
    return found


@pytest.mark.parametrize("protocol", MESSAGES)
def test_a_damaged_message_takes_no_other_with_it(protocol):
    for seed in range(400):
        rng = random.Random(seed)
        sent = list(MESSAGES[protocol])
        place = rng.randrange(len(sent))
        sent[place] = damaged(sent[place], rng)
        intake = Intake(protocol)
        for parts in sent:
            intake.take(parts)
        assert sum(intake.counts.values()) == len(sent)
        whole = 0
        for series in series_of(intake):
            series.end("test")
            if series.start is not None:
                tell_all(series)
            for number, counts in counts_of(series).items():
                if 0 < place <= N and number + 1 != place and number < N:
                    np.testing.assert_array_equal(counts, FRAMES[number], f"seed {seed}")
                    whole += 1
        if 0 < place <= N:
            assert whole == N - 1, f"seed {seed}: {intake.counts}"


def tell_all(series):
    """Ask a header for all that is taken from it."""
    feed = StreamFeed("tcp://127.0.0.1:1", None, None, 1 << 20)
    assert isinstance(series.start.doubts, list)
    if (image := series.peek()) is not None:
        try:
            told = feed.describe(series, image)
        except HitfinderError:
            return
        lengths = (told.photon_energy_ev, told.camera_length_m, told.pixel_size_m)
        assert all(length is None or 0 < length < np.inf for length in lengths)
        assert dataclasses.asdict(told)["detector"] is not None


def test_an_image_whose_series_is_damaged_does_not_end_the_series():
    other, sent = messages("v1"), messages("v1")
    other[2][0] = (
        other[2][0].replace(b'"series": 1', b'"series": 9').replace(b'"series":1', b'"series":9')
    )
    assert other[2][0] != sent[2][0]
    sent[2] = other[2]
    intake = Intake()
    for parts in sent:
        intake.take(parts)
    (series,) = series_of(intake)
    assert sorted(counts_of(series)) == [0, 2, 3]
    assert intake.counts["lone_images"] == 1


def test_a_series_without_header_keeps_the_image_that_came_while_another_had_no_end():
    first, second = messages("stream2"), list(SimulatedDetector(
        "stream2", 1000, first_series=2).messages(ArraySource(FRAMES)))  # fmt: skip
    intake = Intake()
    for parts in first[:-1] + [list(told.parts) for told in second[1:]]:
        intake.take(parts)
    one, two = series_of(intake)
    assert (one.id.number, two.id.number) == (1, 2)
    assert sorted(counts_of(one)) == sorted(counts_of(two)) == list(range(N))
    assert intake.counts["lone_images"] == 0
    assert intake.counts["images"] == 2 * N
