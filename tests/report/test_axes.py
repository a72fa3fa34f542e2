import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hitfinder.report.axes import BOTTOM, FULL, HALF, HEIGHT, LEFT, NARROW, RIGHT, TOP, Chart, mark
from hitfinder.report.charts import draw_bars
from hitfinder.report.colours import LIGHT


def chart(draw=lambda axes: None, x=(0, 10), y=(0, 10), **more):
    return Chart("one", "a & b", draw, x, y, "the x", "the y", **more)


def drawn(made, width=HALF):
    return ET.fromstring(made.svg(width))


def ticks(made, side, width=HALF):
    """Texts of the ticks of an axis: on the y axis they end where it is."""
    anchor = {"x": "middle", "y": "end"}[side]
    texts = [t for t in drawn(made, width).iter("text") if "transform" not in t.attrib]
    return [t.text for t in texts if f"text-anchor: {anchor}" in t.attrib["style"]]


def points(path):
    return [tuple(map(float, p.split())) for p in re.split("[ML]", path.replace("z", "")) if p]


@pytest.mark.parametrize(
    ("limits", "more", "shown"),
    [
        ((0, 100), {}, ["0", "20", "40", "60", "80", "100"]),
        ((0, 3), {"whole": ("y",)}, ["0", "1", "2", "3"]),
        ((0, 0.5), {"whole": ("y",)}, ["0"]),
        (
            (0.5, 200),
            {"log": ("y",), "whole": ("y",)},
            ["1", "2", "5", "10", "20", "50", "100", "200"],
        ),
        ((0.04, 0.3), {"log": ("y",)}, ["0.05", "0.1", "0.2"]),
        ((1e-6, 1), {"log": ("y",)}, ["10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1"]),
    ],
)
def test_ticks_are_round_and_inside(limits, more, shown):
    assert ticks(chart(y=limits, **more), "y") == shown


def test_a_bent_axis_is_marked_on_both_sides_of_its_knee():
    bent = chart(x=(0, 300), knee=2.0)
    assert ticks(bent, "x")[:-1] == ["0", "1", "2", "5", "10", "20", "50", "100", "200"]


def test_named_places_have_their_names():
    named = chart(x=(0, 0.5), named={1 / 20: "20", 1 / 10: "10", 1 / 4: "4", 1 / 3.98: "3.98"})
    assert ticks(named, "x")[:-1] == ["20", "10", "4"]


def test_a_narrow_chart_has_fewer_ticks_and_letters_as_large():
    made = chart(x=(0, 60))
    assert len(ticks(made, "x", NARROW)) < len(ticks(made, "x", FULL))
    for width in (NARROW, HALF, FULL):
        svg = drawn(made, width)
        assert svg.attrib["viewBox"] == f"0 0 {width} {HEIGHT}"
        styles = [text.attrib["style"] for text in svg.iter("text")]
        sizes = {re.search(r"font-size: ([\d.]+)px", style)[1] for style in styles}
        assert sizes == {"12", "12.5"}


def test_points_are_drawn_where_they_belong():
    made = chart(
        lambda axes: axes.plot([0, 5, 10], [1, 10, 100], **mark("line")), y=(1, 100), log=("y",)
    )
    svg = drawn(made)
    assert svg.attrib["aria-label"] == "a & b"
    line = points(svg.find("g[@class='line']/path").attrib["d"])
    middle = (LEFT + HALF - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    assert line[0] == pytest.approx((LEFT, HEIGHT - BOTTOM), abs=0.01)
    assert line[1] == pytest.approx(middle, abs=0.01)
    assert line[2] == pytest.approx((HALF - RIGHT, TOP), abs=0.01)


def test_a_line_breaks_where_there_is_no_value():
    made = chart(lambda axes: axes.plot([0, 1, 2, 3], [0.5, math.nan, 0.5, 0.5], **mark("line")))
    assert drawn(made).find("g[@class='line']/path").attrib["d"].count("M") == 2


def test_bars_are_as_high_as_their_counts_and_say_so():
    edges, counts = np.arange(4), np.array([5, 0, 10])
    made = chart(lambda axes: draw_bars(axes, edges, counts, "bar", "<frames>"), x=(0, 3))
    bars = drawn(made).findall("g[title]")
    heights = [np.ptp([y for _, y in points(bar.find("path").attrib["d"])]) for bar in bars]
    inside = HEIGHT - BOTTOM - TOP
    assert heights == pytest.approx([inside / 2, inside], abs=0.02)
    assert bars[0].find("title").text == "0 – 1: 5 <frames>"


def test_colours_are_those_of_the_page_and_nothing_comes_from_elsewhere():
    def draw(axes):
        axes.plot([0, 1], [0, 1], **mark("line"))
        axes.fill_between([0, 1], [0, 0], [1, 1], **mark("band"))

    text = chart(draw).html((NARROW, HALF, FULL))
    assert "stroke: var(--accent)" in text
    assert not any(colour in text for colour in LIGHT.values())
    assert not re.search(r"https?:|url\(|font-family|<style|<metadata", text)
    names = re.findall(r'id="([^"]*)"', text)
    assert len(names) == len(set(names)) > 2
    assert {n[1:] for n in re.findall(r'href="([^"]*)"', text)} <= set(names)
