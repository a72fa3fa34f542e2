import dataclasses
import math

import numpy as np
import pytest

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry


@pytest.fixture
def geometry():
    """Two panels, the second turned, and a gap between them."""
    panels = (
        Panel("a", 0, 0, 100, 80, -40.0, -60.0),
        Panel("b", 0, 80, 100, 80, 90.0, -60.0, fs_vector=(0.8, 0.6, 0), ss_vector=(-0.6, 0.8, 0)),
    )
    return Geometry(Detector("two", (160, 110), panels), 0.1, 8000.0)


def test_scattering_vectors_end_on_the_ewald_sphere(geometry):
    rng = np.random.default_rng(1)
    fs, ss = rng.uniform(0, 100, 50), rng.uniform(0, 160, 50)
    q, k = geometry.scattering_vectors(fs, ss), 1 / geometry.wavelength_a
    assert np.linalg.norm(np.add(q, [0, 0, k]), axis=1) == pytest.approx(np.full(50, k))
    maps = geometry.pixels
    i, j = ss.astype(int), fs.astype(int)
    centres = geometry.scattering_vectors(j + 0.5, i + 0.5)
    assert 2 * np.pi * np.linalg.norm(centres, axis=1) == pytest.approx(maps.q[i, j], rel=1e-5)
    across = np.arctan2(centres[:, 1], centres[:, 0])
    assert across == pytest.approx(np.arctan2(maps.y[i, j], maps.x[i, j]), abs=1e-5)
    assert geometry.resolution_a(fs, ss) == pytest.approx(1 / np.linalg.norm(q, axis=1))


def test_the_places_of_some_pixels_are_those_of_the_maps(geometry):
    maps = geometry.pixels
    whole = np.stack([maps.x, maps.y, maps.z])
    assert np.isnan(whole[:, :, 100:]).all()
    ss, fs = np.indices(geometry.shape).reshape(2, -1)
    some = np.random.default_rng(2).permutation(len(ss))[:9000]
    at = np.stack(maps.at(ss[some], fs[some]))
    np.testing.assert_array_equal(at, whole[:2].reshape(2, -1)[:, some])
    assert np.stack(maps.at(ss[:0], fs[:0])).shape == (2, 0)


def test_places_on_no_panel_have_no_scattering_vector(geometry):
    assert np.isnan(geometry.scattering_vectors([105.0, 5.0], [5.0, 165.0])).all()


def test_a_pixel_spans_as_much_as_its_neighbours_vectors_differ(geometry):
    one, other = geometry.scattering_vectors([40.0, 41.0], [60.0, 60.0])
    assert np.linalg.norm(other - one) == pytest.approx(geometry.pixel_inv_a, rel=1e-4)


def test_the_beam_meets_a_tilted_panel_where_its_plane_is_on_the_axis():
    # Turned by t about y, a step along fs goes cos(t) across the beam: x = -a + fs cos(t) = 0.
    t, a, b = 0.3, 70.0, 25.0
    panel = Panel("p", 5, 3, 200, 100, -a, -b, (math.cos(t), 0.0, math.sin(t)))
    detector = Detector("tilted", (110, 210), (panel,))
    fs, ss = detector.beam_center
    assert (fs, ss) == pytest.approx((5 + a / math.cos(t), 3 + b))
    x, y, z = panel.positions(np.array(fs), np.array(ss), 0.1)
    assert (x, y) == pytest.approx((0, 0), abs=1e-12)
    assert z == pytest.approx(0.1 + 75e-6 * a * math.tan(t))


def quarters(gap):
    """Four panels about the axis as a pinwheel, each turned by a quarter from the one before.

    The axis passes `gap` pixels from the nearest corner of each, except that the third is moved
    over it by 30 pixels along each axis.
    """
    turns = [((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (-1, 0, 0)), ((-1, 0, 0), (0, -1, 0))]
    panels = []
    for n, (fs, ss) in enumerate([*turns, ((0, -1, 0), (1, 0, 0))]):
        start = -30 if n == 2 else gap
        corner = [start * (f + s) for f, s in zip(fs, ss, strict=True)]
        pixel = 150e-6 if n == 2 else 75e-6
        panels.append(Panel(f"q{n}", 0, 100 * n, 100, 100, *corner[:2], fs, ss, pixel))
    return panels


def test_the_beam_meets_the_panel_that_holds_it():
    detector = Detector("four", (400, 100), tuple(quarters(4.0)))
    assert detector.beam_center == pytest.approx((30, 230))


def test_a_beam_between_panels_is_told_in_those_of_the_nearest():
    first, second, _, fourth = quarters(4.0)
    panels = (first, fourth, dataclasses.replace(second, corner_x=-3.0, corner_y=2.0))
    # x = -3 - ss and y = 2 + fs are both 0 there; the others are sqrt(32) pixels away.
    assert Detector("three", (400, 100), panels).beam_center == pytest.approx((-2, 100 - 3))


def test_a_panel_along_the_beam_meets_no_axis(geometry):
    edge = Panel("e", 0, 0, 10, 10, 5.0, 5.0, (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    assert Detector("edge", (10, 10), (edge,)).beam_center is None
    flat = Panel("f", 0, 10, 10, 10, -4.0, -3.0)
    assert Detector("both", (20, 10), (edge, flat)).beam_center == (4, 13)


@pytest.mark.parametrize("place", [(20.5, 30.0), (60.0, 120.0), (105.0, 130.0), (50.0, 79.9)])
def test_the_beam_is_where_it_was_put(geometry, place):
    moved = geometry.detector.with_beam_center(*place)
    assert moved.beam_center == pytest.approx(place)
