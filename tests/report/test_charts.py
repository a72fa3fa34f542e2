import types
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hitfinder.report import charts
from hitfinder.report.svg import BOTTOM, FULL_WIDTH, HEIGHT, LEFT, RIGHT, TOP


def collected(hit, ok=None, **more):
    hit = np.asarray(hit, bool)
    ok = np.ones(len(hit), bool) if ok is None else np.asarray(ok, bool)
    return types.SimpleNamespace(hit=hit, ok=ok, **more)


def steps(svg):
    """The lines of a chart, each a list of points."""
    path = ET.fromstring(svg).find("path[@class='line']").attrib["d"]
    pieces = [piece for piece in path.split("M") if piece]
    return [[tuple(map(float, p.split())) for p in piece.split("L")] for piece in pieces]


def test_hit_rate_is_that_of_the_frames_of_a_bin():
    hit = np.zeros(40, bool)
    hit[:10:2] = True
    (line,) = steps(charts.hit_rate(collected(hit)))
    floor, width = HEIGHT - BOTTOM, FULL_WIDTH - LEFT - RIGHT
    assert line[0][0] == LEFT
    assert line[1][0] == pytest.approx(LEFT + width / 4, abs=0.01)
    heights = [floor - y for _, y in line]
    assert heights[0] == heights[1] > 0
    assert heights[2:] == [0] * 6


def test_bins_without_frames_leave_a_gap():
    ok = np.ones(40, bool)
    ok[10:20] = False
    svg = charts.hit_rate(collected(np.zeros(40), ok))
    assert [len(line) for line in steps(svg)] == [2, 4]
    assert svg.count('class="band"') == 2


def test_a_single_frame_can_be_seen():
    (line,) = steps(charts.hit_rate(collected([True])))
    assert len(line) == 2
    assert line[0][1] < TOP + (HEIGHT - BOTTOM - TOP) / 2


def test_every_frame_is_in_the_histogram_of_scores():
    score = np.array([0.0, 0.1, 1.9, 2.0, 5.0, 1e6, np.nan])
    hit = score >= 2
    data = collected(hit, np.isfinite(score), score=score)
    svg = ET.fromstring(charts.scores(data, 2.0))
    counts = {"bar hit": 0, "bar blank": 0}
    for bar in svg.findall("rect"):
        counts[bar.attrib["class"]] += int(bar.find("title").text.split(": ")[1].split()[0])
    assert counts == {"bar hit": 3, "bar blank": 3}
    assert svg.find("text[@class='note']").text == "threshold 2"


def test_every_hit_is_in_the_histogram_of_peaks():
    data = collected([1, 1, 1, 0], n_peaks=np.array([0, 5, 300, 7]))
    bars = ET.fromstring(charts.peaks_per_hit(data)).findall("rect")
    assert sum(int(bar.find("title").text.split(": ")[1].split()[0]) for bar in bars) == 3


def test_profile_leaves_out_bins_without_background():
    q, mean = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, np.nan, 0.4, 0.3])
    assert [len(line) for line in steps(charts.radial_profile(q, mean))] == [1, 2]
    assert charts.radial_profile(q, np.full(4, np.nan)) == charts.EMPTY
    assert charts.radial_profile(q, np.empty(0)) == charts.EMPTY
