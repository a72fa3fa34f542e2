import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.report import pictures
from hitfinder.report.colours import LEVELS, palette
from hitfinder.report.detector_view import DetectorView


def test_an_image_can_be_read_back():
    levels = np.array([[0, 10, LEVELS], [63, 5, 1]], np.uint8)
    image = np.asarray(Image.open(io.BytesIO(pictures.encode(levels))).convert("RGBA"))
    assert image.shape == (2, 3, 4)
    opaque = levels < LEVELS
    assert (image[opaque][:, :3] == palette()[levels[opaque]]).all()
    assert (image[..., 3] == 255 * opaque).all()


def test_levels_are_logarithmic_and_missing_pixels_stay_missing():
    image = np.array([[0.0, 1, 10, 100, 1e9, np.nan]])
    levels = pictures.log_levels(image, 1.0, 100.0)
    assert levels.tolist() == [[0, 0, 31, 63, 63, LEVELS]]


@pytest.fixture
def view():
    panel = Panel("p0", 0, 0, 90, 80, -45.0, -40.0)
    return DetectorView.of(Geometry(Detector("small", (80, 90), (panel,)), 0.02, 6000.0), 1)


def test_what_a_picture_shows_is_told(view):
    image = np.full(view.shape, 3.0)
    drawn = pictures.picture(view, image, 'all "counts"', unit="photons", whole=True)
    assert re.search(r'alt="all &quot;counts&quot;, with rings of \d+ Å, [^"]*"', drawn)
    assert drawn.count("<svg") == 1


def test_rings_are_drawn_and_named_where_they_are(view):
    drawn = pictures.picture(view, np.ones(view.shape), "")
    labels = re.findall(r'<span style="left:([\d.]+)%;top:([\d.]+)%">([\d.]+) Å', drawn)
    assert len(labels) >= 2
    for left, top, resolution in labels:
        fs, ss = float(left) * 0.9, float(top) * 0.8
        found = view.geometry.resolution_a(np.array([fs]), np.array([ss]))[0]
        assert found == pytest.approx(float(resolution), rel=0.05)
    svg = ET.fromstring(re.search("<svg.*</svg>", drawn)[0])
    assert len(svg.findall("g[@class='ring']/circle")) >= len(labels)


def test_the_scale_is_marked_at_round_values_in_their_places(view):
    image = np.ones(view.shape)
    image[:, ::2] = 100.0
    drawn = pictures.picture(view, image, "", unit="photons", whole=True)
    scale = re.search('<div class="scale">.*', drawn)[0]
    marks = {m[1]: float(m[0]) for m in re.findall(r"left:([\d.]+)%\">([\d.]+)<", scale)}
    assert list(marks) == ["1", "2", "5", "10", "20", "50", "100"]
    # From a quarter of the darkest to the brightest.
    assert marks["10"] == pytest.approx(100 * np.log(40) / np.log(400), abs=0.1)
