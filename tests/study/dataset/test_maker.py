"""Frames of the real simulation, on a coarse detector."""

import pickle

import h5py
import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.executors.processes import Processes
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.water import expected_water
from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.layout import continuous, report_matrix
from hitfinder.study.dataset.maker import SimulatedMaker, binned
from hitfinder.study.dataset.recipe import Conditions, Recipe, Variation
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.dataset.validate import validate

FIRST, LAST = report_matrix()[0], report_matrix()[8]


def maker(**changes):
    return SimulatedMaker(Recipe(**{"frames": 4, "bin": 16, "seed": 2, **changes}))


def test_a_frame_is_the_same_whenever_it_is_made():
    first, again = maker(), pickle.loads(pickle.dumps(maker()))
    again.frame(FIRST, 7, True)
    a, b = first.frame(LAST, 3, True), again.frame(LAST, 3, True)
    assert np.array_equal(a.bragg, b.bragg)
    assert np.array_equal(a.water, b.water)
    assert not np.array_equal(a.water, first.frame(LAST, 4, True).water)
    assert not np.array_equal(a.bragg, maker(seed=3).frame(LAST, 3, True).bragg)


def test_water_is_what_the_physics_says():
    made = maker(protocol="paper")
    # The report's water image of 6 keV, 0.15 m reaches 4 to 22 photons on a pixel of 75 um.
    geometry = Geometry(named_detector("eiger-4m-report"), 0.15, 6000.0)
    full = expected_water(geometry, 3e8 * 2000, 10e-6)[:2160, :2064]
    expected = full.reshape(135, 16, 129, 16).sum(axis=(1, 3))
    water = made.water(FIRST)
    assert water.shape == (135, 129)
    pulls = (water - expected) / np.sqrt(expected)
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.02)


def test_spots_say_where_the_photons_are():
    made = maker(protocol="paper").frame(FIRST, 0, True)
    bright = made.spots.photons > 100
    assert bright.sum() >= 5
    for fs, ss, photons in zip(
        made.spots.fs[bright], made.spots.ss[bright], made.spots.photons[bright], strict=True
    ):
        i, j = int(ss), int(fs)
        near = made.bragg[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3].sum()
        assert near > photons - 5 * np.sqrt(photons)
    assert made.spots.photons.sum() == pytest.approx(made.bragg.sum(), rel=0.05)


def test_empty_frames_hold_water_alone():
    made = maker().frame(FIRST, 0, False)
    assert not made.bragg.any()
    assert len(made.spots.fs) == 0
    assert np.array_equal(made.water, maker().frame(FIRST, 0, True).water)


def test_extremely_low_flux_scales_the_peaks_alone():
    normal = maker(protocol="paper").frame(FIRST, 0, True)
    low = maker(protocol="paper", bragg_scale=(0.01, 0.01)).frame(FIRST, 0, True)
    assert np.array_equal(low.water, normal.water)
    total = normal.bragg.sum()
    assert low.bragg.sum() == pytest.approx(total / 100, abs=5 * np.sqrt(total / 100))


def test_a_frame_with_peaks_has_a_peak():
    """At 6 keV and 0.35 m many a crystal gives no spot on the detector."""
    far = report_matrix()[6]
    photons = {}
    for least in (0.0, 8.0):
        made = maker(protocol="paper", least_spot_photons=least)
        frames = [made.frame(far, n, True) for n in range(40)]
        photons[least] = [frame.spots.photons.max(initial=0) for frame in frames]
    any_crystal, bright = np.array(photons[0.0]), np.array(photons[8.0])
    assert (any_crystal < 8).sum() >= 2
    assert bright.min() >= 8
    kept = any_crystal >= 8
    assert np.array_equal(any_crystal[kept], bright[kept]), "only crystals without peaks change"
    with pytest.raises(ConfigError, match=r"none of 1000 crystals.*1e\+09 photons at 6000 eV"):
        maker(protocol="paper", least_spot_photons=1e9, bin=128).frame(far, 0, True)


