import subprocess
import sys

import numpy as np
import pytest

from hitfinder.errors import GeometryError
from hitfinder.geometry.named import detectors, named_detector

PYFAI = {
    "eiger-x-500k": "Eiger 500k",
    "eiger-x-1m": "Eiger 1M",
    "eiger-x-4m": "Eiger 4M",
    "eiger-x-9m": "Eiger 9M",
    "eiger-x-16m": "Eiger 16M",
    "eiger2-x-500k": "Eiger2 500k",
    "eiger2-x-1m": "Eiger2 1M",
    "eiger2-x-4m": "Eiger2 4M",
    "eiger2-x-9m": "Eiger2 9M",
    "eiger2-x-16m": "Eiger2 16M",
    "jungfrau-4m": "Jungfrau4M",
    "pilatus-100k": "Pilatus 100k",
    "pilatus-200k": "Pilatus 200k",
    "pilatus-300k": "Pilatus 300k",
    "pilatus-300k-w": "Pilatus 300kw",
    "pilatus-900k": "Pilatus 900k",
    "pilatus-1m": "Pilatus 1M",
    "pilatus-2m": "Pilatus 2M",
    "pilatus-6m": "Pilatus 6M",
}


def test_every_name_but_the_report_is_compared_with_pyfai():
    assert set(detectors()) - set(PYFAI) == {"eiger-4m-report"}


@pytest.mark.parametrize("name", PYFAI)
def test_shape_gaps_and_pixel_are_those_of_pyfai(name):
    detectors = pytest.importorskip("pyFAI.detectors")
    theirs = detectors.detector_factory(PYFAI[name])
    ours = named_detector(name)
    assert ours.shape == tuple(theirs.max_shape)
    assert ours.panels[0].pixel_size_m == pytest.approx(theirs.pixel1, rel=1e-12)
    np.testing.assert_array_equal(ours.full_mask, np.asarray(theirs.mask) != 0)


@pytest.mark.parametrize(
    ("name", "shape", "first_gap"),
    [("eiger-x-4m", (2167, 2070), (514, 1030)), ("eiger2-x-4m", (2162, 2068), (512, 1028))],
)
def test_gaps_start_after_the_first_module(name, shape, first_gap):
    detector = named_detector(name)
    assert detector.shape == shape
    row, column = first_gap
    assert not detector.mask[row - 1, column - 1]
    assert detector.mask[row, 0]
    assert detector.mask[0, column]


def test_the_reports_detector_has_no_gaps():
    detector = named_detector("eiger-4m-report")
    assert detector.shape == (2163, 2069)
    assert not detector.full_mask.any()


def test_the_beam_meets_the_middle_of_the_frame():
    detector = named_detector("eiger-x-1m")
    x, y, _ = detector.panels[0].positions(np.array([515.0]), np.array([532.5]), 0.1)
    assert (x[0], y[0]) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("name", ["Eiger X 4M", "EIGER_X_4M", "eigerx4m"])
def test_spelling_does_not_matter(name):
    assert named_detector(name).name == "eiger-x-4m"


@pytest.mark.parametrize("name", ["pilatus3-6m", "pilatus3-x-6m", "PILATUS3 6M"])
def test_pilatus3_is_laid_out_as_pilatus(name):
    assert named_detector(name).shape == named_detector("pilatus-6m").shape


def test_other_detectors_come_from_pyfai():
    pytest.importorskip("pyFAI")
    detector = named_detector("rayonix_mx225")
    assert detector.shape == (3072, 3072)
    assert detector.panels[0].pixel_size_m == pytest.approx(73.242e-6, rel=1e-4)


def test_detector_without_equal_pixels_is_refused():
    pytest.importorskip("pyFAI")
    with pytest.raises(GeometryError, match="no single flat grid"):
        named_detector("aarhus")


def test_unknown_name_lists_close_ones():
    with pytest.raises(GeometryError, match="eiger2-x-4m") as caught:
        named_detector("eigre2-x-4m")
    assert "'eigre2-x-4m'" in str(caught.value)


def test_name_like_nothing_lists_all():
    with pytest.raises(GeometryError, match=r"known: .*pilatus-6m"):
        named_detector("???")


def test_own_names_do_not_load_pyfai():
    code = (
        "import sys; from hitfinder.geometry.named import named_detector;"
        "named_detector('eiger-x-1m'); sys.exit('pyFAI' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "first", "among"),
    [
        ("eiger4m", {"eiger-x-4m", "eiger2-x-4m", "eiger-4m-report"}, "eiger-4m-report"),
        ("eiger 16", {"eiger-x-16m", "eiger2-x-16m"}, "eiger2-x-16m"),
        ("pilatus6", {"pilatus-6m"}, "pilatus-6m"),
        ("jungfrau", {"jungfrau-4m"}, "jungfrau-4m"),
    ],
)
def test_names_with_all_the_letters_are_suggested_first(name, first, among, monkeypatch):
    monkeypatch.setattr("hitfinder.geometry.named._pyfai_names", dict)
    with pytest.raises(GeometryError) as caught:
        named_detector(name)
    close = str(caught.value).partition("Close names: ")[2].partition(";")[0].split(", ")
    assert set(close[: len(first)]) == first
    assert among in close
