"""Whole frames: composition, reproducibility, settings that vary, and the truth."""

import numpy as np
import pytest

from hitfinder.config import to_toml
from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.orientation import COLUMNS
from hitfinder.errors import ConfigError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.detector import shot_geometry
from hitfinder.simulation.presets import PRESETS, build_settings, load_settings
from hitfinder.simulation.rng import FrameRandom
from hitfinder.simulation.shot import draw_shot, hit_fraction
from hitfinder.simulation.simulator import Simulator

FACTORS = random_structure_factors(Cell(100, 100, 130), "P 43 21 2", np.random.default_rng(1), 3.0)


@pytest.fixture
def detector():
    mask = np.zeros((260, 240), bool)
    mask[128:132] = True
    panel = Panel("p", 0, 0, 240, 260, -120, -130, pixel_size_m=3e-4)
    return Detector("small", (260, 240), (panel,), mask)


@pytest.fixture
def simulator(detector):
    def make(preset="single-shot", **overrides):
        given = {name.replace("__", "."): value for name, value in overrides.items()}
        return Simulator.of(load_settings(preset=preset, overrides=given), FACTORS, detector)

    return make


@pytest.mark.parametrize("preset", PRESETS)
def test_a_frame_depends_on_seed_and_number_alone(simulator, preset):
    first = [f.counts for f in simulator(preset, seed=3).frames(3)]
    again = simulator(preset, seed=3)
    assert np.array_equal(again.frame(2).counts, first[2])
    assert np.array_equal(again.frame(0).counts, first[0])
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(simulator(preset, seed=4).frame(0).counts, first[0])


def test_buffers_may_be_reused(simulator):
    one = simulator()
    kept = [f.counts.copy() for f in one.frames(3, reuse=True)]
    fresh = [f.counts for f in one.frames(3)]
    assert all(np.array_equal(a, b) for a, b in zip(kept, fresh, strict=True))
    buffers = {f.counts.__array_interface__["data"][0] for f in one.frames(3, reuse=True)}
    assert len(buffers) == 1
    with pytest.raises(ValueError, match="buffer"):
        one.frame(0, np.zeros(one.shape, np.int8))
    assert next(one.frames(start=2)).shot.frame == 2


@pytest.mark.parametrize("shots", [1, 3000])
def test_counts_have_the_expected_image_as_mean(simulator, shots):
    """Sparse and dense frames alike, spots included: chi-square of the sum over many frames."""
    one = simulator("report", background__shots=shots, crystal__size_um=3, beam__flux=3e9)
    shot = one.shot(0)
    one.stages = (lambda exposure: setattr(exposure, "drawn", shot), *one.stages[1:])
    expected = one.expected(0).astype(float)
    total = np.zeros(one.shape)
    repeats = 60
    for number in range(repeats):
        total += one.frame(number).counts
    on = expected > 3 / repeats
    pulls = (total[on] - repeats * expected[on]) / np.sqrt(repeats * expected[on])
    assert (pulls**2).mean() == pytest.approx(1, abs=0.05)
    assert abs(pulls.mean()) < 0.05
    assert total[one.geometry.detector.full_mask].sum() == 0


def test_bragg_photons_of_the_truth_are_in_the_frame(simulator):
    quiet = simulator(background__water_um=0, min_photons=0, beam__flux=1e11, detector__bits=32)
    frame = quiet.frame(1)
    assert len(frame.truth) > 3
    assert frame.counts.sum() == frame.truth["counts"].sum()
    expected = quiet.expected(1)
    assert expected.sum() == pytest.approx(frame.truth["photons"].sum(), rel=1e-4)
    total = frame.truth["photons"].sum()
    assert abs(frame.counts.sum() - total) < 5 * np.sqrt(total)
    brightest = frame.truth[0]
    peak = np.unravel_index(expected.argmax(), expected.shape)
    top = frame.truth[frame.truth["peak_photons"].argmax()]
    assert np.hypot(peak[1] + 0.5 - top["fs"], peak[0] + 0.5 - top["ss"]) < 2
    assert brightest["photons"] == frame.truth["photons"].max()
    assert np.all(np.diff(frame.truth["photons"]) <= 0)


