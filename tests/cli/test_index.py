import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.crystal.orientation import COLUMNS, from_columns

CELL, GROUP = "60,60,90", "P 43 21 2"
N_FRAMES = 16
REFLECTIONS = "reflections.parquet"
RESULTS = {"indexed.parquet", "indexed.lst", "indexed.sol", "indexed.cell", "indexed.json"}
RESULTS |= {"indexed.stream", REFLECTIONS}


@pytest.fixture(scope="module")
def frames(tmp_path_factory, hitfinder) -> Path:
    """Weak frames of a made-up crystal, a third of them blank, and two photon energies."""
    out = tmp_path_factory.mktemp("frames") / "sim"
    made = hitfinder(
        "simulate", "--out", out, "--n", N_FRAMES, "--seed", 5, "--blank-fraction", 0.3,
        "--detector", "eiger2-x-1m", "--camera-length-m", 0.1, "--cell", CELL,
        "--bragg-scale", 0.03, "--photon-energy-ev", "choice:6000,6030",
        "--set", "crystal.structure=random", "--set", f"crystal.space_group={GROUP}",
        "--set", "crystal.d_min_a=3.0", "-j", 1,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def run(frames, tmp_path_factory, hitfinder) -> Path:
    """The run over them, not indexed."""
    out = tmp_path_factory.mktemp("run") / "out"
    made = hitfinder("run", frames / "frames_master.h5", "--out", out, "-j", 1)
    assert made.returncode == 0, made.stderr
    return out


@pytest.fixture(scope="module")
def indexed(run, tmp_path_factory, hitfinder):
    """A copy of the run, indexed, and what was said."""
    out = tmp_path_factory.mktemp("indexed") / "out"
    shutil.copytree(run, out)
    made = hitfinder("index", out, "--cell", CELL, "--space-group", GROUP, "--csv", "-j", 2)
    assert (made.returncode, made.stderr) == (0, "")
    return out, made.stdout


def test_orientations_are_those_simulated(frames, indexed):
    out, _ = indexed
    table = pq.read_table(out / "indexed.parquet")
    shots = pq.read_table(frames / "shots.parquet")
    lattice = read_lattice(CELL, GROUP)
    hits = np.flatnonzero(pq.read_table(out / "frames.parquet")["hit"].to_numpy())
    assert table["frame"].to_pylist() == hits.tolist()
    good = table["indexed"].to_numpy()
    assert good.sum() >= 0.8 * len(hits) >= 6

    def axes(table, row):
        return from_columns({name: table[name][row].as_py() for name in COLUMNS})

    for row in np.flatnonzero(good):
        frame = table["frame"][row].as_py()
        assert not shots["blank"][frame].as_py()
        assert lattice.angle_deg(axes(table, row), axes(shots, frame)) < 0.3
        assert table["score"][row].as_py() >= 22 > table["chance"][row].as_py()
        assert 3 < table["n_indexed"][row].as_py() <= table["n_peaks"][row].as_py()
    assert (out / "indexed.csv").read_text().count("\n") == len(hits) + 1


def test_what_goes_to_crystfel_is_of_the_indexed_hits(indexed):
    out, said = indexed
    table = pq.read_table(out / "indexed.parquet")
    good = np.flatnonzero(table["indexed"].to_numpy())
    lines = (out / "indexed.lst").read_text().splitlines()
    assert lines == [f"{out.resolve()}/hits.cxi //{k}" for k in good]
    solutions = [line.rsplit(" ", 12) for line in (out / "indexed.sol").read_text().splitlines()]
    assert [one[0] for one in solutions] == lines
    for one, row in zip(solutions, good, strict=True):
        values = [table[name][int(row)].as_py() for name in COLUMNS]
        assert np.array(one[1:10], float) * 1e9 == pytest.approx(values, abs=1e3)
        assert one[10:] == ["0", "0", "tPc"]
    told = json.loads((out / "indexed.json").read_text())
    assert told["lattice"] == {"code": "tPc", "cell": "60 60 90 90 90 90"}
    assert read_lattice(str(out / "indexed.cell")).code == "tPc"
    assert (out / "indexed.cell").read_text() in (out / "indexed.stream").read_text()
    n = len(table)
    assert told["counts"] == {
        "hits": n,
        "indexed": len(good),
        "crystals": len(good),
        "by_chance": 0,
        "wanting": 0,
    }
    assert f"{len(good)} of {n} hits indexed" in said
    assert "turned at random 0" in said


def test_each_hit_is_taken_at_its_own_photon_energy(frames, run):
    from hitfinder.results.run import Run

    energies = pq.read_table(frames / "shots.parquet")["photon_energy_ev"].to_numpy()
    hits = Run(run).hits()
    with h5py.File(run / "hits.cxi") as file:
        stored = file["LCLS/photon_energy_eV"][:]
    assert [g.photon_energy_ev for g in hits.geometries()] == pytest.approx(stored)
    assert len(set(energies)) == 2


def test_indexing_again_has_to_be_asked_for(indexed, hitfinder):
    out, _ = indexed
    before = (out / "indexed.sol").read_bytes()
    again = hitfinder("index", out, "--cell", CELL)
    assert again.returncode == 2
    assert "has been indexed before. Use --overwrite" in again.stderr
    assert (out / "indexed.sol").read_bytes() == before
    again = hitfinder("index", out, "--cell", CELL, "--space-group", GROUP, "--overwrite", "-j", 1)
    assert again.returncode == 0
    assert (out / "indexed.sol").read_bytes() == before
    assert {path.name for path in out.glob("indexed*")} == RESULTS - {REFLECTIONS}


def test_a_new_run_in_the_folder_takes_away_what_was_indexed(frames, indexed, tmp_path, hitfinder):
    out = tmp_path / "out"
    shutil.copytree(indexed[0], out)
    made = hitfinder("run", frames / "frames_master.h5", "--out", out, "--overwrite", "-j", 1)
    assert made.returncode == 0, made.stderr
    assert not RESULTS & {path.name for path in out.iterdir()}


@pytest.mark.parametrize("n_frames", [3, pytest.param(N_FRAMES, marks=pytest.mark.slow)])
def test_another_cell_is_not_found(frames, tmp_path, hitfinder, n_frames):
    """All that is tried is tried in vain, so that a hit takes several times as long as others."""
    out = tmp_path / "out"
    some = ("--limit", n_frames, "--output", "cxi", "-j", 1)
    made = hitfinder("run", frames / "frames_master.h5", "--out", out, *some)
    assert made.returncode == 0, made.stderr
    made = hitfinder("index", out, "--cell", "71,83,97,90,103,90", "-j", 1)
    assert made.returncode == 0
    counts = json.loads((out / "indexed.json").read_text())["counts"]
    assert counts["hits"] >= n_frames / 2
    assert counts["indexed"] == 0
    assert (out / "indexed.sol").read_text() == ""


def test_a_cell_that_is_too_large_is_found_out(run, tmp_path, hitfinder):
    out = tmp_path / "out"
    shutil.copytree(run, out)
    options = ("--space-group", GROUP, "--no-intensities", "-j", 1)
    made = hitfinder("index", out, "--cell", "60.9,60.9,91.35", *options)
    assert made.returncode == 0
    assert "% smaller than the given one: 60.0" in made.stderr
    assert "--refine-cell" in made.stderr
    assert "The given cell does not fit." in (out / "report.html").read_text(encoding="utf-8")
    few = json.loads((out / "indexed.json").read_text())["counts"]
    made = hitfinder(
        "index", out, "--cell", "60.9,60.9,91.35", "--refine-cell", "--overwrite", *options
    )
    assert made.returncode == 0
    told = json.loads((out / "indexed.json").read_text())
    assert told["counts"]["indexed"] >= 0.8 * told["counts"]["hits"] > few["indexed"]
    cell = np.array(told["lattice"]["cell"].split(), float)
    assert cell == pytest.approx([60, 60, 90, 90, 90, 90], rel=2e-3)
    assert told["cell_fit"]["given"] == "60.9 60.9 91.35 90 90 90"


@pytest.mark.slow
def test_peaks_without_probabilities_are_indexed_too(frames, tmp_path, hitfinder):
    out = tmp_path / "out"
    options = ("--finder", "likelihood", "-j", 1)
    made = hitfinder("run", frames / "frames_master.h5", "--out", out, *options)
    assert made.returncode == 0, made.stderr
    made = hitfinder("index", out, "--cell", CELL, "--space-group", GROUP, "-j", 1)
    assert made.returncode == 0, made.stderr
    counts = json.loads((out / "indexed.json").read_text())["counts"]
    assert counts["indexed"] >= 0.7 * counts["hits"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cell", "60,60"], "three edges"),
        (["--cell", "60,61,90", "--space-group", GROUP], "does not fit space group"),
        (["--cell", "none.pdb"], "cannot be read"),
        (["--cell", CELL, "--bandwidth", "2"], "--bandwidth"),
        (["--cell", CELL, "--least-score", "nan"], "--least-score"),
        ([], "--cell"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_written(run, hitfinder, arguments, said):
    made = hitfinder("index", run, *arguments)
    assert made.returncode == 2
    assert said in made.stderr
    assert not RESULTS & {path.name for path in run.iterdir()}


def test_a_folder_that_is_no_run_is_refused(tmp_path, hitfinder):
    made = hitfinder("index", tmp_path, "--cell", CELL)
    assert made.returncode == 2
    assert "holds no results of a run" in made.stderr


def test_a_run_without_hits_is_refused(run, tmp_path, hitfinder):
    out = tmp_path / "out"
    shutil.copytree(run, out)
    table = pq.read_table(out / "frames.parquet")
    at = table.column_names.index("hit")
    none = table.set_column(at, table.schema.field("hit"), [[False] * len(table)])
    pq.write_table(none, out / "frames.parquet")
    made = hitfinder("index", out, "--cell", CELL)
    assert made.returncode == 2
    assert "the run has no hit" in made.stderr


@pytest.mark.parametrize("damage", ["gone", "other"])
def test_hits_of_another_run_are_refused(run, tmp_path, hitfinder, damage):
    out = tmp_path / "out"
    shutil.copytree(run, out)
    if damage == "gone":
        (out / "hits.cxi").unlink()
    else:
        with h5py.File(out / "hits.cxi", "r+") as file:
            file["entry_1/result_1/frame"][0] += 1
    made = hitfinder("index", out, "--cell", CELL)
    assert made.returncode == 2
    assert "Run hitfinder on the frames again." in made.stderr
    assert not RESULTS & {path.name for path in out.iterdir()}
