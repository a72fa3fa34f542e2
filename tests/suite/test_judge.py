"""Which found peak is which spot, and what is false."""

import dataclasses

import numpy as np
import pytest

from hitfinder.suite.condition import TRUTH_DTYPE
from hitfinder.suite.judge import judge

NOTHING = np.empty((0, 3))


def spots(*rows):
    """Rows of frame, fs, ss, photons."""
    out = np.zeros(len(rows), TRUTH_DTYPE)
    for name, column in zip(("frame", "fs", "ss", "photons"), zip(*rows, strict=True), strict=True):
        out[name] = column
    out["must"] = out["photons"] >= 8
    return out


@pytest.fixture
def three(frames):
    """A condition of two hits and a blank."""
    condition = dataclasses.replace(frames.condition, n_hits=2, n_blanks=1)
    truth = spots((0, 10, 10, 50), (0, 30, 30, 4), (1, 10, 10, 9))
    return dataclasses.replace(
        frames, condition=condition, frames=np.zeros((3, 195, 487)), truth=truth
    )


def test_recall_counts_the_spots_that_must_be_found(three):
    found = [np.array([[10.3, 10.4, 7.0]]), NOTHING, NOTHING]
    judged = judge(three, found)
    assert (judged.n_must, judged.n_found, judged.recall) == (2, 1, 0.5)
    assert judged.of_group(0).recall == 1
    assert judged.of_group(1).recall == 0
    assert judged.distance[0] == pytest.approx(0.5)
    assert np.isnan(judged.distance[2])


def test_false_peaks_are_those_of_blanks_and_faint_spots_are_none(three):
    found = [np.array([[30, 30, 2.0], [60, 60, 3.0]]), NOTHING, np.array([[5, 5, 1.0], [9, 9, 4]])]
    judged = judge(three, found)
    assert sorted(judged.false) == [1, 4]
    assert judged.false_per_frame == 2
    assert judged.beside.tolist() == [3]


def test_on_measured_frames_false_peaks_are_those_near_nothing(three):
    condition = dataclasses.replace(three.condition, kind="real", n_blanks=0)
    real = dataclasses.replace(three, condition=condition, frames=three.frames[:2])
    judged = judge(real, [np.array([[30, 30, 2.0], [60, 60, 3.0]]), NOTHING])
    assert judged.false.tolist() == [3]
    assert judged.false_per_frame == 0.5


def test_a_faint_neighbour_does_not_take_a_peak(three):
    close = dataclasses.replace(three, truth=spots((0, 12, 10, 4), (0, 10, 10, 50)))
    judged = judge(close, [np.array([[11.5, 10, 5.0]]), NOTHING, NOTHING])
    assert judged.recall == 1


def test_a_spot_seen_twice_is_no_false_peak(three):
    judged = judge(three, [np.array([[10, 10, 5.0], [12, 10, 4.0]]), NOTHING, NOTHING])
    assert judged.of_group(0).recall == 1
    assert len(judged.beside) == 0


def test_cutting_weak_peaks_trades_false_ones_for_recall(three):
    strong, weak = np.array([[10, 10, 9.0]]), np.array([[10, 10, 2.0]])
    judged = judge(three, [strong, weak, np.array([[50, 50, 3.0]])])
    assert judged.cut_at(1.0) == (1.0, -np.inf)
    recall, cut = judged.cut_at(0.5)
    assert (recall, cut) == (0.5, 3.0)
    above = judged.above(cut)
    assert above.recall == 0.5
    assert len(above.false) == 0


def test_a_part_of_the_frames_can_be_judged(three):
    judged = judge(three, [np.array([[10, 10, 2.0]]), NOTHING], [1, 2])
    assert (judged.n_must, judged.n_found, judged.n_false_frames) == (1, 1, 1)