def test_shots_vary_within_their_ranges():
    vary = Variation((0.5, 1.5), (1.0, 2.0), (0.2, 0.4), 0.01, 32.0)
    made = maker(variation=vary, bragg_scale=(0.01, 0.1))
    shots = [made.frame(FIRST, n, False).extra for n in range(60)]
    for name, low, high in (
        ("flux_photons", 1.5e8, 4.5e8),
        ("water_thickness_m", 10e-6, 20e-6),
        ("bragg_scale", 0.002, 0.04),
        ("true_photon_energy", 5940, 6060),
        ("beam_shift_fs", -2, 2),
        ("beam_shift_ss", -2, 2),
    ):
        values = np.array([shot[name] for shot in shots])
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values) > 0.7 * (high - low)


def test_a_range_of_settings(tmp_path):
    settings = continuous((5000.0, 12000.0), (0.1, 0.5))
    recipe = Recipe(6, 50, bin=32, seed=1, frames_per_file=5)
    build(tmp_path / "t", settings, recipe, SimulatedMaker(recipe))
    tree = open_tree(tmp_path / "t")
    assert len(np.unique(tree.attributes.photon_energy)) == 9
    assert tree.attributes.clen.min() >= 0.1
    assert list(validate(tmp_path / "t")) == []


def small_tree(root, **options):
    recipe = Recipe(3, 100, bin=32, seed=1, frames_per_file=2)
    build(root, report_matrix()[:2], recipe, SimulatedMaker(recipe), **options)
    return root


@pytest.fixture(scope="module")
def made_alone(tmp_path_factory):
    return small_tree(tmp_path_factory.mktemp("alone") / "tree")


def assert_same_frames(one, other):
    files = sorted(p.relative_to(one) for p in one.glob("*/*/*.h5"))
    assert len(files) == 4 * 2 * 3
    for file in files:
        with h5py.File(one / file) as a, h5py.File(other / file) as b:
            assert np.array_equal(a["entry/data/data"][()], b["entry/data/data"][()])


@pytest.mark.slow  # nor do those that are killed, below
def test_workers_do_not_change_the_frames(tmp_path, made_alone):
    assert_same_frames(made_alone, small_tree(tmp_path / "two", workers=2))


@pytest.mark.parametrize(
    "delay_s",
    [0.0, *(pytest.param(d, marks=pytest.mark.slow) for d in (0.1, 0.3, None))],
)
def test_workers_that_are_killed_cost_no_file(tmp_path, made_alone, kill_workers, delay_s):
    """While they start, when their work is not sent yet, and within a file."""
    with Processes(2) as executor:
        killed = kill_workers(executor, 2, delay_s)
        small_tree(tmp_path / "two", executor=executor)
    assert len(killed) == 2
    assert_same_frames(made_alone, tmp_path / "two")


def test_binned_pixels_cover_the_same_ground():
    whole, coarse = named_detector("eiger-4m-report"), binned(named_detector("eiger-4m-report"), 8)
    assert coarse.shape == (270, 258)
    fine, large = whole.panels[0], coarse.panels[0]
    a = fine.positions(np.array([80.0]), np.array([160.0]), 0.2)
    b = large.positions(np.array([10.0]), np.array([20.0]), 0.2)
    assert np.allclose(a, b)
    masked = binned(named_detector("eiger2-x-4m"), 8)
    assert masked.mask[512 // 8, 0]
    assert not masked.mask[0, 0]


def test_masked_pixels_count_nothing():
    made = maker(detector="eiger2-x-4m", protocol="realistic")
    frame = made.frame(FIRST, 0, True)
    mask = made.detector.full_mask
    assert mask.any()
    assert not frame.water[mask].any()
    assert not frame.bragg[mask].any()


@pytest.mark.parametrize("name", ["flux_photons", "crystal_size_m", "background_shots"])
def test_impossible_conditions(name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        Conditions(**{name: -1.0})
