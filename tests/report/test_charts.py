import re
import types
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hitfinder.report import charts
from hitfinder.report.axes import BOTTOM, FULL, HALF, HEIGHT, LEFT, RIGHT, TOP


def collected(hit, ok=None, **more):
    hit = np.asarray(hit, bool)
    ok = np.ones(len(hit), bool) if ok is None else np.asarray(ok, bool)
    return types.SimpleNamespace(hit=hit, ok=ok, **more)


def widest(markup):
    """The chart at the greatest of its widths."""
    return ET.fromstring(markup)[-1]


def steps(markup):
    """The lines of a chart, each a list of points."""
    lines = widest(markup).findall("g[@class='line']/path")
    pieces = [piece for line in lines for piece in line.attrib["d"].split("M") if piece]
    return [[tuple(map(float, p.split())) for p in piece.split("L")] for piece in pieces]


def counted(markup):
    """What the bars of a chart count, by their colour."""
    counts = {}
    for bar in widest(markup).findall("g[title]"):
        colour = re.search(r"fill: var\(--(\w+)\)", bar.find("path").attrib["style"])[1]
        n = int(bar.find("title").text.split(": ")[1].split()[0])
        counts[colour] = counts.get(colour, 0) + n
    return counts


def test_hit_rate_is_that_of_the_frames_of_a_bin():
    hit = np.zeros(40, bool)
    hit[:10:2] = True
    (line,) = steps(charts.hit_rate(collected(hit)))
    floor, width = HEIGHT - BOTTOM, FULL - LEFT - RIGHT
    assert line[0][0] == pytest.approx(LEFT)
    assert line[1][0] == pytest.approx(LEFT + width / 4, abs=0.01)
    heights = [floor - y for _, y in line]
    assert heights[0] == heights[1] > 0
    assert heights[2:] == [0] * 6


def test_bins_without_frames_leave_a_gap():
    ok = np.ones(40, bool)
    ok[10:20] = False
    svg = charts.hit_rate(collected(np.zeros(40), ok))
    assert [len(line) for line in steps(svg)] == [2, 4]
    assert len(widest(svg).findall("g[@class='band']")) == 2


def test_a_single_frame_can_be_seen():
    (line,) = steps(charts.hit_rate(collected([True])))
    assert len(line) == 2
    assert line[0][1] < TOP + (HEIGHT - BOTTOM - TOP) / 2


def test_every_frame_is_in_the_histogram_of_scores():
    score = np.array([0.0, 0.1, 1.9, 2.0, 5.0, 1e6, np.nan])
    hit = score >= 2
    data = collected(hit, np.isfinite(score), score=score)
    svg = charts.scores(data, 2.0)
    assert counted(svg) == {"good": 3, "soft": 3}
    assert "threshold 2" in [text.text for text in widest(svg).iter("text")]


@pytest.mark.parametrize("threshold", [2.0, 0.0, -1.5, 30.0])
@pytest.mark.parametrize("top", [3.0, 200.0, 1e6])
def test_the_threshold_can_be_seen_and_parts_the_bars(threshold, top):
    score = np.array([threshold - 1e-3, threshold, threshold + 1e-3, top, -2.0])
    data = collected(score >= threshold, score=score.astype(np.float32))
    svg = charts.scores(data, threshold)
    assert sum(counted(svg).values()) == 5
    at = float(re.findall(r"[\d.]+", widest(svg).find("g[@class='rule']/path").attrib["d"])[0])
    for bar in widest(svg).findall("g[title]"):
        corners = re.split("[ML]", bar.find("path").attrib["d"][:-1])
        places = [float(corner.split()[0]) for corner in corners if corner.strip()]
        hit = "--good" in bar.find("path").attrib["style"]
        assert (min(places) >= at - 0.02) if hit else (max(places) <= at + 0.02)
    # Nothing like its 2 pixels beside scores of 1,000 on a linear axis.
    assert LEFT + (40 if threshold >= 0 else 12) <= at <= HALF - RIGHT - 40


def test_every_hit_is_in_the_histogram_of_peaks():
    data = collected([1, 1, 1, 0], n_peaks=np.array([0, 5, 300, 7]))
    assert counted(charts.peaks_per_hit(data)) == {"good": 3}


def test_every_peak_is_in_the_histogram_of_resolutions():
    edges, counts = np.linspace(0, 0.5, 61), np.zeros(60, int)
    counts[[3, 30, 50]] = 2, 7, 1
    svg = charts.resolution(collected([], inverse_d_edges=edges, inverse_d_counts=counts))
    assert counted(svg) == {"accent": 10}
    tips = [title.text for title in widest(svg).iter("title")]
    assert tips[1] == "4 Å – 3.87 Å: 7 peaks"
    assert {"20", "10", "5", "2"} <= {text.text for text in widest(svg).iter("text")}


def test_charts_say_what_they_show():
    hit = np.zeros(40, bool)
    hit[:10:2] = True
    said = widest(charts.hit_rate(collected(hit))).attrib["aria-label"]
    assert said == "Hits in per cent of the frames, in 4 bins over the run: from 0 to 50 %"


def test_profile_leaves_out_bins_without_background():
    q, mean = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, np.nan, 0.4, 0.3])
    assert [len(line) for line in steps(charts.radial_profile(q, mean))] == [1, 2]
    assert charts.radial_profile(q, np.full(4, np.nan)) == charts.EMPTY
    assert charts.radial_profile(q, np.empty(0)) == charts.EMPTY
