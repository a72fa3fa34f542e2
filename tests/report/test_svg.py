import math
import xml.etree.ElementTree as ET

import pytest

from hitfinder.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Scale, number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (7.0, "7"),
        (1234567, "1\u2009234\u2009567"),
        (298.4, "298"),
        (0.02117, "0.0212"),
        (51234.56, "51\u2009235"),
        (1e-5, "10⁻⁵"),
        (2.5e9, "2.5·10⁹"),
        (float("nan"), "–"),
        (-3, "-3"),
    ],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("scale", "ticks"),
    [
        (Scale(0, 100, ""), [0, 20, 40, 60, 80, 100]),
        (Scale(0, 3, "", "integer"), [0, 1, 2, 3]),
        (Scale(0, 0.5, "", "integer"), [0]),
        (Scale(0.5, 200, "", "log"), [0.5, 1, 2, 5, 10, 20, 50, 100, 200]),
        (Scale(1e-6, 1, "", "log"), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]),
    ],
)
def test_ticks_are_round_and_inside(scale, ticks):
    assert scale.ticks() == pytest.approx(ticks)


def drawn(chart):
    return ET.fromstring(chart.svg())


def test_points_are_drawn_where_they_belong():
    chart = Chart(Scale(0, 10, "x"), Scale(1, 100, "y", "log"), "a & b")
    chart.line([0, 5, 10], [1, 10, 100])
    svg = drawn(chart)
    assert svg.attrib["aria-label"] == "a & b"
    path = svg.find("path[@class='line']").attrib["d"]
    points = [tuple(map(float, p.split())) for p in path[1:].replace("L", "|").split("|")]
    middle = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    assert points[0] == pytest.approx((LEFT, HEIGHT - BOTTOM))
    assert points[1] == pytest.approx(middle)
    assert points[2] == pytest.approx((WIDTH - RIGHT, TOP))


def test_a_line_breaks_where_there_is_no_value():
    chart = Chart(Scale(0, 3, "x"), Scale(0, 1, "y"), "t")
    chart.line([0, 1, 2, 3], [0.5, math.nan, 0.5, 0.5])
    assert drawn(chart).find("path").attrib["d"].count("M") == 2


def test_bars_are_as_high_as_their_counts_and_say_so():
    chart = Chart(Scale(0, 3, "x"), Scale(0, 10, "y"), "t")
    chart.bars([0, 1, 2, 3], [5, 0, 10], what="<frames>")
    bars = drawn(chart).findall("rect")
    assert [float(bar.attrib["height"]) for bar in bars] == pytest.approx(
        [(HEIGHT - BOTTOM - TOP) / 2, HEIGHT - BOTTOM - TOP], abs=0.01
    )
    assert bars[0].find("title").text == "0 – 1: 5 <frames>"
