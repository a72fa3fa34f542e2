"""The suite's part on known crystals, on small frames of a made-up crystal."""

import dataclasses
import json
import re

import h5py
import numpy as np
import pytest

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.errors import ConfigError, SourceError
from hitfinder.executors.processes import Processes
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.suite import catalog, known, known_crystals, known_patternsim, run
from hitfinder.suite.condition import Condition

SETTINGS = {
    "detector.name": "eiger2-x-500k",
    "detector.camera_length_m": 0.06,
    "background.shots": 1,
}
CONDITION = Condition(
    name="known-small",
    title="a small detector",
    family="known",
    kind="sim",
    groups=("0.02", "0.00001"),
    n_hits=4,
    n_blanks=5,
    false_limit=0.05,
    scales=(0.02, 0.00001),
    shots=1,
)


@pytest.fixture(scope="module")
def factors():
    rng = np.random.default_rng(4)
    return random_structure_factors(Cell(60, 60, 90), "P 43 21 2", rng, 3.0)


@pytest.fixture(scope="module")
def parts(factors):
    return [
        known.SimulatedPart(CONDITION, SETTINGS, factors, told) for told in ("structure", "cell")
    ]


@pytest.fixture(scope="module")
def judged(parts):
    done = []
    results = run.run(run.Suite("known-crystal", known=parts), done.append)
    assert sum(done) == 2 * 9
    return results


def test_bright_crystals_are_hits_and_right_and_absent_ones_are_not(judged):
    structure, cell = judged["known"]
    for one in (structure, cell):
        bright, none = one["scales"]["0.02"], one["scales"]["0.00001"]
        assert bright == {
            **{"of": 2, "hits": 2, "right": 2, "hits_not_right": 0, "limit": 2},
            **{"indexed": 2, "indexed_wrong": 0, "ratios": bright["ratios"]},
        }
        assert (none["hits"], none["right"], none["indexed"], none["limit"]) == (0, 0, 0, 0)
        assert 1e-5 < one["half_scale"]["value"] < 0.02
        assert len(one["blanks"]) == 5
        assert max(one["blanks"]) < one["chance"]["least"] < min(bright["ratios"])
        assert one["seconds_a_frame"] > 0
    assert (structure["name"], cell["name"]) == ("known-small-structure", "known-small-cell")
    assert min(structure["scales"]["0.02"]["ratios"]) > max(cell["scales"]["0.00001"]["ratios"])


@pytest.mark.slow
def test_workers_find_the_same(parts, judged):
    with Processes(2) as executor:
        again = run.run(run.Suite("known-crystal", known=parts), lambda n: None, executor)
    for results in (again, judged):
        for one in results["known"]:
            one["seconds_a_frame"] = 0
    assert again["known"] == judged["known"]


def test_a_page_shows_what_is_found(judged, tmp_path):
    page = run.write(judged, tmp_path)
    assert json.loads((tmp_path / run.RESULTS).read_text()) == judged
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert {p.name for p in tmp_path.glob("*.png")} == {"known.png"}
    headings = ("half of the frames are hits", "Hits and orientations", "A known crystal")
    for shown in (*headings, "Crystal: random (Wilson statistics), 60 60 90 90 90 90."):
        assert shown in text
    # Sections on finders that were not judged are left out.
    assert "Hits found" not in text


def test_what_a_search_is_told(factors):
    lattice, same = known_crystals.told(factors, "structure")
    assert same is factors
    assert known_crystals.told(factors, "cell") == (lattice, None)
    own, other = known_crystals.told(factors, "wrong structure")
    assert own == lattice
    assert other.cell == factors.cell
    assert not np.allclose(other.f_squared[: len(factors)], factors.f_squared[: len(other)])
    long, off = known_crystals.told(factors, "wrong cell")
    assert long.cell.c == pytest.approx(1.015 * 90)
    assert long.cell.gamma == 90
    np.testing.assert_array_equal(off.f_squared, factors.f_squared)


def test_scales_make_up_for_the_photons_a_crystal_gives():
    usual = packaged_structure_factors()
    (plain,) = {part.condition.groups for part in known.simulated_parts(usual, shots=[1])}
    assert plain == ("0.001", "0.0003", "0.0001")
    strong = dataclasses.replace(usual, f_squared=usual.f_squared * 10)
    part = known.simulated_parts(strong, shots=[2000], known=["cell"])[0]
    assert part.condition.scales == (0.001, 0.0003, 0.00015)
    geometry = Geometry(named_detector("eiger-4m-report"), 0.15, 6000.0)
    # Twice the cell, in every direction: an eighth of the reflections are left, each in a cell of
    # eight times the volume.
    cell = Cell(2 * usual.cell.a, 2 * usual.cell.b, 2 * usual.cell.c)
    wide = dataclasses.replace(usual, cell=cell, hkl=(2 * usual.hkl).astype(np.int16))
    assert known_crystals.photons_over_usual(wide, geometry) == pytest.approx(1 / 64)


