import logging

import pytest

from hitfinder.cli import progress
from hitfinder.inference.store import Counts


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
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
    with progress.progress(1000) as told:
        for seconds, frames in ((0, 200), (30, 208), (32, 308), (45, 958)):
            clock[0] = seconds
            told(Counts(frames=frames))
    assert lines == [
        "208 of 1000 frames, 0 hits",
        "958 of 1000 frames, 0 hits, 50.0 frames/s, 1 s left",
    ]
