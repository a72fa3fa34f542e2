"""Indexing a run's frames by all their pixels, from files to tables."""

import dataclasses
import json
import shutil
import types

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hitfinder as hf
from hitfinder.cli.index import exit_code
from hitfinder.crystal.cell import Cell
from hitfinder.crystal.lattice import lattice_of
from hitfinder.crystal.orientation import COLUMNS, from_columns
from hitfinder.crystal.tables import load_structure_factors
from hitfinder.errors import ConfigError, OutputError
from hitfinder.executors.contract import Lost
from hitfinder.executors.inline import Inline
from hitfinder.experiment.open import open_experiment
from hitfinder.indexing.known import pairs, search
from hitfinder.indexing.known.chance import Chance
from hitfinder.indexing.known.rivals import Rivals
from hitfinder.indexing.known.search import Hypothesis
from hitfinder.job.indexing import by_pixels, pixels
from hitfinder.job.indexing import index as job
from hitfinder.job.indexing.integrate import CrystalsTask
from hitfinder.job.indexing.pixels import Judge, PixelIndexed
from hitfinder.job.rehit import rehit
from hitfinder.progress import counting
from hitfinder.results import run as runs
from hitfinder.simulation.presets import load_settings

N_FRAMES = 9
CELL = (67.6, 67.6, 106.9)


def simulated(folder, n, settings):
    """Simulate frames over one shot on a small detector; return their file."""
    small = {
        "detector.name": "eiger2-x-500k",
        "detector.camera_length_m": 0.06,
        "background.shots": 1,
    }
    given = load_settings(preset="report", overrides=small | settings)
    hf.simulate(folder / "sim", n, settings=given, workers=1)
    return folder / "sim" / "frames_master.h5"


