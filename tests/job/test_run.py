"""`hitfinder.run`: one function, from Python as from the command line."""

import contextlib
import json
import logging
import os
import shutil

import h5py
import numpy as np
import pytest

import hitfinder as hf
from hitfinder.executors.inline import Inline
from hitfinder.finding import likelihood
from hitfinder.job.prepared import PreparedJob
from hitfinder.job.settings import RunOptions, _places, job_settings

SHAPE, N_FRAMES = (96, 128), 8


@pytest.fixture(scope="module")
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[90:] = True
    return hf.Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000, mask=mask)


@pytest.fixture(scope="module")
def frames():
    """Odd frames have six spots of one pixel."""
    rng = np.random.default_rng(5)
    frames = rng.poisson(0.02, (N_FRAMES, *SHAPE)).astype(np.uint16)
    for frame in frames[1::2]:
        frame[rng.choice(np.arange(8, 88, 8), 6), rng.choice(np.arange(8, 120, 8), 6)] += 20
    return frames


@pytest.fixture(scope="module")
def run(master, tmp_path_factory):
    return hf.run(master, tmp_path_factory.mktemp("out") / "run", workers=1, estimate=False)


def test_the_results_are_tables(run):
    assert run.frames.num_rows == N_FRAMES
    assert run.frames["hit"].to_pylist() == [False, True] * (N_FRAMES // 2)
    assert run.peaks.num_rows == sum(run.frames["n_peaks"].to_pylist())
    assert run.frames is run.frames
    assert (run.summary.frames, run.summary.processed, run.summary.hits) == (8, 8, 4)
    assert run.summary.peaks == run.peaks.num_rows
    assert run.summary.complete
    assert not run.summary.unreadable
    assert run.report.is_file()
    assert "8 of 8 frames processed, 4 hits (50 %)" in repr(run)


def test_a_finished_run_is_opened_again(run, geometry):
    again = hf.open_run(str(run.folder))
    assert again.frames.equals(run.frames)
    assert again.peaks.equals(run.peaks)
    assert again.summary == run.summary
    assert again.geometry.shape == SHAPE
    assert again.geometry.camera_length_m == pytest.approx(0.05)
    np.testing.assert_array_equal(again.geometry.detector.full_mask, geometry.detector.full_mask)
    with pytest.raises(hf.ConfigError, match="has not been indexed"):
        again.crystals  # noqa: B018


def without_times(table):
    return table.drop_columns(["file", "event", "seconds"])


def test_frames_in_memory_give_the_same(run, frames, geometry, tmp_path):
    mine = hf.run(frames, tmp_path / "out", geometry=geometry, workers=1, estimate=False)
    assert without_times(mine.frames).equals(without_times(run.frames))
    assert mine.peaks.equals(run.peaks)
    told = json.loads((mine.folder / "run.json").read_text())
    assert told["inputs"] == ["array of shape (8, 96, 128)"]
    assert told["origin"]["camera_length_m"] == "given in Python"
    with h5py.File(mine.folder / "hits.cxi") as file:
        np.testing.assert_array_equal(file["entry_1/data_1/data"][0], frames[1])


def test_a_run_of_other_frames_in_memory_is_not_resumed(frames, geometry, tmp_path):
    options = {"geometry": geometry, "finder": "likelihood", "workers": 1, "estimate": False}
    out = tmp_path / "out"
    assert not hf.run(frames[:2], out, **options).was_complete
    assert hf.run(frames[:2], out, **options, resume=True).was_complete
    with pytest.raises(hf.OutputError, match="array changed"):
        hf.run(frames[2:4], out, **options, resume=True)


OWN_FINDER = """
import hitfinder as hf
import numpy as np

class Brightest:
    least_score = 4.5  # of a hit; its scores are of its own kind

    def __init__(self, geometry, settings):
        self.geometry = geometry

    def __call__(self, frame, mask=None):
        ss, fs = np.unravel_index(np.argmax(frame), frame.shape)
        peaks = hf.peak_table([fs + 0.5], [ss + 0.5], photons=[frame[ss, fs]])
        return hf.FrameResult(score=5.0, hit=True, peaks=peaks)
"""


def test_a_class_of_your_own_is_a_finder(master, frames, tmp_path, monkeypatch):
    (tmp_path / "own_finder.py").write_text(OWN_FINDER)
    monkeypatch.syspath_prepend(tmp_path)
    import own_finder

    run = hf.run(master, tmp_path / "out", finder=own_finder.Brightest, workers=1, estimate=False)
    assert run.settings["finder.finder"] == "own_finder:Brightest"
    assert run.peaks["frame"].to_pylist() == list(range(N_FRAMES))
    assert run.peaks["photons"].to_pylist() == [frame.max() for frame in frames]
    told = json.loads((run.folder / "run.json").read_text())
    assert told["hits_from"] == {"score": 4.5, "false_hits": None}
    geometry = run.geometry
    found = hf.find_peaks(frames[1], geometry, finder=own_finder.Brightest)
    assert found.peaks["photons"] == frames[1].max()


def test_settings_come_as_an_object_a_file_or_one_by_one(master, tmp_path, geometry):
    file = tmp_path / "job.toml"
    file.write_text(
        'workers = 1\nestimate = false\n[finder]\nfinder = "likelihood"\nmin_peaks = 3\n'
    )
    from_file = hf.run(master, tmp_path / "a", file, min_peaks=2, csv=True, mask=None)
    assert from_file.settings["finder.finder"] == "likelihood"
    assert from_file.settings["finder.min_peaks"] == 2
    assert (from_file.folder / "peaks.csv").is_file()
    settings = hf.JobSettings(hf.GeometrySettings(), hf.FinderSettings(min_peaks=3), workers=1)
    assert job_settings(settings, {"estimate": False}).finder.min_peaks == 3
    assert job_settings(None, {"geometry": "x.geom"}).geometry.file == "x.geom"
    assert job_settings(None, {"finder": hf.LikelihoodFinder}).finder.finder == (
        "hitfinder.finding.likelihood:LikelihoodFinder"
    )


def test_some_frames_are_taken_alone(master, run, tmp_path):
    some = hf.run(master, tmp_path / "some", frames=slice(1, None, 2), limit=3, estimate=False)
    names = ["file", "event", "hit", "score", "n_peaks"]
    assert some.frames.select(names).equals(run.frames.select(names).take([1, 3, 5]))
    assert some.frames["event"].to_pylist() == ["//1", "//3", "//5"]
    assert set(some.peaks["frame"].to_pylist()) == {0, 1, 2}
    said = json.loads((some.folder / "run.json").read_text())
    assert (said["settings"]["frames"], said["settings"]["limit"]) == ("1::2", 3)
    with h5py.File(some.folder / "hits.cxi") as cxi, h5py.File(master) as file:
        frames = file["entry/data/data_000001"][[1, 3, 5]]
        assert np.array_equal(cxi["entry_1/data_1/data"][:], frames)


def test_a_run_of_some_frames_goes_on_with_the_same_alone(master, tmp_path):
    out, options = tmp_path / "out", {"finder": "likelihood", "estimate": False}

    @contextlib.contextmanager
    def stop_at_once(what, total):
        def advance(n, note=""):
            if n:
                raise KeyboardInterrupt

        yield advance

    first = hf.run(master, out, frames=":5", show=stop_at_once, **options)
    assert not first.summary.complete
    with pytest.raises(hf.OutputError, match="choice of frames was :5, is all"):
        hf.run(master, out, resume=True, **options)
    with pytest.raises(hf.OutputError, match="limit was None, is 4"):
        hf.run(master, out, resume=True, frames=":5", limit=4, **options)
    again = hf.run(master, out, resume=True, frames=":5", **options)
    assert again.summary.complete
    assert again.frames["status"].to_pylist() == ["ok"] * 5
    assert hf.run(master, out, resume=True, frames=":5", **options).was_complete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": "1:x"}, "frames '1:x': neither a number nor START:STOP:STEP"),
        ({"frames": 1.5}, "must be text, numbers or a slice"),
        ({"frames": "8"}, "no frame 8: the inputs hold 8"),
        ({"frames": [2, -9]}, "no frame -9"),
        ({"frames": "9:"}, "none of the 8"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
    ],
)
def test_frames_that_cannot_be_taken_are_named(master, tmp_path, options, message):
    with pytest.raises(hf.ConfigError, match=message):
        hf.run(master, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_every_setting_has_a_keyword():
    assert set(RunOptions.__annotations__) | {"geometry"} == set(_places())


def test_an_array_of_one_frame_is_enough(frames, geometry, tmp_path):
    one = hf.run(frames[1], tmp_path / "out", geometry=geometry, finder="likelihood", workers=1)
    assert one.summary.hits == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"inputs": "no.h5"}, hf.SourceError, "no.h5: there is no such file"),
        ({"inputs": []}, ValueError, "no input"),
        ({"inputs": 5}, ValueError, "an input is a path or an array, not int: 5"),
        ({"inputs": [["a.h5"]]}, ValueError, "not list"),
        ({"inputs": np.zeros((2, 3, 4, 5))}, hf.SourceError, "no stack of frames"),
        (
            {"inputs": np.zeros((2, 30, 40), complex)},
            hf.SourceError,
            "holds complex128, not counts",
        ),
        ({"inputs": np.zeros((2, 30, 40))}, hf.GeometryError, "frames are 30 x 40 pixels, the geo"),
        ({"finder": "nothing"}, hf.ConfigError, "no finder is called 'nothing'"),
        (
            {"finders": "network"},
            hf.ConfigError,
            "unknown setting 'finders'. Did you mean 'finder'",
        ),
        ({"workers": "two"}, hf.ConfigError, "'workers' must be a whole number, got 'two'"),
        ({"workers": 0}, hf.ConfigError, "workers must be at least 1"),
        ({"false_hits": 0.0}, hf.ConfigError, "false_hits must be between 0 and 1"),
        ({"mask": "no.npy"}, hf.GeometryError, "there is no such mask file"),
        ({"geometry": "no.geom"}, hf.GeometryError, "no.geom: cannot be read"),
        ({"detector": "eiger2-x-4m"}, hf.GeometryError, "a geometry and settings of the geometry"),
        ({"settings": "no.toml"}, hf.ConfigError, "no.toml: No such file"),
        ({"resume": True, "overwrite": True}, hf.ConfigError, "exclude each other"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    frames, geometry, tmp_path, changes, error, message, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = {"inputs": frames, "out": tmp_path / "out", "geometry": geometry, **changes}
    with pytest.raises(error, match=message):
        hf.run(**given)
    assert not (tmp_path / "out").exists()


def test_peaks_that_are_left_out_are_said(frames, geometry, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(likelihood, "MOST_PEAKS", 4)
    made = hf.run(
        frames, tmp_path / "out", geometry=geometry, finder="likelihood", executor=Inline()
    )
    assert made.frames["peaks_left_out"].to_pylist() == [False, True] * (N_FRAMES // 2)
    assert set(made.frames["n_peaks"].to_pylist()) == {0, 4}
    assert "4 frames have more peaks than are looked at" in caplog.text
    assert "4 frames have more peaks than are looked at" in made.report.read_text()
    assert (
        json.loads((made.folder / "run.json").read_text())["counts"]["frames_with_peaks_left_out"]
        == 4
    )


def test_a_folder_that_holds_something_is_kept(run, frames, geometry):
    with pytest.raises(hf.OutputError, match="the folder is not empty"):
        hf.run(frames, run.folder, geometry=geometry)
    with pytest.raises(hf.ConfigError, match="holds no results of a run"):
        hf.open_run(run.folder.parent)


def test_a_library_says_nothing_unless_asked(frames, geometry, tmp_path, capfd, caplog):
    with caplog.at_level(logging.INFO, "hitfinder"):
        hf.run(frames[:2], tmp_path / "a", geometry=geometry, finder="likelihood", workers=1)
    assert "static pixels masked: 0" in caplog.text
    assert capfd.readouterr().out == ""


def test_an_input_that_changes_while_it_is_read_is_told(master, tmp_path, monkeypatch, caplog):
    copies = shutil.copytree(master.parent, tmp_path / "copies")
    find = PreparedJob._find

    def finds_while_it_changes(self, *given):
        found = find(self, *given)
        (data,) = copies.glob("*_data_*.h5")
        os.utime(data, ns=(1, 1))
        return found

    options = {"finder": "likelihood", "workers": 1, "estimate": False}
    hf.run(copies / master.name, tmp_path / "before", **options)
    assert "while it was read" not in caplog.text
    monkeypatch.setattr(PreparedJob, "_find", finds_while_it_changes)
    hf.run(copies / master.name, tmp_path / "out", **options)
    assert caplog.text.count("has changed while it was read") == 1
