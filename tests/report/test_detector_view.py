import dataclasses

import numpy as np
import pytest

from hitfinder.finding.squares import squares_in
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.report.detector_view import DetectorView
from hitfinder.results.binned import PER_COUNT, add_binned, counts_below


@pytest.fixture
def single():
    panel = Panel("p0", 0, 0, 50, 40, -25.0, -20.0)
    mask = np.zeros((40, 50), bool)
    mask[:4] = True
    return Geometry(Detector("one", (40, 50), (panel,), mask), 0.01, 6000.0)


@pytest.fixture
def turned():
    """Two panels of 10 x 20 stored one above the other; the second is turned by 90 degrees."""
    first = Panel("a", 0, 0, 20, 10, 5.0, 5.0)
    second = Panel("b", 0, 10, 20, 10, -5.0, 5.0, (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))
    return Geometry(Detector("two", (20, 20), (first, second)), 0.01, 6000.0)


def test_one_panel_is_shown_as_it_is_stored(single):
    view = DetectorView.of(single, 2)
    assert view.shape == (20, 25)
    frame = np.arange(40 * 50).reshape(40, 50)
    image = view.mean_image(frame)
    expected = frame.reshape(20, 2, 25, 2).mean(axis=(1, 3))
    assert np.isnan(image[:2]).all()
    np.testing.assert_allclose(image[2:], expected[2:])
    np.testing.assert_allclose(view.place(np.array([7.0]), np.array([30.0])), [[3.5, 15.0]])


@pytest.mark.parametrize(
    ("dtype", "marker"), [("u2", 65535), ("i4", -2), ("f4", np.nan), ("f8", -1.0)]
)
def test_pixels_without_a_reading_are_left_out(single, dtype, marker):
    frame = np.full((40, 50), 3, dtype)
    frame[10, 10:12] = marker
    frame[11, 11] = marker
    image = DetectorView.of(single, 1).mean_image(frame)
    assert np.isnan(image[10, 10:12]).all()
    assert np.isnan(image[11, 11])
    assert (DetectorView.of(single, 2).mean_image(frame)[5, 5]) == 3
    assert np.nansum(image) == 3 * (36 * 50 - 3)


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f2"])
def test_the_mean_is_that_of_each_pixel_one_after_the_other(turned, dtype):
    rng = np.random.default_rng(4)
    frame = rng.poisson(3, (20, 20)).astype(dtype)
    frame[3, 4] = np.nan if frame.dtype.kind == "f" else np.iinfo(frame.dtype).max
    mask = rng.random((20, 20)) < 0.2
    view = DetectorView.of(turned, 1.7)
    good = ~mask
    good[3, 4] = False
    cells, n = view.cells[good], view.shape[0] * view.shape[1]
    total, count = np.bincount(cells, frame[good], n), np.bincount(cells, minlength=n)
    slow = np.divide(total, count, out=np.full(n, np.nan), where=count > 0)
    np.testing.assert_array_equal(view.mean_image(frame, mask).ravel(), slow)


def test_the_cells_of_some_pixels_are_those_of_all(turned):
    view, ss, fs = DetectorView.of(turned, 1.7), *np.indices((20, 20)).reshape(2, -1)
    assert np.array_equal(view.cells_at(fs, ss), view.cells.ravel())
    assert view.cells_at(np.array([25]), np.array([3])).tolist() == [-1]


def test_one_panel_is_shown_as_it_is_stored_whatever_its_direction(single):
    panel = dataclasses.replace(
        single.detector.panels[0],
        fs_vector=(-1.0, 0.0, 0.0),
        ss_vector=(0.0, -1.0, 0.0),
        corner_x=25.0,
        corner_y=20.0,
    )
    detector = dataclasses.replace(single.detector, panels=(panel,))
    view = DetectorView.of(dataclasses.replace(single, detector=detector), 1)
    frame = np.arange(2000.0).reshape(40, 50)
    np.testing.assert_array_equal(view.mean_image(frame)[4:], frame[4:])


def test_panels_are_put_in_their_places(turned):
    view = DetectorView.of(turned, 1)
    frame = np.zeros((20, 20))
    frame[0, 0] = 1  # first panel: at x 5.5, y 5.5 pixels
    frame[10, 3] = 2  # second panel, 3 along fs = y 8.5, 0 along ss = x -5.5
    image = view.mean_image(frame)
    # x to the right from -15, y upwards to 25.
    assert view.shape == (20, 40)
    assert image[25 - 6, 15 + 5] == 1
    assert image[25 - 9, 15 - 6] == 2
    assert np.isnan(image[0, 39])
    column, row = view.place(np.array([3.5]), np.array([10.5]))[0]
    assert (column, row) == pytest.approx((9.5, 16.5))
    assert np.isnan(view.place(np.array([3.5]), np.array([99.0]))).all()


def test_rings_are_where_the_geometry_has_that_resolution(single):
    view = DetectorView.of(single, 0.5)
    rings = view.rings()
    assert len(rings) >= 3
    for resolution, (column, row, radius) in rings:
        fs, ss = (column + 0.6 * radius) * 0.5, (row + 0.8 * radius) * 0.5
        if 0 <= fs < 50 and 0 <= ss < 40:
            found = single.resolution_a(np.array([fs]), np.array([ss]))
            assert found[0] == pytest.approx(resolution, rel=1e-6)
    assert view.ring(0.5) is None


def test_binned_sums_become_means_per_unmasked_pixel(single):
    mask = single.detector.full_mask
    frame = np.random.default_rng(1).poisson(3.0, (40, 50)).astype(np.uint16)
    for size in (1, 3):
        total = np.zeros(squares_in(frame.shape, size), np.int64)
        add_binned(frame, mask, counts_below(frame.dtype, None), size, total, total.copy())
        image = DetectorView.of(single, size).unbin(total, size, mask)
        expected = DetectorView.of(single, size).mean_image(frame, mask)
        np.testing.assert_allclose(image, expected)


def test_binned_maxima_stay_maxima(single):
    mask = single.detector.full_mask
    most = np.random.default_rng(1).poisson(3.0, squares_in((40, 50), 3))
    image = DetectorView.of(single, 3).unbin(most, 3, mask, maxima=True)
    shown = ~np.isnan(image)
    np.testing.assert_array_equal(image[shown], most[shown])
    assert shown.mean() > 0.8


@pytest.mark.parametrize(
    ("dtype", "saturation", "expected"),
    [
        (np.float64, 50.0, [[1.0, 4.0], [2.0, 1.0]]),
        (np.float32, None, [[51.0, 4.0], [2.0, 1.0]]),
        (np.int32, 49.5, [[1.0, 4.0], [2.0, 1.0]]),
        (np.int16, None, [[51.0, 4.0], [2.0, 1.0]]),
        (np.uint8, None, [[51.0, 4.0], [2.0, 1.0]]),
        (np.uint64, 1e30, [[51.0, 4.0], [2.0, 1.0]]),
    ],
)
def test_binned_sums_leave_out_masked_saturated_and_missing_pixels(dtype, saturation, expected):
    dtype = np.dtype(dtype)
    frame = np.array([[1, 0, 0], [50, 2, 4], [1, 1, 1]], dtype)
    frame[0, 1:] = {"f": np.nan, "i": -3}.get(dtype.kind) or np.iinfo(dtype).max
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    total = np.zeros((2, 2), np.int64)
    add_binned(frame, mask, counts_below(dtype, saturation), 2, total, total.copy())
    units = PER_COUNT if dtype.kind == "f" else 1
    assert (total / units).tolist() == expected
