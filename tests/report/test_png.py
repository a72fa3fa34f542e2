import io

import numpy as np
from matplotlib.image import imread

from hitfinder.report import png


def test_an_image_can_be_read_back():
    levels = np.array([[0, 10, png.LEVELS], [63, 5, 1]], np.uint8)
    image = imread(io.BytesIO(png.encode(levels)))
    assert image.shape == (2, 3, 4)
    colours = np.rint(255 * image[..., :3]).astype(int)
    opaque = levels < png.LEVELS
    assert (colours[opaque] == png.palette()[levels[opaque]]).all()
    assert (image[..., 3] == opaque).all()


def test_levels_are_logarithmic_and_missing_pixels_stay_missing():
    image = np.array([[0.0, 1, 10, 100, 1e9, np.nan]])
    levels = png.log_levels(image, 1.0, 100.0)
    assert levels.tolist() == [[0, 0, 31, 63, 63, png.LEVELS]]


def test_limits_leave_out_a_single_glaring_pixel():
    image = np.ones((200, 200))
    image[:100] = 5
    image[3, 3] = 1e6
    image[4, 4] = np.nan
    low, high = png.log_limits(image)
    assert low <= 1
    assert 5 <= high < 10
    low, high = png.log_limits(np.zeros((3, 3)))
    assert 0 < low < high


def test_brightness_rises_along_the_scale():
    luminance = png.palette() @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