def test_crystals_without_a_reflection_on_the_detector_are_refused():
    usual = packaged_structure_factors()
    dark = dataclasses.replace(usual, f_squared=0 * usual.f_squared)
    with pytest.raises(ConfigError, match=r"1ic6.*no reflection of the crystal reaches"):
        known.simulated_parts(dark)


def test_parts_are_chosen_by_name_and_quick_ones_have_fewer_frames(pattern_sim):
    crystal = packaged_structure_factors()
    every = catalog.known_parts(crystal, pattern_sim)
    assert len({part.name for part in every}) == len(every) == 18
    quick = catalog.known_parts(crystal, pattern_sim, quick=True)
    assert sum(p.n_frames for p in quick) < sum(p.n_frames for p in every) / 3
    chosen = catalog.known_parts(crystal, pattern_sim, only=["known-100-wrong", "known-sim-1-"])
    assert [part.name for part in chosen] == [
        *("known-100-wrong-structure", "known-100-wrong-cell"),
        *("known-sim-1-structure", "known-sim-1-cell"),
    ]
    with pytest.raises(ValueError, match="no condition's name starts with 'flux'; there are kn"):
        catalog.known_parts(crystal, only=["flux"])


@pytest.mark.parametrize(
    ("structure", "cell", "group", "message"),
    [
        (None, None, "P 1", "a space group alone says no crystal"),
        (None, "60,60,90", None, "the space group of the cell is not given"),
        (None, "60,60,90", "P 2 3", "does not fit space group P 2 3"),
        (None, "60,60", "P 1", "60,60"),
        ("none.pdb", None, None, "none.pdb"),
        ("1ic6", None, "P 2 3", "does not fit space group P 2 3"),
        ("1ic6", None, "P 21 21 21", "contradicts that of the structure"),
        ("1ic6", "60,70,90", None, "does not fit"),
    ],
)
def test_crystals_that_contradict_themselves_are_refused(structure, cell, group, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        known_crystals.crystal_of(structure, cell, group)


def test_a_file_that_is_no_structure_is_refused(tmp_path):
    path = tmp_path / "notes.pdb"
    path.write_text("no atoms\n")
    with pytest.raises(ConfigError, match=r"notes\.pdb"):
        known_crystals.crystal_of(path, None, None)


def test_a_structure_is_drawn_in_a_cell_that_is_given_alone():
    assert known_crystals.crystal_of(None, None, None) is packaged_structure_factors()
    drawn = known_crystals.crystal_of(None, "60,60,90", "P 43 21 2")
    assert drawn.cell == Cell(60, 60, 90)
    assert 3.0 <= drawn.d_min_a < 3.1
    np.testing.assert_array_equal(
        drawn.f_squared, known_crystals.crystal_of(None, "60,60,90", "P43212").f_squared
    )


def small_pattern_sim(path, axes):
    """Write frames of the right shape, all dark but for a pixel."""
    n = len(axes)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("entry/data/data", (n, 2163, 2069), np.uint16, compression=1)
        data[:, 1000, 900] = 50
        file["photon_energy_ev"], file["camera_length_m"] = [6000.0] * n, [0.15] * n
        for k, name in enumerate("abc"):
            file[f"{name}star_inv_m"] = 1e10 * axes[:, :, k]
    return path


def test_bragg_frames_of_another_crystal_are_refused(factors, tmp_path, pattern_sim):
    axes = factors.cell.reciprocal[None]
    path = small_pattern_sim(tmp_path / "frames.h5", axes)
    assert len(known_patternsim.pattern_sim_parts(path, factors)) == 6
    with pytest.raises(ConfigError, match="frames of another crystal than one of 60 60 90"):
        known_patternsim.pattern_sim_parts(pattern_sim, factors)
    with h5py.File(path, "r+") as file:
        del file["astar_inv_m"]
    with pytest.raises(SourceError, match="does not have the reciprocal axes"):
        known_patternsim.pattern_sim_parts(path, factors)


def test_weak_frames_have_the_photons_asked_for():
    bragg, water = np.zeros((300, 300), int), np.full((300, 300), 0.01)
    bragg[::10, ::10] = 100
    rng = np.random.default_rng(1)
    frame = known_patternsim.weak_frame(bragg, water, 4500, rng)
    lit = int(frame[::10, ::10].sum())
    assert abs(lit - 4509) < 270
    assert abs(int(frame.sum()) - lit - 891) < 120
    full = known_patternsim.weak_frame(bragg, 0 * water, 10**9, rng)
    np.testing.assert_array_equal(full, bragg)


@pytest.mark.slow
def test_orientations_of_pattern_sim_are_found(pattern_sim):
    crystal = packaged_structure_factors()
    part = known_patternsim.pattern_sim_parts(pattern_sim, crystal)[0]
    results = dataclasses.replace(part, photons=(200,)).judged(lambda n: None)
    assert results["right"]["200"] >= 7
    page = run.run(run.Suite("known-crystal"), lambda n: None) | {"known": [results]}
    assert "Orientations in frames of pattern_sim" in run.report.html(page, {})
