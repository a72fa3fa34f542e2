"""Predicted reflections, against the simulator and gemmi's lists."""

import gemmi
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import lattice_of
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.intensities.measure import measure, spread_evidence
from hitfinder.indexing.intensities.prediction import ReflectionModel, half_space
from hitfinder.indexing.known.background import background_image
from hitfinder.job.indexing.integrate import MOSAICITIES_DEG
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.simulator import Simulator
from indexing import simulated


def settings(**changes):
    return simulated.settings(**{"crystal.d_min_a": 2.6, **changes})


@pytest.fixture(scope="module")
def factors():
    return structure_factors(settings())


@pytest.fixture(scope="module")
def simulator():
    return Simulator.of(settings(bragg_scale=0.03))


@pytest.fixture(scope="module")
def model(simulator, factors):
    lattice = lattice_of(factors.cell, factors.space_group_name)
    return ReflectionModel.of(lattice, simulator.geometry, factors=factors)


CENTRED = {
    "P": lambda h, k, el: h == h,
    "C": lambda h, k, el: (h + k) % 2 == 0,
    "I": lambda h, k, el: (h + k + el) % 2 == 0,
    "F": lambda h, k, el: (h % 2 == k % 2) & (k % 2 == el % 2),
    "R": lambda h, k, el: (-h + k + el) % 3 == 0,
}
"""Which reflections a centring lets be: International Tables A, table 2.1.3.2; R is obverse."""


@pytest.mark.parametrize(
    ("group", "cell"),
    [
        ("P 1", Cell(30, 40, 50, 80, 100, 95)),
        ("C 1 2 1", Cell(30, 40, 50, 90, 100, 90)),
        ("I 21 3", Cell(40, 40, 40)),
        ("F 2 3", Cell(40, 40, 40)),
        ("R 3", Cell(40, 40, 60, 90, 90, 120)),
    ],
)
def test_half_of_the_lattice_points_are_listed_once(group, cell):
    found = half_space(lattice_of(cell, group), 1 / 4.03)
    both = {tuple(hkl) for hkl in np.concatenate([found, -found]).tolist()}
    assert len(both) == 2 * len(found)
    every = gemmi.make_miller_array(cell.as_gemmi(), gemmi.SpaceGroup("P 1"), 4.03)
    every = every[CENTRED[group[0]](*every.T)]
    assert both == {tuple(hkl) for hkl in np.concatenate([every, -every]).tolist()}


def test_predicted_reflections_are_those_of_the_simulator(simulator, model):
    shot = simulator.shot(1)
    (spots,) = simulator.expose(1).spots
    table = spots.spots.table
    found = model.predict(shot.crystals[0].axes, 0.01)
    by_hkl = {tuple(hkl): k for k, hkl in enumerate(found.hkl.tolist())}
    strong = table[table["photons"] > np.median(table["photons"])]
    assert len(strong) >= 5
    ratio = []
    for spot in strong:
        k = by_hkl[tuple(int(spot[name]) for name in "hkl")]
        assert np.hypot(found.fs[k] - spot["fs"], found.ss[k] - spot["ss"]) < 0.1
        assert found.resolution_a[k] == pytest.approx(spot["d_a"], rel=1e-6)
        if found.shares[found.first[k] : found.first[k + 1]].sum() > 0.999:
            ratio.append(found.weight[k] * found.f_squared[k] / spot["photons"])
    assert np.std(ratio) < 0.02 * np.mean(ratio)
    assert np.percentile(found.partiality, 60) == pytest.approx(1, abs=0.01)
    assert found.partiality.max() <= 1.001


@pytest.mark.parametrize(
    ("changes", "spread_px"),
    [
        ({}, 0.05),
        ({"beam.polarisation": "vertical", "beam.photon_energy_ev": 9000}, 0.05),
        ({"detector.psf_px": 0.5, "beam.bandwidth": 0.02}, 0.5),
    ],
)
def test_measured_photons_are_those_that_fell_there(factors, changes, spread_px):
    simulator = Simulator.of(settings(bragg_scale=0.03, **changes), factors)
    model = ReflectionModel.of(
        lattice_of(factors.cell, factors.space_group_name),
        simulator.geometry,
        factors=factors,
        bandwidth=changes.get("beam.bandwidth", 0.01),
    )
    finder = LikelihoodFinder(simulator.geometry)
    errors, sigmas, expected, true_photons, n = [], [], [], [], 0
    for number in range(12):
        exposed = simulator.expose(number)
        counts, rate = finder.counts_and_background(simulator.frame(number).counts)
        background = background_image(counts, finder.rings, rate)
        (spots,) = exposed.spots
        scale = spots.scale
        true = {tuple(int(spot[name]) for name in "hkl"): spot for spot in spots.spots.table}
        found = model.predict(simulator.shot(number).crystals[0].axes, spread_px)
        table, _ = measure([found], counts, background)[0]
        n += len(table)
        for row in table[(table["covered"] > 0.99) & (table["partiality"] > 0.9)]:
            spot = true.get(tuple(int(row[name]) for name in "hkl"))
            if row["f_squared"] > 0 and spot is not None:
                errors.append(row["intensity"] - spot["photons"] * scale)
                sigmas.append(row["sigma"])
                expected.append(row["expected"])
                true_photons.append(spot["photons"] * scale)
    assert n > 100
    errors, sigmas = np.array(errors), np.array(sigmas)
    assert (errors / sigmas).std() == pytest.approx(1, abs=0.15)
    assert abs(errors.sum()) < 3 * np.sqrt((sigmas**2).sum())
    assert np.sum(expected) == pytest.approx(np.sum(true_photons), rel=0.1)


