"""What the search of pixels expects of mosaic crystals."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import ndtr

from hitfinder.crystal.lattice import lattice_of
from hitfinder.indexing.known import predict as predicting
from hitfinder.indexing.known.band import Band, excited, log_share
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.slopes import derivatives, turned
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.simulator import Simulator
from indexing import simulated

N_TURNS = 40


@pytest.fixture(scope="module")
def settings():
    mosaic = {"crystal.mosaicity_deg": 0.1, "bragg_scale": 0.003}
    return simulated.settings(**mosaic)


@pytest.fixture(scope="module")
def simulator(settings):
    return Simulator.of(settings)


@pytest.fixture(scope="module")
def crystals(settings, simulator):
    factors = structure_factors(settings)
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return {
        deg: KnownCrystal.of(lattice, simulator.geometry, factors=factors, mosaicity_deg=deg)
        for deg in (0.0, 0.1)
    }


def predicted(crystal, turn):
    found = np.empty((predicting.MOST_PREDICTED, predicting.N_COLUMNS))
    n = predicting.predict(
        turn, crystal.judging, crystal.geometry.polarisation, crystal.detector, found
    )
    return found[:n]


def by_hkl(crystal, found):
    rows = found[:, predicting.ROW].astype(int)
    return {tuple(hkl): one for hkl, one in zip(crystal.expected.hkl[rows], found, strict=True)}


def test_photons_and_places_are_those_simulated(simulator, crystals):
    crystal = crystals[0.1]
    ratios, off, lost, whole = [], [], 0.0, 0.0
    for number in range(4):
        turn = simulator.shot(number).crystals[0].axes @ np.linalg.inv(
            crystal.lattice.cell.reciprocal
        )
        own = by_hkl(crystal, predicted(crystal, turn))
        table = simulator.expose(number).spots[0].spots.table
        for spot in table[table["photons"] > 0.02 * table["photons"].max()]:
            whole += spot["photons"]
            one = own.get(tuple(int(spot[name]) for name in "hkl"))
            if one is None:
                lost += spot["photons"]
                continue
            ratios.append(spot["photons"] / one[predicting.PHOTONS])
            off.append(np.hypot(one[0] - spot["fs"], one[1] - spot["ss"]))
    assert len(ratios) > 100
    # Few blocks of a reflection beyond the reach are in the band.
    assert lost < 0.03 * whole
    assert np.median(off) < 0.02
    assert np.quantile(off, 0.95) < 0.1
    assert np.std(ratios) / np.mean(ratios) < 0.1


def test_photons_are_the_same_on_average(crystals):
    turns = Rotation.random(N_TURNS, random_state=1).as_matrix()
    photons = {
        deg: [predicted(one, turn)[:, predicting.PHOTONS].sum() for turn in turns]
        for deg, one in crystals.items()
    }
    few, many = np.array(photons[0.0]), np.array(photons[0.1])
    # Shared by five times as many reflections, they vary less.
    assert many.std() < 0.7 * few.std()
    error = np.hypot(few.std(), many.std()) / np.sqrt(N_TURNS)
    assert abs(few.mean() - many.mean()) < 2.5 * error + 0.03 * few.mean()


def test_shares_of_blocks_add_up_to_the_thickness_of_the_band():
    band = Band(2.0, 0.01, 2e-3)
    length = 0.3
    k_low, k_high, _ = band.shell
    thick = 0.5 * length**2 * (1 / k_low - 1 / k_high)
    z = np.linspace(-0.5 * length**2 / k_low - 0.01, -0.5 * length**2 / k_high + 0.01, 4001)
    one = [excited(np.sqrt(length**2 - v**2), 0.0, v, band.shell) for v in z]
    share = np.array([values[0] for values in one])
    assert np.trapezoid(share, z) == pytest.approx(thick, rel=0.01)
    seen = np.trapezoid(share**2, z) / np.trapezoid(share, z)
    assert band.seen(np.array([length]))[0] == pytest.approx(seen, rel=0.01)
    there = share > 0.02
    quick = np.array([log_share(v, length**2, band.shell) for v in z[there]])
    np.testing.assert_allclose(quick, np.log(share[there]), atol=0.1)
    turned_to = np.array([values[1:] for values in one])
    np.testing.assert_allclose(np.linalg.norm(turned_to, axis=1), length)
    assert (turned_to[:, 2] >= -0.5 * length**2 / k_low - 1e-12).all()
    assert (turned_to[:, 2] <= -0.5 * length**2 / k_high + 1e-12).all()


def test_blocks_spread_as_a_normal_distribution():
    band = Band(2.0, 0.01, 2e-3)
    k_low, k_high, mosaicity = band.shell
    x, z = 0.29, -0.046
    squared = x * x + z * z
    ends = (np.array([-0.5 * squared / k_low, -0.5 * squared / k_high]) - z) / (mosaicity * x)
    assert excited(x, 0.0, z, band.shell)[0] == pytest.approx(np.diff(ndtr(ends))[0])


def test_without_mosaicity_nothing_is_moved():
    band = Band(2.0, 0.01, 0.0)
    assert excited(0.29, 0.0, -0.046, band.shell) == (1.0, 0.29, 0.0, -0.046)
    assert (band.seen(np.array([0.1, 0.3])) == 1).all()


def test_the_likelihood_climbs_as_its_slope_says(simulator, crystals):
    crystal = crystals[0.1]
    turn = simulator.shot(1).crystals[0].axes @ np.linalg.inv(crystal.lattice.cell.reciprocal)
    # Counts that are brighter than chance makes them pull no more.
    counts = np.minimum(simulator.frame(1).counts, 3).astype(np.int32)
    background = np.full(counts.shape, 0.02, np.float32)
    nodes = crystal.expected.nodes, crystal.expected.weights
    out = np.empty(3), np.empty((3, 3)), np.empty((3, 3))

    def ratio(by):
        there = np.empty((3, 3))
        turned(turn, *by, there)
        found = predicted(crystal, there)
        return derivatives(there, found, len(found), 30.0, counts, background, crystal.judging,
                           crystal.detector, *nodes, *out, 0.8, 0.0)  # fmt: skip

    ratio(np.zeros(3))
    gradient, step = out[0].copy(), 2e-6
    for axis in range(3):
        move = np.zeros(3)
        move[axis] = step
        slope = (ratio(move) - ratio(-move)) / (2 * step)
        assert slope == pytest.approx(gradient[axis], rel=1e-2)


@pytest.mark.parametrize("mosaicity_deg", [-0.1, 3.0])
def test_impossible_mosaicities_are_refused(crystals, mosaicity_deg):
    one = crystals[0.0]
    with pytest.raises(ValueError, match="mosaicity"):
        KnownCrystal.of(one.lattice, one.geometry, mosaicity_deg=mosaicity_deg)