def test_truth_is_consistent_with_geometry_and_axes(simulator):
    one = simulator(beam__flux=1e11)
    frame = one.frame(1)
    geometry = shot_geometry(one.geometry, frame.shot)
    truth = frame.truth[frame.truth["length_px"] < 0.3]
    assert len(truth) > 3
    g = frame.shot.crystals[0].axes @ np.stack([truth[n] for n in "hkl"])
    assert np.allclose(1 / np.linalg.norm(g, axis=0), truth["d_a"])
    k = -(g**2).sum(0) / (2 * g[2])
    assert np.allclose(1 / k, truth["wavelength_a"], rtol=6e-3)
    seen = geometry.resolution_a(truth["fs"], truth["ss"])
    at = truth["wavelength_a"] / geometry.wavelength_a
    assert np.allclose(seen * at, truth["d_a"], rtol=0.02)


def test_no_noise_gives_the_expected_photons(simulator):
    one = simulator(noise=False)
    frame = one.frame(0)
    assert frame.counts.dtype == np.float32
    assert np.allclose(frame.counts, one.expected(0))
    assert np.allclose(frame.truth["counts"], np.rint(frame.truth["photons"]))


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("beam__flux", "1e8..3e8", "flux"),
        ("beam__photon_energy_ev", "choice:6000,7000,8000", "photon_energy_ev"),
        ("detector__camera_length_m", "normal:0.2,0.02", "camera_length_m"),
        ("background__water_um", "loguniform:1,30", "water_um"),
        ("detector__shift_fs_px", "normal:0,5", "shift_fs_px"),
        ("bragg_scale", "loguniform:0.001,1", "bragg_scale"),
        ("beam__bandwidth", "0.001..0.02", "bandwidth"),
    ],
)
def test_any_parameter_can_vary(simulator, name, value, field):
    one = simulator(**{name: value})
    drawn = np.array([getattr(one.shot(n), field) for n in range(200)])
    assert len(set(drawn)) > 2
    low, high = one.stages[0].settings.value(name.replace("__", ".")).extremes
    assert low <= drawn.min() < drawn.max() <= high
    fixed = simulator("report")
    assert len({getattr(fixed.shot(n), field) for n in range(5)}) == 1


def test_energy_and_distance_of_a_shot_move_its_spots(simulator):
    one = simulator("report", detector__camera_length_m="0.1..0.3")
    shots = [one.shot(n) for n in range(6)]
    for shot in shots:
        assert shot_geometry(one.geometry, shot).camera_length_m == shot.camera_length_m
    moved = simulator("report", detector__shift_fs_px=10, detector__shift_ss_px=-4)
    still = simulator("report")
    for a, b in zip(moved.frame(0).truth, still.frame(0).truth, strict=False):
        if (a["h"], a["k"], a["l"]) == (b["h"], b["k"], b["l"]):
            assert (a["fs"] - b["fs"], a["ss"] - b["ss"]) == pytest.approx((10, -4), abs=0.1)


def test_blank_fraction_and_several_crystals(simulator):
    one = simulator(blank_fraction=0.4, crystal__count="choice:1,2,3")
    counts = np.array([len(one.shot(n).crystals) for n in range(600)])
    assert (counts == 0).mean() == pytest.approx(0.4, abs=0.09)
    assert set(counts) == {0, 1, 2, 3}
    three = next(n for n in range(600) if counts[n] == 3)
    axes = [c.axes for c in one.shot(three).crystals]
    assert not np.allclose(axes[0], axes[1])
    bright = simulator(crystal__count=3, beam__flux=1e11).frame(0)
    assert set(bright.truth["crystal"]) == {0, 1, 2}
    blank = simulator(blank_fraction=1).frame(0)
    assert blank.shot.is_blank
    assert len(blank.truth) == 0


