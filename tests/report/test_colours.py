import numpy as np
import pytest
from matplotlib.colors import LinearSegmentedColormap

from hitfinder.report.colours import (
    _ANCHORS,
    DARK,
    LEVELS,
    LIGHT,
    count_colours,
    log_limits,
    log_ticks,
    palette,
)


def test_limits_leave_out_a_single_glaring_pixel():
    image = np.ones((200, 200))
    image[:100] = 5
    image[3, 3] = 1e6
    image[4, 4] = np.nan
    low, high = log_limits(image)
    assert low <= 1
    assert 5 <= high < 10
    low, high = log_limits(np.zeros((3, 3)))
    assert 0 < low < high


def test_brightness_rises_along_the_scale():
    luminance = palette() @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_the_scale_is_that_of_matplotlib():
    anchors = [(at, np.array(colour) / 255) for at, colour in _ANCHORS]
    theirs = LinearSegmentedColormap.from_list("theirs", anchors, LEVELS)
    steps = np.arange(LEVELS)
    assert (palette() == theirs(steps, bytes=True)[:, :3]).all()
    assert (count_colours()(steps) == theirs(steps)).all()


def test_whole_counts_are_marked_at_whole_numbers():
    assert log_ticks(0.25, 12, whole=True) == [1, 2, 5, 10]
    assert log_ticks(0.25, 12) == pytest.approx([0.5, 1, 2, 5, 10])
    assert log_ticks(0.2, 1, whole=True) == pytest.approx([0.2, 0.5, 1])
    assert log_ticks(0.5, 1e6, whole=True) == [1, 10, 100, 1000, 1e4, 1e5, 1e6]


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colours", [LIGHT, DARK])
@pytest.mark.parametrize("use", ["ink", "soft", "accent", "good", "warn"])
def test_text_can_be_read_on_cards(colours, use):
    # WCAG 2.2, success criterion 1.4.3: a contrast of 4.5.
    one, other = sorted((luminance(colours[use]), luminance(colours["card"])))
    assert (other + 0.05) / (one + 0.05) >= 4.5
