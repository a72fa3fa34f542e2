"""The files in which other programs answer."""

import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.suite import peers

PEAKS = np.array(
    [[0, 1, 10, 20, 5], [1, 0, 11, 21, 6], [0, 1, 12, 22, 7], [1, 25, 13, 23, 8]], float
)
SETTINGS = [{"snr": 4}, {"snr": 5}]


def test_answers_come_back_by_setting_and_frame(frames, tmp_path):
    peers.write(tmp_path, "other", frames, SETTINGS, PEAKS)
    answer = peers.read(tmp_path, "other", frames)
    assert answer.settings == SETTINGS
    assert [len(lists) for lists in answer.peaks] == [26, 26]
    assert answer.peaks[0][1].tolist() == [[10, 20, 5], [12, 22, 7]]
    assert answer.peaks[1][25].tolist() == [[13, 23, 8]]
    assert sum(map(len, answer.peaks[0])) == 2
    assert peers.names(tmp_path) == ["other"]


def test_no_answer_is_none(frames, tmp_path):
    assert peers.read(tmp_path, "other", frames) is None


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no such folder"):
        peers.names(tmp_path / "none")


def test_answers_for_other_frames_are_refused(frames, tmp_path):
    peers.write(tmp_path, "other", frames, SETTINGS, PEAKS)
    meta = frames.folder / "meta.json"
    meta.write_text(meta.read_text() + " ")
    with pytest.raises(SourceError, match="made from other frames"):
        peers.read(tmp_path, "other", frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda peaks: peaks[:, :4], "shape"),
        (lambda peaks: peaks * np.nan, "finite"),
        (lambda peaks: peaks + np.array([0, 1, 0, 0, 0]), "does not exist"),
        (lambda peaks: peaks - np.array([0, 1, 0, 0, 0]), "does not exist"),
    ],
)
def test_damaged_answers_are_refused(frames, tmp_path, change, message):
    peers.write(tmp_path, "other", frames, SETTINGS, change(PEAKS))
    with pytest.raises(SourceError, match=message):
        peers.read(tmp_path, "other", frames)


def test_a_file_that_is_no_answer_is_refused(frames, tmp_path):
    path = tmp_path / "other" / "small.npz"
    path.parent.mkdir()
    path.write_bytes(b"nothing of the sort")
    with pytest.raises(SourceError, match=r"small\.npz: cannot be read"):
        peers.read(tmp_path, "other", frames)
