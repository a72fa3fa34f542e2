import logging

import pytest

from hitfinder.cli import progress
from hitfinder.inference.store import Counts


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_rate_does_not_count_what_comes_before_the_first_frames(clock, caplog):
    logging.getLogger("hitfinder").propagate = True
    caplog.set_level(logging.INFO)
    with progress.progress(1000) as told:
        for seconds, frames in ((0, 200), (30, 208), (32, 308), (45, 958)):
            clock[0] = seconds
            told(Counts(frames=frames))
    assert caplog.messages == [
        "208 of 1000 frames, 0 hits",
        "958 of 1000 frames, 0 hits, 50.0 frames/s, 1 s left",
    ]