def test_wide_lattice_points_of_a_small_crystal_are_those_of_some_mosaicity(factors):
    """Of 1 µm, a tenth of the photons are of reflections that sharp points keep out of the band."""
    near = {"detector.camera_length_m": 0.06, "beam.photon_energy_ev": 7000}
    small = Simulator.of(settings(**near, **{"crystal.size_um": 1, "bragg_scale": 30}), factors)
    lattice = lattice_of(factors.cell, factors.space_group_name)
    model = ReflectionModel.of(lattice, small.geometry, factors=factors)
    finder = LikelihoodFinder(small.geometry)
    likeliest, ratios, photons, missed = [], [], 0.0, 0.0
    for number in range(5):
        counts, rate = finder.counts_and_background(small.frame(number).counts)
        background = background_image(counts, finder.rings, rate)
        axes = small.shot(number).crystals[0].axes
        some = range(MOSAICITIES_DEG.index(0.05) + 1)
        tried = [model.predict(axes, 0.4, np.radians(MOSAICITIES_DEG[k])) for k in some]
        likeliest.append(np.argmax([spread_evidence(one, counts, background) for one in tried]))
        found = tried[MOSAICITIES_DEG.index(0.01)]
        row = {tuple(hkl): k for k, hkl in enumerate(found.hkl.tolist())}
        (spots,) = small.expose(number).spots
        for spot in spots.spots.table:
            k = row.get(tuple(int(spot[name]) for name in "hkl"))
            photons += spot["photons"]
            missed += spot["photons"] if k is None else 0
            if k is not None and found.partiality[k] >= 0.3 and found.f_squared[k] > 0:
                ratios.append(spot["photons"] / (found.weight[k] * found.f_squared[k]))
    assert 0.005 <= MOSAICITIES_DEG[int(np.median(likeliest))] <= 0.02
    assert missed < 0.05 * photons
    assert np.std(ratios) < 0.08 * np.mean(ratios)


def test_what_cannot_be_predicted_is_refused(simulator, factors):
    lattice = lattice_of(factors.cell, factors.space_group_name)
    with pytest.raises(ValueError, match="bandwidth must be above 0"):
        ReflectionModel.of(lattice, simulator.geometry, bandwidth=0)
    with pytest.raises(ValueError, match="no reflection of the crystal reaches"):
        ReflectionModel.of(lattice_of(Cell(1, 1, 1)), simulator.geometry)


@pytest.mark.parametrize(("mosaicity_deg", "bandwidth"), [(0.0, 0.01), (0.2, 0.002)])
def test_the_mosaicity_of_a_crystal_shows_in_the_counts(mosaicity_deg, bandwidth):
    """Reflections that only mosaic blocks bring into a narrow band are predicted and measured."""
    changes = {"crystal.mosaicity_deg": mosaicity_deg, "beam.bandwidth": bandwidth}
    simulator = Simulator.of(settings(bragg_scale=0.1, **changes))
    factors = structure_factors(settings())
    lattice = lattice_of(factors.cell, factors.space_group_name)
    model = ReflectionModel.of(lattice, simulator.geometry, bandwidth=bandwidth)
    finder = LikelihoodFinder(simulator.geometry)
    total, measured, bright = np.zeros(len(MOSAICITIES_DEG)), 0, 0
    for number in range(2):
        counts, rate = finder.counts_and_background(simulator.frame(number).counts)
        background = background_image(counts, finder.rings, rate)
        axes = simulator.shot(number).crystals[0].axes
        tried = [model.predict(axes, 0.1, np.radians(deg)) for deg in MOSAICITIES_DEG]
        total += [spread_evidence(one, counts, background) for one in tried]
        (spots,) = simulator.expose(number).spots
        table = spots.spots.table
        chosen = tried[MOSAICITIES_DEG.index(mosaicity_deg)]
        (found, _) = measure([chosen], counts, background)[0]
        true = table[table["photons"] > np.median(table["photons"])]
        theirs = {tuple(hkl) for hkl in found[["h", "k", "l"]].tolist()}
        measured += sum(tuple(int(s[n]) for n in "hkl") in theirs for s in true)
        bright += len(true)
    assert MOSAICITIES_DEG[int(np.argmax(total))] == mosaicity_deg
    assert bright > 5
    assert measured >= 0.7 * bright