def off_by_deg(sim, found):
    """By how much each indexed orientation is off."""
    import pyarrow.parquet as pq

    shots = pq.read_table(sim / "shots.parquet").select(COLUMNS).to_pylist()
    return [
        found.lattice.angle_deg(from_columns(row), from_columns(shots[row["frame"]]))
        for row in found.table.to_pylist()
        if row["indexed"]
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Frames of which a third are blank, the others too weak for most finders."""
    folder = tmp_path_factory.mktemp("pixels")
    settings = {"bragg_scale": 0.003, "blank_fraction": 0.34, "seed": 3}
    frames = simulated(folder, N_FRAMES, settings)
    done = hf.run(frames, folder / "out", finder="likelihood", workers=1)
    return folder, done, done.frames.to_pydict()


class Backwards(Inline):
    """An executor whose last task is done first, where the order is not asked for."""

    def run(self, work, tasks, *, ordered=False):
        done = list(super().run(work, tasks, ordered=ordered))
        yield from done if ordered else reversed(done)


def quickly_indexed(run, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "CHANCE_FRAMES", 5)
        # Fewer orientations are enough for crystals that are twice as strong as need be.
        patch.setattr(pairs, "FAMILIES", 50)
        patch.setattr(search, "_JUDGED", 300)
        patch.setattr(search, "_REFINED", 30)
        return hf.index(run, structure="1ic6", frames="all", **how)


@pytest.fixture(scope="module")
def opened():
    """Inputs that were opened to index the run, each time that they were."""
    return []


@pytest.fixture(scope="module")
def indexed(run, opened):
    def noted(inputs, *given, **how):
        opened.append(inputs)
        return open_experiment(inputs, *given, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "open_experiment", noted)
        return quickly_indexed(run[1], workers=1)


def test_what_is_odd_of_the_frames_is_said_once_as_they_are_opened_once(run, indexed, opened):
    assert indexed.joint_hits is not None
    assert indexed.n_reflections > 0
    assert opened == [run[1].inputs]


def test_orientations_are_those_simulated(run, indexed):
    import pyarrow.parquet as pq

    shots = pq.read_table(run[0] / "sim" / "shots.parquet")
    table = indexed.table
    good = table["indexed"].to_numpy(zero_copy_only=False)
    blank = shots["blank"].to_numpy(zero_copy_only=False).astype(bool)
    frames = table["frame"].to_numpy()
    assert not (good & blank[frames]).any()
    right = sum(off < 0.5 for off in off_by_deg(run[0] / "sim", indexed))
    assert right == good.sum() >= 4


def test_hits_are_those_by_peaks_and_crystal_together(run, indexed):
    done = hf.open_run(run[1].folder)
    frames = done.frames.to_pydict()
    hit, score = np.array(frames["hit"]), np.array(frames["score"])
    joint, crystal = (np.array(frames[f"{name}_score"], float) for name in ("joint", "crystal"))
    # The likelihoods are averaged, a blank frame's being 1.
    np.testing.assert_allclose(10**joint, (10 ** np.maximum(score, 0) + 10**crystal) / 2)
    np.testing.assert_array_equal(hit, joint >= 2)
    by_peaks = score >= 2
    told = json.loads((done.folder / "run.json").read_text())
    assert told["counts"]["hits"] == hit.sum()
    assert told["crystal_hits"]["more"] == (hit & ~by_peaks).sum() == indexed.joint_hits.more
    assert told["crystal_hits"]["fewer"] == (by_peaks & ~hit).sum() == indexed.joint_hits.fewer
    assert set(indexed.table["frame"].filter(indexed.table["indexed"]).to_pylist()) <= set(
        np.flatnonzero(hit)
    )
    with h5py.File(done.folder / "hits.cxi") as file:
        np.testing.assert_array_equal(file["entry_1/result_1/frame"], np.flatnonzero(hit))
    assert len((done.folder / "hits.lst").read_text().split("\n")) - 1 == hit.sum()
    n_indexed = indexed.table["indexed"].to_numpy(zero_copy_only=False).sum()
    assert len((done.folder / "indexed.lst").read_text().split("\n")) - 1 == n_indexed


def test_deciding_by_peaks_alone_takes_the_crystal_back(run, indexed, tmp_path):
    shutil.copytree(run[1].folder, tmp_path / "copy")
    again = rehit(tmp_path / "copy", false_hits=0.01).frames.to_pydict()
    np.testing.assert_array_equal(again["hit"], np.array(again["score"]) >= 2)
    assert set(again["joint_score"]) == {None}
    np.testing.assert_array_equal(again["n_peaks"], run[2]["n_peaks"])
    assert "crystal_hits" not in json.loads((tmp_path / "copy" / "run.json").read_text())


@pytest.mark.slow
def test_it_is_the_same_whichever_worker_is_the_faster(run, indexed, tmp_path):
    again = hf.run(run[0] / "sim" / "frames_master.h5", tmp_path, finder="likelihood", workers=1)
    found = quickly_indexed(again, executor=Backwards())
    assert found.table.equals(indexed.table)
    assert found.reflections.equals(indexed.reflections)


def test_a_single_frame_tells_what_chance_reaches(run, indexed, tmp_path):
    surest = indexed.table["frame"][int(np.argmax(indexed.table["score"].to_numpy()))].as_py()
    frames = run[0] / "sim" / "frames_master.h5"
    alone = hf.run(frames, tmp_path / "one", finder="likelihood", workers=1, frames=f"{surest}")
    found = quickly_indexed(alone, workers=1)
    assert found.table["indexed"].to_pylist() == [True]
    assert found.table["probability"].to_pylist()[0] > 0.9


def test_what_chance_reaches_is_said(run, indexed):
    told = json.loads((run[1].folder / "indexed.json").read_text())
    least = told["settings"]["least_score"]
    table = indexed.table
    score, share = table["score"].to_numpy(), table["false_share"].to_numpy()
    assert (score[share <= 0.01] >= least).all()
    assert told["settings"]["structure"]


class Looks:
    """What looks for one crystal after another find; see `hitfinder.job.indexing.pixels`."""

    def __init__(self, monkeypatch, *rounds):
        self.chance, self.taken = Chance(22.0, 1.0, 1000), []
        self.work = types.SimpleNamespace(mosaicity_deg=None)
        self._rounds = [
            [self._found(frame, *what) for frame, what in found.items()] for found in rounds
        ]
        monkeypatch.setattr(by_pixels.PixelSearch, "of", lambda *given, **how: self)
        monkeypatch.setattr(by_pixels, "_joint_hits", lambda *given: None)

    def _found(self, frame, ratio, probability, of_any=None):
        if ratio is None:
            return PixelIndexed(frame, [], 0.0, 0.0, 0.0, 0.0)
        score = self.chance.score(ratio)
        turned = [Hypothesis(np.eye(3), ratio, 1.0)]
        return PixelIndexed(frame, turned, score, 0.0, probability, of_any or probability)

    def of_mosaicity(self, mosaicity_deg):
        self.work.mosaicity_deg = mosaicity_deg
        return self

    def first(self, which):
        return self._rounds.pop(0), Judge(None, self.chance, Rivals(self.chance, 1.0, 1000))

    def further(self, taken, judge):
        self.taken.append({frame: len(known) for frame, known in taken.items()})
        return self._rounds.pop(0)


def solved_by(run, crystals=1):
    return by_pixels.solve_by_pixels(
        run[1], lattice_of(Cell(68.0, 68.0, 108.0)), None, frames="all", false_hits=0.01,
        crystals=crystals, bandwidth=0.01, mosaicity_deg=0.0, executor=Inline(), show=counting,
    )  # fmt: skip


def test_orientations_that_may_be_others_do_not_count(run, monkeypatch):
    # No hit for sure; hits that chance does not explain, their orientation unsure and sure.
    Looks(monkeypatch, {0: (24.0, 0.99), 1: (60.0, 0.89), 2: (60.0, 0.99), 3: (None, 0)})
    solved = solved_by(run)
    rows = list(solved.rows)
    assert [row["frame"][0] for row in rows] == [0, 1, 2]
    assert [row["probability"][0] for row in rows] == [0.99, 0.89, 0.99]
    assert [*solved.crystals] == [2]


def test_a_crystal_counts_beside_another_that_is_as_likely(run, monkeypatch):
    # No crystal; one; two as likely; one with a rival that is no further crystal; two and a third.
    looks = Looks(
        monkeypatch,
        {0: (24.0, 0.2), 1: (60.0, 0.99), 2: (60.0, 0.5, 0.99), 3: (60.0, 0.5, 0.99),
         4: (60.0, 0.99)},
        {1: (23.0, 0.1), 2: (59.0, 0.99), 3: (None, 0), 4: (50.0, 0.99)},
        {2: (23.0, 0.1), 4: (40.0, 0.99)},
    )  # fmt: skip
    solved = solved_by(run, crystals=3)
    assert looks.taken == [{1: 1, 2: 1, 3: 1, 4: 1}, {2: 2, 4: 2}]
    assert {frame: len(axes) for frame, axes in solved.crystals.items()} == {1: 1, 2: 2, 4: 3}
    rows = [(row["frame"][0], row["crystal"][0], row["indexed"][0]) for row in solved.rows]
    assert rows == [
        (0, 0, False), (1, 0, True), (2, 0, True), (2, 1, True), (3, 0, False),
        (4, 0, True), (4, 1, True), (4, 2, True),
    ]  # fmt: skip


def test_rivals_of_the_same_frame_tell_which_orientations_are_sure(run, monkeypatch):
    far = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    ratios = {0: (44.0, 43.5), 1: (44.0, 24.0), 2: ()}

    def searched(self, task, *given):
        alone = (20.0 + task.frame % 5, 20.0) if task.scramble else ratios[task.frame]
        return [
            Hypothesis(turn, ratio, 1.0)
            for turn, ratio in zip((np.eye(3), far), alone, strict=False)
        ]

    monkeypatch.setattr(pixels.PixelWork, "look", searched)
    known = load_structure_factors("1ic6")
    lattice = lattice_of(known.cell, known.space_group_name)
    search = pixels.PixelSearch.of(
        run[1], lattice, known, bandwidth=0.01, executor=Inline(), show=counting
    )
    found, _ = search.first(np.array(list(ratios)))
    unsure, sure, nothing = (one.probability for one in found)
    assert found[1].false_share <= 0.01 < 0.5 < found[0].false_share
    assert found[0].log_odds < 0 < found[1].log_odds
    assert unsure < 0.1 < 0.9 < sure
    assert nothing == 0


@pytest.mark.slow
def test_a_mosaic_crystal_in_a_narrow_beam_is_found(tmp_path):
    crystal = {"beam.bandwidth": 0.0002, "crystal.mosaicity_deg": 0.1}
    frames = simulated(tmp_path, 4, crystal | {"bragg_scale": 0.004, "seed": 3})
    run = hf.run(frames, tmp_path / "run", finder="likelihood", workers=1)
    found = quickly_indexed(run, bandwidth=0.0002, workers=1, intensities=False)
    assert found.n_indexed >= 3
    assert max(off_by_deg(tmp_path / "sim", found)) < 0.5
    told = json.loads((tmp_path / "run" / "indexed.json").read_text())
    assert told["settings"]["mosaicity_deg"] in (0.05, 0.1, 0.2)


class Losing(Inline):
    """An executor whose workers die of a frame, or of tasks of one kind for it."""

    def __init__(self, frame, kind=object):
        super().__init__()
        self.frame, self.kind = frame, kind

    def run(self, work, tasks, *, ordered=False):
        for done in super().run(work, tasks, ordered=ordered):
            lost = done.task.frame == self.frame and isinstance(done.task, self.kind)
            lost &= not getattr(done.task, "scramble", 0)
            yield Lost(done.task, "SIGKILL") if lost else done


@pytest.mark.parametrize(
    "how",
    [{"structure": "1ic6", "frames": "all"}, pytest.param({"cell": CELL}, marks=pytest.mark.slow)],
)
def test_a_frame_that_workers_die_of_is_told(run, how, tmp_path, monkeypatch, caplog):
    shutil.copytree(run[1].folder, tmp_path / "copy")
    monkeypatch.setattr(
        pixels.PixelWork, "look", lambda *given: [Hypothesis(np.eye(3), 20 + given[1].frame, 1.0)]
    )
    hits = hf.open_run(tmp_path / "copy").hits()
    worst = Losing(int(hits.rows[0]))
    found = hf.index(tmp_path / "copy", **how, executor=worst, overwrite=True, intensities=False)
    searched = N_FRAMES if "structure" in how else len(hits)
    assert (found.n_wanting, found.n_hits) == (1, searched - 1)
    assert json.loads((tmp_path / "copy" / "indexed.json").read_text())["counts"]["wanting"] == 1
    assert "1 frames could not be searched" in caplog.text
    assert exit_code(found) == 1


def test_a_frame_that_workers_die_of_while_it_is_measured_is_told(run, tmp_path):
    shutil.copytree(run[1].folder, tmp_path / "copy")
    before = hf.index(tmp_path / "copy", CELL, overwrite=True, workers=1)
    measured = set(before.reflections["frame"].to_pylist())
    worst = Losing(min(measured), CrystalsTask)
    found = hf.index(tmp_path / "copy", CELL, overwrite=True, executor=worst)
    told = json.loads((tmp_path / "copy" / "indexed.json").read_text())
    assert found.n_wanting == told["counts"]["wanting"] == told["intensities"]["wanting"] == 1
    assert found.n_indexed == before.n_indexed
    assert set(found.reflections["frame"].to_pylist()) == measured - {min(measured)}


def test_bad_requests_are_refused(run, indexed, tmp_path):
    with pytest.raises(OutputError, match="indexed before"):
        hf.index(run[1], structure="1ic6")
    with pytest.raises(ConfigError, match="neither a cell nor a structure"):
        hf.index(run[1], overwrite=True)
    with pytest.raises(ValueError, match="bandwidth"):
        hf.index(run[1], structure="1ic6", bandwidth=0, overwrite=True)
    with pytest.raises(ValueError, match="mosaicity_deg must be in 0 to 1"):
        hf.index(run[1], structure="1ic6", mosaicity_deg=2, overwrite=True)
    with pytest.raises(ConfigError, match="mosaicity_deg is for a search of pixels"):
        hf.index(run[1], CELL, mosaicity_deg=0.1, overwrite=True)
    with pytest.raises(ValueError, match="false_hits"):
        hf.index(run[1], structure="1ic6", false_hits=0, overwrite=True)
    with pytest.raises(ConfigError, match="no such file"):
        hf.index(run[1], structure=tmp_path / "none.pdb", overwrite=True)
    with pytest.raises(ConfigError, match="holds no results"):
        hf.index(tmp_path, structure="1ic6")


def test_a_structure_beyond_the_detector_is_refused(run, monkeypatch):
    known = load_structure_factors("1ic6")
    far = known.cell.inv_d_squared(known.hkl) > 0.25
    fine = dataclasses.replace(known, hkl=known.hkl[far], f_squared=known.f_squared[far])
    monkeypatch.setattr(job, "load_structure_factors", lambda *a, **k: fine)
    with pytest.raises(ConfigError, match="no reflection of the crystal reaches the detector"):
        hf.index(run[1], structure="1ic6", overwrite=True)


def test_a_space_group_that_contradicts_the_cell_is_refused(run):
    with pytest.raises(ConfigError, match="P 43 21 2"):
        hf.index(run[1], "60,61,90", structure="1ic6", space_group="P 43 21 2", overwrite=True)
    with pytest.raises(ConfigError, match=r"1ic6: .* does not fit .* Leave out --space-group"):
        hf.index(run[1], structure="1ic6", space_group="P 2 3", overwrite=True)
    with pytest.raises(ConfigError, match="does not fit space group P 43 21 2"):
        hf.index(run[1], "60,61,90", structure="1ic6", overwrite=True)


def test_a_space_group_of_another_lattice_than_the_structure_is_refused(run):
    with pytest.raises(ConfigError, match="orthorhombic P lattice contradicts"):
        hf.index(run[1], structure="1ic6", space_group="P 2 2 2", overwrite=True)


def test_a_run_is_searched_for_its_crystal(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(job, "index", lambda *given, **options: asked.append((given, options)))
    frames = run[0] / "sim" / "frames_master.h5"
    how = {"finder": "likelihood", "limit": 2, "workers": 1, "estimate": False}
    hf.run(frames, tmp_path / "plain", **how)
    assert not asked
    hf.run(frames, tmp_path / "out", structure="1ic6", bandwidth=0.02, csv=True, **how)
    (((done, cell), options),) = asked
    assert (done.folder, cell, options["structure"]) == (tmp_path / "out", None, "1ic6")
    assert (options["pixels"], options["bandwidth"], options["csv"]) == (True, 0.02, True)
    with pytest.raises(ConfigError, match=r"none\.pdb"):
        hf.run(frames, tmp_path / "not", structure="none.pdb", **how)
    assert not (tmp_path / "not").exists()


@pytest.mark.slow
def test_both_crystals_of_a_frame_are_indexed(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    frames = simulated(tmp_path, 5, {"bragg_scale": 0.01, "crystal.count": 2, "seed": 51})
    hf.run(frames, tmp_path / "out", finder="likelihood", estimate=False, workers=1)
    monkeypatch.setattr(pixels, "CHANCE_FRAMES", 5)
    found = hf.index(tmp_path / "out", structure="1ic6", crystals=2, workers=1)
    true = pq.read_table(tmp_path / "sim" / "crystals.parquet").to_pylist()
    rows = [row for row in found.table.to_pylist() if row["indexed"]]
    assert len(rows) == found.n_crystals >= 6
    for row in rows:
        off = [
            found.lattice.angle_deg(from_columns(row), from_columns(one))
            for one in true
            if one["frame"] == row["frame"]
        ]
        assert min(off) < 0.5
    both = {row["frame"] for row in rows if row["crystal"] == 1}
    assert len(both) == found.n_crystals - found.n_indexed >= 2
    for frame in both:
        one, other = (row for row in rows if row["frame"] == frame)
        assert found.lattice.angle_deg(from_columns(one), from_columns(other)) > 1
    assert found.stream.read_text().count("Begin crystal") == found.n_crystals
