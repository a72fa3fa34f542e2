import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.cli.main import main
from hitfinder.results.run import Run
from hitfinder.suite.demo import Tally, tallies
from hitfinder.suite.demo_frames import SPOT_DTYPE, DemoTruth


def truth_of(series):
    """Truth of the small series: its spots, frames in two conditions."""
    condition = np.array(
        [index % 4 // 2 if spots else -1 for index, spots in enumerate(series.spots)]
    )
    rows = [
        (index, fs, ss, int(series.frames[index][int(ss), int(fs)]))
        for index, spots in enumerate(series.spots)
        for fs, ss in spots
    ]
    return DemoTruth(condition, np.array(rows, SPOT_DTYPE))


def test_results_are_compared_with_the_truth(series, done):
    truth = truth_of(series)
    found = tallies(Run(done), truth)
    peaks = pq.read_table(done / "peaks.parquet")["frame"].to_numpy()
    assert set(found) == {-1, 0, 1}
    assert (found[-1].frames, found[-1].hits, found[-1].spots) == (30, 0, 0)
    for condition in (0, 1):
        tally = found[condition]
        mine = np.isin(peaks, np.flatnonzero(truth.condition == condition))
        assert (tally.frames, tally.hits, tally.spots, tally.found) == (15, 15, 120, 120)
        assert tally.peaks == mine.sum() == tally.found + tally.false


def test_spots_that_are_not_there_are_missed_and_peaks_off_the_spots_false(series, done):
    truth = truth_of(series)
    # Moved by 4 pixels, no spot is where its peak is; faint spots need not be found.
    truth.spots["fs"] += 4
    found = tallies(Run(done), truth)
    assert found[0].found == 0
    assert found[0].false == found[0].peaks
    truth.spots["fs"] -= 4
    truth.spots["photons"] = 7
    found = tallies(Run(done), truth)
    assert (found[0].spots, found[0].found) == (0, 0)
    assert found[0].false < found[0].peaks / 20


def test_tallies_add_up():
    tally = Tally(1, 1, 5, 4, 3, 1)
    tally.add(Tally(2, 0, 1, 0, 0, 1))
    assert tally == Tally(3, 1, 6, 4, 3, 2)


@pytest.mark.slow
def test_the_demo_finds_what_it_put_in(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--out", str(tmp_path / "demo"), "--frames", "24"])
    assert not stop.value.code
    said = capsys.readouterr().out
    assert float(re.search(r"hit efficiency ([\d.]+) %", said)[1]) > 90
    spots, found = re.search(r"all with a crystal +\S+ +(\d+) +(\d+)", said).groups()
    assert int(spots) > 300
    assert int(found) > 0.97 * int(spots)
    indexed, hits, right = re.search(r"indexed: (\d+) of (\d+) hits.*; (\d+) within", said).groups()
    assert int(right) == int(indexed) > 0.8 * int(hits)
    assert (tmp_path / "demo" / "run" / "report.html").exists()
    assert pq.read_table(tmp_path / "demo" / "truth.parquet").num_rows > int(spots)
    with pytest.raises(SystemExit) as stop:
        main(["demo", "--out", str(tmp_path / "demo")])
    assert stop.value.code == 2
    assert "exists already" in capsys.readouterr().err
