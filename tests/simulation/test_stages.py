"""Stages: those of other people, those of another order, and the random numbers they share."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.errors import ConfigError
from hitfinder.executors.contract import results
from hitfinder.executors.processes import Processes
from hitfinder.simulation.background import Background, FixedBackground, WaterLayer
from hitfinder.simulation.beam import Beam
from hitfinder.simulation.crystals import turned
from hitfinder.simulation.exposure import ScaledSpots
from hitfinder.simulation.presets import dotted, load_settings
from hitfinder.simulation.rng import FrameRandom
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.source import SteadySource
from hitfinder.simulation.spectrum import tophat
from hitfinder.simulation.water import expected_water

FACTORS = random_structure_factors(Cell(60, 70, 80), "P 21 21 21", np.random.default_rng(1), 3.0)
FLUX, THICKNESS_M = 1e10, 10e-6


class Glare:
    """Another's background: a corner that shines in some frames."""

    def __call__(self, exposure):
        bright = exposure.random.generator("glare").uniform(1, 3)
        image = np.zeros(exposure.geometry.shape, np.float32)
        image[:10, :20] = bright
        exposure.notes["glare"] = bright
        FixedBackground(image)(exposure)


class HalfLost:
    """Another's detector: of two counts it loses one."""

    def __call__(self, exposure):
        exposure.counts //= 2


class OneCrystal:
    """A crystal in a random orientation."""

    def __call__(self, exposure):
        rng = exposure.random.generator("crystal")
        spots = next(turned(exposure, FACTORS, rng, 1e4))
        exposure.spots.append(ScaledSpots(spots, 0.5))


@pytest.fixture
def geometry(make_geometry):
    return make_geometry((90, 110), 0.05)


@pytest.fixture
def source(geometry):
    beam = Beam(tophat(geometry.photon_energy_ev, 0.02), FLUX / 3e-13, geometry.polarisation)
    return SteadySource(beam, FLUX)


@pytest.fixture
def simulator(geometry, source):
    return Simulator(geometry, (source, WaterLayer(THICKNESS_M), OneCrystal()), seed=4)


def test_a_simulator_of_any_stages(simulator, geometry):
    counts, truth = simulator[3]
    again = pickle.loads(pickle.dumps(simulator)).frame(3)
    np.testing.assert_array_equal(counts, again.counts)
    np.testing.assert_array_equal(truth, again.truth)
    assert not np.array_equal(counts, simulator[4][0])
    water = expected_water(geometry, FLUX, THICKNESS_M)
    bragg = np.zeros(simulator.shape, np.float32)
    simulator.expose(3).expect_bragg(bragg)
    assert bragg.sum() > 100
    np.testing.assert_allclose(simulator.expected(3), water + bragg, rtol=1e-5)
    pulls = (counts - simulator.expected(3)) / np.sqrt(simulator.expected(3))
    assert abs(pulls.mean()) < 0.05
    assert pulls.std() == pytest.approx(1, abs=0.03)
    scaled = simulator.expose(3).spots[0]
    assert truth["photons"].max() == 0.5 * scaled.spots.table["photons"].max()
    with pytest.raises(ValueError, match="draw no shot"):
        _ = again.shot


def test_a_stage_of_others_reaches_the_frame(simulator):
    with_glare = simulator.with_stages(Glare(), readout=[HalfLost()])
    assert len(simulator.stages) == 3, "the simulator it came from stays"
    plain, bright = simulator.expected(0), with_glare.expected(0)
    note = with_glare.expose(0).notes["glare"]
    np.testing.assert_allclose((bright - plain)[:10, :20], note, rtol=1e-4)
    np.testing.assert_array_equal(bright[10:], plain[10:])
    corner = [with_glare.expose(n).notes["glare"] for n in range(20)]
    assert len(set(corner)) == 20
    counted = np.mean([with_glare.frame(n).counts[10:].mean() for n in range(8)])
    whole = np.mean([simulator.frame(n).counts[10:].mean() for n in range(8)])
    assert counted < 0.55 * whole


def test_a_stage_of_others_does_not_change_what_is_drawn_elsewhere(simulator):
    quiet = simulator.with_stages(Glare())
    np.testing.assert_array_equal(quiet.frame(2).truth["h"], simulator.frame(2).truth["h"])
    np.testing.assert_array_equal(
        quiet.expose(2).spots[0].spots.pixels, simulator.expose(2).spots[0].spots.pixels
    )