def test_orientations_come_from_the_file(simulator, tmp_path):
    axes = np.stack([np.eye(3) * 0.02, np.eye(3) * 0.021])
    rows = [",".join(f"{v * 1e10:.6e}" for v in a.T.ravel()) for a in axes]
    path = tmp_path / "o.csv"
    path.write_text(",".join(COLUMNS) + "\n" + "\n".join(rows))
    one = simulator(crystal__orientations=str(path))
    for n in range(4):
        assert np.allclose(one.shot(n).crystals[0].axes, axes[n % 2])


@pytest.mark.parametrize(
    ("profile", "size", "offset", "share"),
    [
        ("disc", 0.0, (0, 0), 1.0),
        ("disc", 0.0, (6, 0), 0.0),
        ("disc", 10.0, (0, 0), np.pi / 4),
        ("disc", 10.0, (5, 0), np.pi / 8),
        ("gaussian", 0.0, (5, 0), np.exp(-2)),
        ("gaussian", 10.0, (0, 0), 0.5981**2),
    ],
)
def test_hit_fraction(profile, size, offset, share):
    """Areas of overlap; for the Gaussian (√(π/8) erf(√2))² of a square as wide as the beam."""
    assert hit_fraction(profile, 5.0, size, offset) == pytest.approx(share, abs=0.02)


def test_a_beam_that_misses_gives_fewer_photons(simulator):
    hit, missed = (
        simulator("report", crystal__illumination="overlap", crystal__offset_x_um=x).frame(0).truth
        for x in (0, 9)
    )
    assert missed["photons"].sum() < 0.1 * hit["photons"].sum()


def test_beam_stop_and_mask_hold_no_photons(simulator, detector):
    one = simulator("integrated", detector__beam_stop_mm=6, detector__beam_stop_arm_mm=1.0)
    frame = one.frame(0)
    assert frame.counts[detector.mask].sum() == 0
    ss, fs = np.indices(detector.shape) + 0.5
    inside = np.hypot(fs - 120, ss - 130) < 6 / 0.3
    assert frame.counts[inside].sum() == 0
    assert frame.counts[~inside & ~detector.mask].mean() > 1


def test_detector_effects_reach_the_frame(simulator):
    dead = simulator("integrated", detector__dead_fraction=0.5)
    plain = simulator("integrated")
    share = (dead.frame(0).counts > 0).mean() / (plain.frame(0).counts > 0).mean()
    assert share == pytest.approx(0.5, abs=0.02)
    assert simulator(detector__bits=8).frame(0).counts.dtype == np.uint8
    single = simulator(beam__flux=1e12, detector__one_count_per_pulse=True)
    assert single.frame(0).counts.max() == 1


@pytest.mark.parametrize(
    "spectrum", ["tophat", "gaussian", "two-colour", "sase", "inverse-compton"]
)
def test_every_spectrum_gives_spots(simulator, spectrum):
    one = simulator(beam__spectrum=spectrum, beam__bandwidth=0.02, beam__flux=1e11)
    assert sum(len(f.truth) for f in one.frames(3)) > 5


