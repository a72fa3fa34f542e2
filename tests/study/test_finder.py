"""The study's networks as a finder, with networks whose answers are set by hand."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError
from hitfinder.finding.checking import check_finder
from hitfinder.finding.contract import Finder
from hitfinder.finding.registry import FINDERS, make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.study.finder import StudyFinder
from hitfinder.study.pipeline import Predictor

SHAPE = (12, 10)


@pytest.fixture
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    detector = Detector("tiny", SHAPE, (Panel("p0", 0, 0, 10, 12, -5.0, -6.0),), mask)
    return Geometry(detector, 0.01, 6000.0)


@pytest.fixture
def networks(save_network, tmp_path):
    """A hit from 100 photons on; 7 keV; 0.15 m; a peak at every pixel, as one half is enough."""
    hit = {"linear.weight": 0.1, "linear.bias": -10}
    made = {
        "peak": save_network(tmp_path / "peak", "peak", "linear", hit, SHAPE),
        "photon_energy": save_network(
            tmp_path / "energy",
            "photon_energy",
            "linear",
            {"linear.bias": np.array([0.0, 1.0, 0.0])},
            SHAPE,
        ),
        "camera_length": save_network(
            tmp_path / "length",
            "camera_length",
            "linear",
            {"linear.bias": np.array([1.0, 0.0, 0.0])},
            SHAPE,
        ),
        "peak_location": save_network(tmp_path / "location", "peak_location", "dncnn", {}, SHAPE),
    }
    return {name: str(path) for name, path in made.items()}


def settings(networks, **changes):
    options = {**networks, "device": "cpu"}
    return FinderSettings(finder="hitfinder.study.finder:StudyFinder", options=options, **changes)


def frame(total, dtype=np.uint16):
    counts = np.zeros(SHAPE, dtype)
    counts[3, 4] = total
    return counts


def test_what_the_networks_say_is_in_the_result(geometry, networks):
    find = make_finder(geometry, settings(networks))
    assert isinstance(find, Finder)
    found = find(frame(120))
    assert (found.hit, found.photons) == (True, 120)
    assert found.hit_probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert found.score == pytest.approx(2 / np.log(10))
    assert (found.photon_energy_ev, found.camera_length_m) == (7000, 0.15)
    # One half is enough for a peak, so that all pixels belong to it.
    ((fs, ss),) = found.peaks[["fs", "ss"]].tolist()
    assert (fs, ss) == pytest.approx((5, 6), abs=0.05)
    assert found.peaks["probability"] == pytest.approx(1)
    assert found.peaks["resolution_a"] == pytest.approx(geometry.resolution_a(fs, ss))
    none = find(frame(80))
    assert (none.hit, len(none.peaks)) == (False, 0)
    assert none.score == pytest.approx(-2 / np.log(10))
    assert np.isnan([none.photon_energy_ev, none.camera_length_m]).all()


def test_each_network_sees_a_frame_once(geometry, networks, monkeypatch):
    find = make_finder(geometry, settings(networks))
    seen = []
    logits = Predictor.logits

    def counted(self, batch):
        seen.append((self.config.attribute, len(batch["frame"])))
        return logits(self, batch)

    monkeypatch.setattr(Predictor, "logits", counted)
    find(frame(80))
    assert seen == [("peak", 1)]
    seen.clear()
    find(frame(120))
    assert sorted(seen) == sorted((name, 1) for name in networks)


def test_pixels_without_a_reading_are_zero_to_the_networks(geometry, networks):
    find = make_finder(geometry, settings(networks))
    plain = find(frame(120)).score
    for dtype, unread in (("u2", 65535), ("u4", 2**32 - 1), ("i4", -1), ("f4", np.nan)):
        counts = frame(120, dtype)
        counts[7, 7] = unread
        counts[0] = 50
        kept = counts.copy()
        assert find(counts).score == pytest.approx(plain)
        np.testing.assert_array_equal(counts, kept)
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    assert find(frame(120), mask).photons == 0
    nothing = find(frame(120), np.ones(SHAPE, bool))
    assert (nothing.score, nothing.hit, len(nothing.peaks)) == (0, False, 0)


def test_frames_are_binned_to_what_the_networks_have_learnt_from(geometry, networks):
    # Three pixels to one, and rows and columns that fill no whole one.
    shape = (38, 31)
    mask = np.zeros(shape, bool)
    mask[:2] = True
    panel = Panel("p0", 0, 0, 31, 38, -15.0, -18.0, pixel_size_m=25e-6)
    fine = Geometry(Detector("fine", shape, (panel,), mask), 0.01, 6000.0)
    find = make_finder(fine, settings(networks))
    rng = np.random.default_rng(1)
    counts = np.zeros(shape, np.uint16)
    counts[3:36, :30] = rng.poisson(0.12, (33, 30))
    counts[2] = 9  # in the first row of bins, of which two thirds are masked
    counts[-2:] = counts[:, -1] = 7
    joined = np.zeros(SHAPE, np.uint16)
    for row, column in np.ndindex(11, 10):
        bin_ = counts[3 * row + 3 : 3 * row + 6, 3 * column : 3 * column + 3]
        joined[row + 1, column] = bin_.sum()
    found, expected = find(counts), make_finder(geometry, settings(networks))(joined)
    assert found.score == pytest.approx(expected.score)
    assert found.hit
    assert found.photons == counts[2:].sum()
    (place,), (coarse,) = (x.peaks[["fs", "ss"]].tolist() for x in (found, expected))
    assert place == pytest.approx([3 * x for x in coarse], abs=1e-4)
    np.testing.assert_allclose(found.peaks["resolution_a"], fine.resolution_a(*place), rtol=1e-5)
    # A hole in a bin empties it.
    hole = np.zeros(shape, bool)
    hole[3:33:3, 1:30:3] = True
    left = 0.1 * joined[11].sum() - 10
    assert find(counts, hole).score == pytest.approx(left / np.log(10))


def test_a_hit_can_be_asked_more_of(geometry, networks):
    find = make_finder(geometry, settings(networks, hit_threshold=1.0))
    assert find.least_score == 1
    # Ten times the odds at the threshold: 2.3 above it in natural logarithms.
    assert not find(frame(122)).hit
    assert find(frame(124)).hit
    assert not make_finder(geometry, settings(networks, min_peaks=2))(frame(120)).hit


def test_frames_of_another_shape_are_refused(geometry, networks):
    find = make_finder(geometry, settings(networks))
    with pytest.raises(ValueError, match="frame shape"):
        find(np.zeros((9, 9), np.uint16))
    with pytest.raises(ValueError, match="mask shape"):
        find(frame(1), np.zeros((9, 9), bool))
    panel = Panel("p0", 0, 0, 9, 9, -5.0, -6.0)
    other = Geometry(Detector("tiny", (9, 9), (panel,)), 0.01, 6000.0)
    with pytest.raises(ConfigError, match="frames have 9 x 9 pixels"):
        make_finder(other, settings(networks))


def test_another_network_has_another_fingerprint(geometry, networks, save_network, tmp_path):
    first = make_finder(geometry, settings(networks)).fingerprint
    hit = {"linear.weight": 0.1, "linear.bias": -11}
    other = str(save_network(tmp_path / "other", "peak", "linear", hit, SHAPE))
    assert make_finder(geometry, settings({**networks, "peak": other})).fingerprint != first


def test_it_keeps_the_contract_of_finders(save_network, tmp_path):
    shape = (40, 44)
    hit = {"linear.weight": 0.01, "linear.bias": -10}
    options = {
        "peak": str(save_network(tmp_path / "peak", "peak", "linear", hit, shape)),
        "peak_location": str(
            save_network(tmp_path / "location", "peak_location", "dncnn", {}, shape)
        ),
        "device": "cpu",
    }
    geometry = Geometry.flat(shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6000.0)
    check_finder(StudyFinder, geometry, FinderSettings(finder="study", options=options))


def test_it_is_registered_by_name():
    assert FINDERS.load("study") is StudyFinder
    assert FINDERS.find("study").is_ours