def test_stages_reach_worker_processes(simulator, monkeypatch):
    # Those that a worker can import.
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from counts_work import CountsWork

    flat = FixedBackground(np.full(simulator.shape, 2.0, np.float32))
    simulator.stages = (*simulator.stages[:2], flat)
    work = CountsWork(simulator)
    with work.opened() as make, Processes(2) as executor:
        alone = [make(number) for number in range(4)]
        made = results(executor.run(work, range(4), ordered=True))
        np.testing.assert_array_equal(list(made), alone)


def test_backgrounds_add_up_in_any_order(geometry, source):
    flat = FixedBackground(np.full(geometry.shape, 3.0, np.float32))
    water = expected_water(geometry, FLUX, THICKNESS_M)
    for stages in ((flat, WaterLayer(THICKNESS_M)), (WaterLayer(THICKNESS_M), flat)):
        one = Simulator(geometry, (source, *stages), seed=1)
        np.testing.assert_allclose(one.expected(0), water + 3, rtol=1e-5)
        mean = np.mean([one.frame(n).counts for n in range(40)], axis=0)
        pulls = (mean - water - 3) / np.sqrt((water + 3) / 40)
        assert pulls.std() == pytest.approx(1, abs=0.03)
        assert abs(pulls.mean()) < 0.05


@pytest.mark.parametrize("shots", [1, 3000])
def test_the_background_of_settings_is_added_to_others(shots):
    """Photon by photon and pixel by pixel alike."""
    settings = load_settings(
        preset="report",
        overrides={"detector.name": "pilatus-100k", "background.shots": shots,
                   "blank_fraction": 1.0},
    )  # fmt: skip
    plain = Simulator.of(settings, FACTORS)
    level = FixedBackground(np.full(plain.shape, 0.5 / shots, np.float32))
    first = plain.with_stages(level)
    background = next(stage for stage in plain.stages if isinstance(stage, Background))
    before = [stage for stage in plain.stages if stage is not background]
    last = plain.with_stages()
    last.stages = (*before, level, background)
    lit = plain.active
    for one in (first, last):
        extra = one.expected(0) - plain.expected(0)
        np.testing.assert_allclose(extra[lit], 0.5, atol=1e-4)
        assert not one.expected(0)[~lit].any()
        counts = one.frame(0).counts[lit].sum()
        expected = one.expected(0)[lit].sum()
        assert abs(counts - expected) < 5 * np.sqrt(expected)


def test_without_background_frames_are_empty(geometry, source):
    buffer = np.full(geometry.shape, 9, np.uint16)
    assert not Simulator(geometry, (source,)).frame(0, buffer).counts.any()
    assert not Simulator(geometry, (source,)).expected(0).any()


def test_what_a_stage_needs_must_come_before_it(geometry, source):
    with pytest.raises(ConfigError, match="frame 5: no stage has set the beam"):
        Simulator(geometry, (WaterLayer(THICKNESS_M),)).frame(5)
    settings = load_settings().background
    with pytest.raises(ConfigError, match="no stage has drawn the shot"):
        Simulator(geometry, (source, Background(settings))).frame(0)


def test_random_streams():
    one = FrameRandom(7, 3)
    assert one.state("background") is one.state("bragg"), "counted with one stream"
    assert one.generator("shot") is one.generator("shot")
    apart = FrameRandom(7, 3, purposes={"background": 1, "bragg": 2})
    assert apart.state("background") is not apart.state("bragg")
    drawn = {
        FrameRandom(*key).generator(purpose).random()
        for key in ((7, 3), (7, 4), (8, 3), (7, 3, 3))
        for purpose in ("shot", "spectrum", "jet", "glare")
    }
    assert len(drawn) == 16
    again = FrameRandom(7, 3)
    again.generator("glare").random(100)
    assert again.generator("shot").random() == FrameRandom(7, 3).generator("shot").random()


def test_a_preset_by_name():
    one = Simulator.preset("report", flux="1e8..3e8", detector="pilatus-100k", seed=2, shots=1)
    assert (one.seed, one.shape) == (2, (195, 487))
    fluxes = [one.shot(n).flux for n in range(5)]
    assert len(set(fluxes)) == 5
    assert 1e8 <= min(fluxes) < max(fluxes) <= 3e8
    counts, truth = one[0]
    assert (counts.shape, counts.dtype) == (one.shape, np.uint16)
    assert set(truth.dtype.names) >= {"fs", "ss", "photons", "counts"}
    assert dotted({"flux": 1, "beam.radius_um": 2, "noise": False}) == {
        "beam.flux": 1, "beam.radius_um": 2, "noise": False,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="fluxx"):
        Simulator.preset(fluxx=1)
    with pytest.raises(ConfigError, match="unknown preset 'nope'"):
        Simulator.preset("nope")
