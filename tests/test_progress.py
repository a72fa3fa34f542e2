import logging

import pytest

from hitfinder import progress


@pytest.fixture
def clock(own_module):
    now = [0.0]
    own_module(progress, "time", monotonic=lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch):
    """What the progress says, in a log of the test's own."""
    said = []
    log = logging.Logger("progress", logging.INFO)
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    monkeypatch.setattr(progress, "log", log)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    return said


def test_the_rate_does_not_count_what_comes_before_the_first_frames(clock, lines):
    with progress.counting("frames", 1000) as advance:
        for seconds, frames in ((0, 200), (30, 8), (32, 100), (45, 650)):
            clock[0] = seconds
            advance(frames, "3 hits")
    assert lines == [
        "208 of 1000 frames, 3 hits",
        "958 of 1000 frames, 3 hits, 50.0/s, 1 s left",
    ]


def test_nothing_is_said_where_the_log_is_turned_down(clock, lines):
    progress.log.setLevel(logging.WARNING)
    with progress.counting("frames", 10) as advance:
        clock[0] = 100
        advance(5)
    assert lines == []
