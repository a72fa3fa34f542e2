"""`hitfinder.index`: one function, from Python as from the command line."""

import json
import math
import shutil

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.crystal.cellfiles import read_lattice
from hitfinder.executors.inline import Inline

CELL, GROUP = (60, 60, 90), "P 43 21 2"


class Counting(Inline):
    """An executor that counts what it was given to do."""

    n_tasks = 0

    def run(self, work, tasks, *, ordered=False):
        for done in super().run(work, tasks, ordered=ordered):
            self.n_tasks += 1
            yield done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run over three weak frames of a crystal."""
    folder = tmp_path_factory.mktemp("indexed")
    frames = hf.simulate(
        folder / "sim",
        3,
        seed=5,
        bragg_scale=0.1,
        detector="eiger2-x-1m",
        camera_length_m=0.1,
        structure="random",
        cell="60,60,90",
        space_group=GROUP,
        d_min_a=3.0,
        workers=1,
    )
    return hf.run(frames, folder / "run", workers=1, estimate=False)


def test_crystals_are_a_table_of_the_run(run):
    found = hf.index(run, CELL, space_group=GROUP, csv=True)
    assert (found.n_hits, found.n_indexed, found.n_by_chance) == (3, 3, 0)
    assert str(found.lattice) == str(read_lattice("60,60,90", GROUP))
    assert found.table.equals(run.crystals)
    assert found.table["frame"].to_pylist() == [0, 1, 2]
    assert found.solutions.read_text().count("\n") == 3
    assert (run.folder / "indexed.csv").is_file()
    with pytest.raises(hf.OutputError, match=r"has been indexed before. Use"):
        hf.index(run.folder, CELL)
    with Counting() as executor:
        again = hf.index(
            str(run.folder), found.lattice, overwrite=True, executor=executor, intensities=False
        )
    assert executor.n_tasks == 3
    assert again.table.equals(found.table)
    assert not (run.folder / "indexed.csv").exists()


def test_the_run_is_judged_again(run):
    (run.folder / "indexed.json").unlink(missing_ok=True)
    told = json.loads((run.folder / "run.json").read_text())
    before = hf.run([run.inputs[0]], run.folder, overwrite=True, workers=1, estimate=False)
    assert "indexed" not in before.verdict
    hf.index(run, CELL, space_group=GROUP)
    after = hf.open_run(run.folder)
    assert "3 of 3 searched frames indexed (100 %; by chance 0)" in after.verdict
    again = json.loads((run.folder / "run.json").read_text())
    assert {name for name in again if again[name] != told[name]} <= {
        "started",
        "timings",
        "verdict",
    }
    page = run.report.read_text(encoding="utf-8")
    assert "3 of 3 searched frames indexed" in page
    assert "tetragonal P" in page


def test_a_run_of_an_earlier_version_is_indexed_without_a_verdict(run):
    path = run.folder / "run.json"
    told = json.loads(path.read_text())
    del told["verdict"]
    path.write_text(json.dumps(told))
    hf.index(run, CELL, space_group=GROUP, overwrite=True)
    assert hf.open_run(run.folder).verdict == ""


@pytest.mark.parametrize(
    ("cell", "options", "error", "message"),
    [
        ("no.cell", {}, hf.ConfigError, "no.cell: cannot be read: No such file"),
        ("60,60", {}, hf.ConfigError, "Give a PDB, mmCIF"),
        (None, {}, hf.ConfigError, "neither a cell nor a structure is given"),
        ((60, "x", 90), {}, hf.ConfigError, "is no unit cell"),
        (CELL, {"space_group": "P 9"}, hf.ConfigError, "P 9"),
        (CELL, {"bandwidth": 2}, ValueError, "bandwidth must be in 0 to 0.2, got 2"),
        (CELL, {"crystals": 0}, ValueError, "crystals must be in 1 to 16, got 0"),
        (CELL, {"least_score": np.nan}, ValueError, "least_score must be positive"),
        (CELL, {"workers": 0}, ValueError, "workers must be at least 1"),
        (CELL, {"frames": "all"}, hf.ConfigError, "frames is for a search of pixels"),
        (CELL, {"false_hits": 0.01}, hf.ConfigError, "false_hits is for a search of pixels"),
        (CELL, {"pixels": True, "least_score": 20}, hf.ConfigError, "a least score is for peaks"),
    ],
)
def test_bad_input_is_named(run, cell, options, error, message):
    with pytest.raises(error, match=message):
        hf.index(run, cell, **options)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(hf.ConfigError, match="holds no results of a run"):
        hf.index(tmp_path, CELL)


def with_bandwidth(run, folder, sigma):
    """Return a copy of a run whose geometry file names a bandwidth."""
    shutil.copytree(run.folder, folder)
    geom = folder / "hits.geom"
    geom.write_text(f"bandwidth = {sigma}\n" + geom.read_text())
    return folder


def test_the_bandwidth_is_that_of_the_geometry_file(run, tmp_path):
    folder = with_bandwidth(run, tmp_path / "run", 0.002)
    options = {"space_group": GROUP, "overwrite": True, "intensities": False}
    for given, full in ((None, math.sqrt(12) * 0.002), (0.03, 0.03)):
        hf.index(folder, CELL, bandwidth=given, **options)
        told = json.loads((folder / "indexed.json").read_text())
        assert told["settings"]["bandwidth"] == pytest.approx(full)


def test_a_bandwidth_of_the_geometry_file_that_no_beam_has_is_named(run, tmp_path):
    folder = with_bandwidth(run, tmp_path / "run", 0.1)
    with pytest.raises(hf.ConfigError, match=r"hits\.geom: a bandwidth of 0\.346.*--bandwidth"):
        hf.index(folder, CELL, space_group=GROUP, overwrite=True)
