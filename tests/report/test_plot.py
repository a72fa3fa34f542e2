"""`hitfinder.plot`: a frame with its peaks on matplotlib axes."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pyarrow as pa
import pytest
from matplotlib import pyplot
from matplotlib.collections import EllipseCollection

import hitfinder as hf

SHAPE = (80, 90)


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[:, 40:44] = True
    return hf.Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000, mask=mask)


@pytest.fixture
def frame():
    counts = np.zeros(SHAPE, np.uint16)
    counts[20, 30] = 50
    return counts


PEAKS = {"fs": [30.5, 70.5], "ss": [20.5, 60.5], "probability": [0.9, 0.2]}


def circles(axes):
    """Centres of what is circled, and whether the circle is dotted."""
    found = {}
    for drawn in axes.collections:
        if isinstance(drawn, EllipseCollection):
            (dashes,) = drawn.get_linestyles()
            for x, y in drawn.get_offsets():
                found[round(float(x), 6), round(float(y), 6)] = dashes[1] is not None
    return found


def test_peaks_are_circled_on_the_frame(frame, geometry):
    axes = hf.plot(frame, PEAKS, geometry=geometry)
    drawn = circles(axes)
    assert drawn == {(30.5, 20.5): False, (70.5, 60.5): True}
    image = axes.images[0].get_array()
    assert image.shape == SHAPE
    assert image[20, 30] == 50
    assert np.ma.getmaskarray(image)[:, 40:44].all() or np.isnan(np.asarray(image)[:, 40:44]).all()
    assert [text.get_text() for text in axes.texts if "Å" in text.get_text()]


def test_a_frame_alone_needs_no_geometry(frame):
    axes = hf.plot(frame)
    assert not circles(axes)
    assert not axes.texts
    assert axes.get_xlabel() == "fs (pixels)"
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 90), (80, 0))


def test_axes_of_your_own_are_used(frame):
    _, (left, right) = pyplot.subplots(1, 2)
    table = pa.table({"fs": [30.5], "ss": [20.5]})
    assert hf.plot(frame, table, ax=right, zoom=(30, 20, 8)) is right
    assert right.get_xlim() == pytest.approx((26, 34))
    assert right.get_ylim() == pytest.approx((24, 16))
    assert not left.images
    assert set(circles(right)) == {(30.5, 20.5)}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([np.zeros((3, 4, 5))], {}, r"no frame of counts: shape \(3, 4, 5\)"),
        ([np.zeros((3, 4), complex)], {}, "complex128"),
        ([np.zeros((3, 4)), {"x": [1]}], {}, "peaks has no column 'fs'"),
        ([np.zeros(SHAPE)], {"zoom": (5, 5, 0)}, "must be positive"),
        ([np.zeros(SHAPE)], {"zoom": (500, 5, 9)}, "no panel at fs 500"),
        ([np.zeros((3, 4))], {"geometry": True}, r"frame shape \(3, 4\) is not the geometry's"),
    ],
)
def test_bad_input_is_named(geometry, arguments, options, message):
    if "geometry" in options:
        options = {"geometry": geometry}
    with pytest.raises(ValueError, match=message):
        hf.plot(*arguments, **options)


@pytest.mark.parametrize("shape", [(100, 400), (400, 100), (300, 300)])
def test_the_scale_of_colours_is_no_higher_than_the_frame(shape):
    axes = hf.plot(np.zeros(shape, np.uint16))
    axes.figure.canvas.draw()
    bar = axes.figure.axes[1]
    assert bar.get_window_extent().height <= axes.get_window_extent().height
