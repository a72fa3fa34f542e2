"""Pieces of one streak are put together, and nothing else is."""

import numpy as np
import pytest

from hitfinder.finding.unite import unite

SHAPE = (120, 140)
BACKGROUND = 0.005


def peaks_of(frame, groups):
    """Peaks whose pixels are given, as `collect_peaks` writes them, and what goes with them."""
    peaks, boxes = np.zeros((len(groups), 10)), np.zeros((len(groups), 4), np.int64)
    owner = np.zeros(SHAPE, np.int32)
    for p, (rows, columns) in enumerate(groups):
        n = frame[rows, columns]
        photons, mean = n.sum() - BACKGROUND * n.size, BACKGROUND * n.size
        ss, fs = ((n * (at + 0.5)).sum() / n.sum() for at in (rows, columns))
        square = (n * ((rows + 0.5 - ss) ** 2 + (columns + 0.5 - fs) ** 2)).sum() / n.sum() / 2
        peaks[p] = fs, ss, photons, mean, -20.0 - p, n.size, n.max(), 1.0, 1.0, square
        boxes[p] = rows.min(), rows.max(), columns.min(), columns.max()
        owner[rows, columns] = p + 1
    return peaks, boxes, owner


def united(frame, groups):
    peaks, boxes, owner = peaks_of(frame, groups)
    # Distance from a beam axis above the frame.
    position = np.hypot(np.arange(SHAPE[0])[:, None] + 100.0, np.arange(SHAPE[1]) - 70.0)
    weight, rate = np.ones(SHAPE, np.float32), np.full(1000, BACKGROUND)
    work = np.where(owner > 0, -2 - frame, frame).astype(np.int32)
    piece_of = np.empty(len(groups), np.int64)
    left = unite(peaks, boxes, owner, work, position.astype(np.float32), weight, rate, piece_of)
    assert (np.bincount(piece_of, minlength=left) > 0).all()
    assert not owner.any()
    return peaks[:left]


def line(rows, column):
    rows = np.asarray(rows)
    return rows, np.full(rows.size, column)


def test_pieces_of_a_streak_are_one_peak_of_all_their_photons():
    frame = np.zeros(SHAPE, np.int64)
    groups = [line(range(40, 46), 70), line(range(48, 53), 70), line(range(55, 58), 70)]
    for group in groups:
        frame[group] = 3
    (peak,) = united(frame, groups)
    assert peak[2] == pytest.approx(42, abs=0.2)
    assert peak[:2] == pytest.approx([70.5, 48.571], abs=0.01)
    assert peak[4] == -22.0
    assert (peak[5], peak[6]) == (14, 3)
    assert peak[7] == pytest.approx(np.sqrt(42), rel=0.01)


def test_spots_are_not_chained_by_fragments_between_them():
    frame = np.zeros(SHAPE, np.int64)
    groups = [line(range(40, 43), 70), line([46], 70), line(range(50, 53), 70), line([56], 70)]
    for group, photons in zip(groups, ([20, 80, 20], [3], [20, 80, 20], [3]), strict=True):
        frame[group] = photons
    left = united(frame, groups)
    bright = left[left[:, 2] > 100]
    assert sorted(bright[:, 1]) == pytest.approx([41.5, 51.5], abs=0.3)


def test_what_is_put_together_has_an_end():
    frame = np.zeros(SHAPE, np.int64)
    groups = [line(range(start, start + 5), 70) for start in range(5, 110, 7)]
    for group in groups:
        frame[group] = 3
    left = united(frame, groups)
    assert 2 < len(left) < 8
    assert left[:, 5].max() <= 40
    assert left[:, 2].sum() == pytest.approx(15 * len(groups), abs=1)


def test_pieces_on_a_background_that_was_taken_too_bright_keep_their_places():
    frame = np.zeros(SHAPE, np.int64)
    groups = [line(range(40, 45), 70), line(range(46, 50), 70)]
    for group in groups:
        frame[group] = 1
    peaks, boxes, owner = peaks_of(frame, groups)
    peaks[:, 2] = -3.0
    maps = np.full(SHAPE, 5.0, np.float32), np.ones(SHAPE, np.float32), np.full(10, BACKGROUND)
    left = unite(
        peaks,
        boxes,
        owner,
        np.where(owner > 0, -3, 0).astype(np.int32),
        *maps,
        np.empty(2, np.int64),
    )
    assert (np.abs(peaks[:left, :2] - [70.5, 45]) < 4).all()