def test_spectrum_from_a_file(simulator, tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("5900 1\n6000 2\n6100 1\n")
    one = simulator(beam__spectrum=str(path), beam__flux=1e11)
    assert len(one.frame(0).truth) > 3
    assert one.expose(0).beam.spectrum.mean_energy_ev == pytest.approx(
        one.shot(0).photon_energy_ev, rel=1e-6
    )
    with pytest.raises(ConfigError, match="no spectrum 'nonsense'"):
        simulator(beam__spectrum="nonsense")


def test_settings_survive_toml(tmp_path):
    for preset in PRESETS:
        settings = load_settings(
            preset=preset,
            overrides={"beam.flux": "1e8..3e8", "detector.beam_center": [10, 20.5]},
        )
        path = tmp_path / "s.toml"
        path.write_text(to_toml(settings))
        assert load_settings(path, preset="report") == settings
    path.write_text('preset = "report"\nseed = 5\n[beam]\nflux = [1e8, 2e8]\n')
    mixed = load_settings(path, overrides={"beam.flux": 7e7})
    assert mixed.background.shots.nominal == 2000
    assert (mixed.seed, mixed.beam.flux.nominal) == (5, 7e7)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("beam.flux", -1, "flux.*-1"),
        ("detector.camera_length_m", 0, "camera_length_m.*0"),
        ("detector.camera_length_m", 80, "camera_length_m must be in 0.001 to 20, got 80"),
        ("beam.bandwidth", 2, "bandwidth.*2"),
        ("beam.bandwidth", "0.5..3", "bandwidth"),
        ("beam.photon_energy_ev", "x", "photon_energy_ev.*x"),
        ("beam.photon_energy_ev", "nan", "photon_energy_ev"),
        ("beam.fluxx", 1, "Did you mean 'flux'"),
        ("crystal.aspect", [1, -1, 1], "aspect"),
        ("crystal.structure", "random", "cell and space_group"),
        ("background.temperature_c", 90, "temperature.*90"),
        ("blank_fraction", 1.5, "blank_fraction"),
        ("seed", -1, "seed"),
        ("crystal.shape", "cube", "shape"),
        ("beam", 3, "beam"),
        ("background.protein_kda", 0, "protein_kda"),
    ],
)
def test_impossible_settings_are_named(key, value, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(overrides={key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"crystal.structure": "missing.pdb"}, "missing.pdb"),
        ({"crystal.cell": "1,2"}, "1,2"),
        ({"crystal.cell": "58.3,60,63.6"}, "does not fit"),
        ({"crystal.structure": "random", "crystal.cell": "40,40,50", "crystal.space_group": "P 9"},
         "P 9"),
        ({"detector.name": "nothing"}, "nothing"),
        ({"detector.name": "missing.geom"}, "missing.geom"),
        ({"detector.bits": 12}, "bits"),
        ({"detector.beam_stop_mm": -1}, "beam stop"),
        ({"crystal.orientations": "missing.csv"}, "missing.csv"),
    ],
)  # fmt: skip
def test_impossible_parts_are_named(overrides, words):
    from hitfinder.errors import HitfinderError

    with pytest.raises(HitfinderError, match=words) as caught:
        Simulator.of(load_settings(overrides={"detector.name": "eiger2-x-500k", **overrides}))
    assert "\n" not in str(caught.value)


def test_unknown_presets_and_files(tmp_path):
    with pytest.raises(ConfigError, match="nope"):
        load_settings(preset="nope")
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        load_settings(tmp_path / "missing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("x = = 2")
    with pytest.raises(ConfigError, match="TOML"):
        load_settings(bad)


def test_random_crystal_of_a_given_cell():
    settings = load_settings(
        overrides={
            "crystal.structure": "random", "crystal.cell": "50,60,70", "crystal.space_group": "19",
            "crystal.d_min_a": 3, "detector.name": "eiger2-x-500k",
        }
    )  # fmt: skip
    assert structure_factors(settings).cell == Cell(50, 60, 70)


def test_nested_tables_are_read():
    settings = build_settings({"beam": {"flux": {"lognormal": [1e8, 0.2]}}, "seed": 3})
    assert settings.beam.flux.kind == "lognormal"


def test_draws_do_not_depend_on_the_number_of_crystals_before(simulator):
    one = simulator()
    rng = FrameRandom(one.seed, 5).generator("shot")
    shot = draw_shot(one.stages[0].settings, 5, rng, FACTORS.cell.reciprocal)
    assert shot.flux == one.shot(5).flux
