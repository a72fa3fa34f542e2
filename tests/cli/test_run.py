import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import hitfinder as hf
from hitfinder.cli.main import main
from hitfinder.cli.run import WORKER_IMPORTS
from hitfinder.executors import processes
from hitfinder.executors.inline import Inline
from hitfinder.executors.processes import Processes
from hitfinder.geometry.crystfel import geom_lines, read_geom, write_geom
from waiting import LONGEST_S, wait_for

FRAME_COLUMNS = [
    "file",
    "event",
    "status",
    "hit",
    "doubt",
    "score",
    "n_peaks",
    "peaks_left_out",
    "photons",
    "background_per_pixel",
    "resolution_a",
    "hit_probability",
    "crystal_score",
    "joint_score",
    "joint_probability",
    "photon_energy_ev",
    "photon_energy_sigma_ev",
    "photon_energy_low_ev",
    "photon_energy_high_ev",
    "camera_length_m",
    "camera_length_sigma_m",
    "camera_length_low_m",
    "camera_length_high_m",
    "geometry",
    "seconds",
]
PEAK_COLUMNS = [
    "frame",
    "fs",
    "ss",
    "photons",
    "background",
    "log_p",
    "n_pixels",
    "snr",
    "resolution_a",
    "probability",
    "photons_sigma",
]
OUTPUTS = {
    *("frames.parquet", "peaks.parquet", "frames.csv", "peaks.csv", "hits.lst", "hits.cxi"),
    *("hits.geom", "report.html", "run.json", "totals.npz"),
}


def frames_table(out):
    return pq.read_table(out / "frames.parquet")


def same_results(out, other):
    """Whether two runs found the same, but for the time each frame took."""
    a, b = frames_table(out), frames_table(other)
    same = a.drop_columns(["seconds"]).equals(b.drop_columns(["seconds"]))
    peaks = [(folder / "peaks.parquet").read_bytes() for folder in (out, other)]
    lists = [(folder / "hits.lst").read_bytes() for folder in (out, other)]
    return same and peaks[0] == peaks[1] and lists[0] == lists[1]


def same_results_elsewhere(out, other):
    """Whether two runs found the same in files of different folders."""
    a, b = (frames_table(folder).drop_columns(["seconds", "file"]) for folder in (out, other))
    peaks = [(folder / "peaks.parquet").read_bytes() for folder in (out, other)]
    return a.equals(b) and peaks[0] == peaks[1]


def stopped(series, out, signal, frames):
    script = Path(__file__).with_name("stopped_run.py")
    command = [sys.executable, script, series.master, out, signal, str(frames)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LONGEST_S, start_new_session=True
    )


def test_frame_table_has_a_row_per_frame_in_input_order(series, done):
    table = frames_table(done)
    assert table.column_names == FRAME_COLUMNS
    assert table["file"].to_pylist() == [str(series.master)] * 60
    assert table["event"].to_pylist() == [f"//{i}" for i in range(60)]
    assert set(table["status"].to_pylist()) == {"ok"}
    assert table["hit"].to_pylist() == [bool(spots) for spots in series.spots]
    assert table["photons"].to_pylist() == [int(frame.sum()) for frame in series.frames]
    assert np.allclose(table["background_per_pixel"], 0.02, rtol=0.3)


def test_peak_table_has_the_spots_where_they_are(series, done):
    table = pq.read_table(done / "peaks.parquet")
    assert table.column_names == PEAK_COLUMNS
    frame = table["frame"].to_numpy()
    assert (np.diff(frame) >= 0).all()
    for index in (1, 31, 59):
        rows = table.filter(frame == index)
        places = zip(rows["fs"].to_pylist(), rows["ss"].to_pylist(), strict=True)
        found = sorted(places, key=lambda at: (int(at[0]), at[1]))
        np.testing.assert_allclose(found, series.spots[index], atol=0.35)
    counts = frames_table(done)["n_peaks"].to_numpy()
    assert np.array_equal(np.bincount(frame, minlength=60), counts)


def test_hits_go_to_crystfel(series, done):
    lines = (done / "hits.lst").read_text().splitlines()
    assert lines == [f"{series.master} //{i}" for i in range(1, 60, 2)]
    with h5py.File(done / "hits.cxi") as cxi:
        data, result = cxi["entry_1/data_1/data"], cxi["entry_1/result_1"]
        assert data.is_virtual
        np.testing.assert_array_equal(data[3], series.frames[7])
        n = result["nPeaks"][3]
        assert n == 8
        x, y = result["peakXPosRaw"][3, :n], result["peakYPosRaw"][3, :n]
    # CrystFEL adds half a pixel to what CXI holds.
    found = sorted(zip(x + 0.5, y + 0.5, strict=True), key=lambda at: (int(at[0]), at[1]))
    np.testing.assert_allclose(found, series.spots[7], atol=0.35)
    geom = read_geom(done / "hits.geom").geometry()
    assert geom.camera_length_m == pytest.approx(0.03)
    assert geom.photon_energy_ev == pytest.approx(6000)
    assert geom.detector.panels[0].corner_x == pytest.approx(-110)


def test_run_json_says_what_was_used(series, done):
    run = json.loads((done / "run.json").read_text())
    assert run["complete"] is True
    assert run["inputs"] == [str(series.master)]
    assert run["counts"]["by_status"] == {"ok": 60}
    assert run["counts"]["hits"] == 30
    assert run["settings"]["output.csv"] is True
    assert run["origin"]["photon_energy_ev"] == "the frames' file"
    assert run["geometry"]["beam_center"] == [110.0, 100.0]
    assert {path.name for path in done.iterdir()} == OUTPUTS


def test_csv_agrees_with_parquet(done):
    import pyarrow.csv

    placed = ["file", "event", *PEAK_COLUMNS]
    for name, columns in (("frames", FRAME_COLUMNS), ("peaks", placed)):
        table = pyarrow.csv.read_csv(done / f"{name}.csv")
        assert table.column_names == columns
        assert table.num_rows == pq.read_table(done / f"{name}.parquet").num_rows


def test_each_peak_of_the_csv_names_its_frame(done):
    import pyarrow.csv

    frames = frames_table(done).select(["file", "event"]).to_pylist()
    peaks = pyarrow.csv.read_csv(done / "peaks.csv").to_pylist()
    assert len(peaks) > 100
    for peak in peaks:
        assert {name: peak[name] for name in ("file", "event")} == frames[peak["frame"]]
    assert pq.read_table(done / "peaks.parquet").column_names == PEAK_COLUMNS


def test_one_worker_and_a_geometry_file_find_the_same(series, done, hitfinder, tmp_path):
    write_geom(tmp_path / "s.geom", geom_lines(series.geometry, data_path="/entry/data/data"))
    settings = tmp_path / "job.toml"
    settings.write_text('workers = 1\n[geometry]\nfile = "s.geom"\n[output]\ngallery = 2\n')
    made = hitfinder("run", series.master, "-o", "out", "-c", settings, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert same_results(tmp_path / "out", done)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["origin"]["detector"] == "s.geom"
    assert run["timings"]["workers"] == 1
    assert not (tmp_path / "out" / "frames.csv").exists()


def test_a_killed_run_is_completed(series, done, hitfinder, gone, tmp_path):
    out = tmp_path / "out"
    killed = stopped(series, out, "SIGKILL", 17)
    assert killed.returncode == -9
    assert not (out / "frames.parquet").exists()
    parts = {path.name: path.stat().st_mtime_ns for path in (out / ".parts").glob("chunk-*")}
    assert 3 <= len(parts) < 8
    workers = [int(pid) for pid in killed.stdout.split()]
    assert workers
    wait_for(lambda: all(map(gone, workers)), "workers outlive the run that started them")

    resumed = hitfinder("run", series.master, "-o", out, "--resume", "-j", 1)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after" in resumed.stderr
    assert same_results(out, done)
    assert not (out / ".parts").exists()
    run = json.loads((out / "run.json").read_text())
    assert run["timings"]["frames_in_this_session"] == 60 - 8 * len(parts) + 4 * (
        "chunk-000000056.dat" in parts
    )


@pytest.mark.parametrize("signal", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_an_interrupted_run_leaves_valid_results(series, done, hitfinder, tmp_path, signal):
    out = tmp_path / "out"
    ended = stopped(series, out, signal, 17)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "--resume" in ended.stderr
    run = json.loads((out / "run.json").read_text())
    assert run["complete"] is False
    assert "was interrupted" in (out / "report.html").read_text()
    partial, whole = frames_table(out), frames_table(done)
    status = np.array(partial["status"].to_pylist())
    finished = np.flatnonzero(status == "ok")
    assert set(status) == {"ok", "pending"}
    assert len(finished) == run["counts"]["processed"] >= 17
    for name in ("event", "hit", "score", "n_peaks"):
        assert partial[name].take(finished).equals(whole[name].take(finished))
    # A frame without results has no values, rather than zeros that look like results.
    pending = int(np.flatnonzero(status == "pending")[0])
    assert partial["score"][pending].as_py() is None
    if signal == "SIGINT":
        resumed = hitfinder("run", series.master, "-o", out, "--resume", "-j", 1)
        assert resumed.returncode == 0, resumed.stderr
        assert same_results(out, done)


def test_frames_that_cannot_be_read_have_their_rows(fresh_series, done, hitfinder, tmp_path):
    missing = fresh_series.master.with_name("run_data_000002.h5")
    missing.unlink()
    made = hitfinder(
        "run", fresh_series.master, tmp_path / "no.h5", "-o", tmp_path / "out", "-j", 1
    )
    assert made.returncode == 1
    assert "run_data_000002.h5" in made.stderr
    assert "Traceback" not in made.stderr
    table, whole = frames_table(tmp_path / "out"), frames_table(done)
    assert table.num_rows == 61
    status = table["status"].to_pylist()
    assert status == ["ok"] * 20 + ["missing-source"] * 20 + ["ok"] * 20 + ["missing-file"]
    readable = [*range(20), *range(40, 60)]
    assert table["score"].take(readable).equals(whole["score"].take(readable))
    assert table["score"][25].as_py() is None
    assert table["hit"][25].as_py() is False
    report = (tmp_path / "out" / "report.html").read_text()
    assert "a linked data file does not exist" in report


def test_frames_of_a_missing_file_are_tried_again_when_it_is_back(fresh_series, tmp_path):
    """What is learnt of a run before depends on the frames that are there, and is left out here."""
    out, whole = tmp_path / "out", tmp_path / "whole"

    def run(folder, **options):
        options |= {"executor": Inline(), "hot_pixel_frames": 0}
        return hf.run(fresh_series.master, folder, **options)

    run(whole)
    file = fresh_series.master.with_name("run_data_000002.h5")
    file.rename(tmp_path / "away")
    for again in (False, True):
        made = run(out, resume=again)
        assert made.frames["status"].to_pylist().count("missing-source") == 20
        assert json.loads((out / "run.json").read_text())["wanting"] == 20
    (tmp_path / "away").rename(file)
    assert set(run(out, resume=True).frames["status"].to_pylist()) == {"ok"}
    assert not (out / ".parts").exists()
    assert same_results(out, whole)


def test_workers_start_before_the_frames_are_looked_at(hitfinder, series, tmp_path, monkeypatch):
    """Those are the workers of the run, which starts no others; without inputs none is started."""
    started = []

    def start(worker, nursery, modules):
        started.append(modules)
        init(worker, nursery, modules)

    init = processes._Worker.__init__
    monkeypatch.setattr(processes._Worker, "__init__", start)
    monkeypatch.setattr("hitfinder.cli.run.MOST_AHEAD", 2)
    out = tmp_path / "out"
    made = hitfinder("run", series.master, "--out", out, "-j", 2, "--output", "lst")
    assert made.returncode == 0, made.stderr
    assert started == 2 * [WORKER_IMPORTS]
    assert not processes._ahead
    assert hitfinder("run", tmp_path / "no.h5", "--out", out, "-j", 2).returncode == 2
    assert len(started) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_a_file_that_vanishes_in_mid_run(fresh_series, done, tmp_path, number):
    """Its frames say so, its hits are left out of hits.cxi, and a resumed run has them all."""
    file = fresh_series.master.with_name(f"run_data_00000{number}.h5")

    @contextlib.contextmanager
    def vanish(what, total):
        def advance(n, note=""):
            counted.append(n)
            if sum(counted) >= 17 and file.exists():
                file.rename(tmp_path / "away")

        counted = []
        yield advance

    out = tmp_path / "out"
    with Processes(1) as executor:
        made = hf.run(fresh_series.master, out, executor=executor, show=vanish)
    status = np.array(made.frames["status"].to_pylist())
    assert set(status) <= {"ok", "missing-file"}
    hit = np.flatnonzero(made.frames["hit"].to_pylist())
    with h5py.File(out / "hits.cxi") as cxi:
        kept = cxi["entry_1/result_1/frame"][:]
    there = range(20) if number == 2 else range(20, 60)
    assert set(kept) <= set(hit)
    assert {*hit} & {*there} <= {*kept}
    assert (out / ".parts").exists()
    (tmp_path / "away").rename(file)
    hf.run(fresh_series.master, out, resume=True, executor=Inline())
    assert same_results_elsewhere(out, done)
    with h5py.File(out / "hits.cxi") as cxi:
        whole = np.flatnonzero(frames_table(done)["hit"].to_pylist())
        assert cxi["entry_1/result_1/frame"][:].tolist() == whole.tolist()
    assert not (out / ".parts").exists()


@pytest.mark.slow
def test_many_files_with_few_open_at_a_time(series, hitfinder_apart, tmp_path):
    """HDF5 would keep every file open that the hits are in."""
    for number in range(90):
        with h5py.File(tmp_path / f"f{number:04}.h5", "w") as file:
            file["entry/data/data"] = series.frames[1 + 2 * (number % 20)][None]
    write_geom(tmp_path / "s.geom", geom_lines(series.geometry, data_path="/entry/data/data"))
    made = hitfinder_apart(
        *("run", str(tmp_path / "f*.h5"), "-g", tmp_path / "s.geom", "-o", tmp_path / "out"),
        *("--finder", "likelihood", "-j", 1),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    assert made.returncode == 0, made.stderr
    with h5py.File(tmp_path / "out" / "hits.cxi") as cxi:
        n_hits = len(cxi["entry_1/result_1/frame"])
    assert n_hits == sum(frames_table(tmp_path / "out")["hit"].to_pylist())
    assert n_hits > 64, "more files than can be open"


def test_frames_that_are_in_no_hdf5_file_are_copied(series, hitfinder, tmp_path):
    stack = tmp_path / "stack.npy"
    frames = np.stack(series.frames[:12]).astype(np.float32)
    frames[3, 50:60, 50:60] = np.nan
    np.save(stack, frames)
    write_geom(tmp_path / "s.geom", geom_lines(series.geometry, data_path="/entry/data/data"))
    out = tmp_path / "out"
    made = hitfinder("run", stack, "-g", tmp_path / "s.geom", "-o", out, "-j", 1)
    assert made.returncode == 0, made.stderr
    with h5py.File(out / "hits.cxi") as cxi:
        data = cxi["entry_1/data_1/data"]
        assert not data.is_virtual
        np.testing.assert_array_equal(data[1], frames[3])


def test_a_frame_without_a_pixel_to_read_gives_nothing(series, hitfinder, tmp_path):
    frames = np.stack(series.frames[:2]).astype(np.float16)
    frames[1] = np.nan
    with h5py.File(tmp_path / "half.h5", "w") as file:
        file["entry/data/data"] = frames
    write_geom(tmp_path / "s.geom", geom_lines(series.geometry, data_path="/entry/data/data"))
    arguments = ["run", tmp_path / "half.h5", "-g", tmp_path / "s.geom", "--hit-threshold", 0]
    made = hitfinder(*arguments, "-o", tmp_path / "out", "-j", 1)
    assert made.returncode == 0, made.stderr
    table = frames_table(tmp_path / "out")
    assert table["status"].to_pylist() == ["ok", "ok"]
    assert table["photons"].to_pylist() == [int(series.frames[0].sum()), 0]
    blind = table.slice(1).to_pylist()[0]
    assert (blind["score"], blind["hit"], blind["n_peaks"]) == (0.0, False, 0)
    for name in ("hit_probability", "photon_energy_ev", "camera_length_m", "background_per_pixel"):
        assert table[name][0].as_py() is not None
        assert blind[name] is None


def test_a_complete_run_is_left_alone_unless_told(series, done, hitfinder, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in done.iterdir()}
    again = hitfinder("run", series.master, "-o", done, "--resume")
    assert again.returncode == 0
    assert "complete already" in again.stdout
    refused = hitfinder("run", series.master, "-o", done, "--resume", "--min-peaks", 3)
    assert refused.returncode == 2
    assert "finder.min_peaks was 0, is 3" in refused.stderr
    assert {path: path.stat().st_mtime_ns for path in done.iterdir()} == before


def test_overwrite_replaces_results_and_nothing_else(series, hitfinder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "peaks.csv").write_text("of an earlier run")
    made = hitfinder(
        "run", series.master, "-o", out, "--overwrite", "--hit-threshold", 1e6, "-j", 1
    )
    assert made.returncode == 0, made.stderr
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "peaks.csv").exists()
    assert not any(frames_table(out)["hit"].to_pylist())
    assert (out / "hits.lst").read_text() == ""
    assert (out / "hits.cxi").exists()


def complaint(capsys, *arguments):
    """What the command says on standard error, which must be one line without a traceback."""
    with pytest.raises(SystemExit) as stop:
        main([*map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("option", [["--device", "quantum"], ["--hit-threshold", "inf"]])
def test_results_are_there_until_others_can_be_had(series, capsys, tmp_path, option):
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text("{}")
    complaint(capsys, "run", series.master, "-o", out, "--overwrite", *option)
    assert [path.name for path in out.iterdir()] == ["run.json"]


def test_bad_input_is_one_clear_line(series, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    master, out = series.master, tmp_path / "out"
    np.save("mask.npy", np.zeros((3, 4), bool))
    np.save("stack.npy", np.zeros((2, 200, 220), np.uint16))
    Path("bad.toml").write_text("[finder]\nfalse_hit = 0.1\n")
    Path("bad.geom").write_text("p0/max_fs = blue\n")
    Path("file").write_text("not a folder")
    cases = {
        ("no.h5",): "no.h5: there is no such file",
        (master, "--detector", "eigr2-x-4m"): "no detector is called 'eigr2-x-4m'. Close names",
        (master, "--detector", "eiger2-x-4m"): "frames are 200 x 220 pixels, detector",
        (master, "--detector", "x", "--geometry", "y"): "a geometry file or a detector's name",
        (master, "--geometry", "no.geom"): "no.geom: cannot be read",
        (master, "--geometry", "bad.geom"): "bad.geom:1",
        (master, "--mask", "mask.npy"): "mask shape (3, 4) is not the frame shape (200, 220)",
        (master, "-c", "bad.toml"): "unknown setting 'finder.false_hit'. Did you mean 'false_hits'",
        (master, "-c", "no.toml"): "no.toml: No such file",
        ("stack.npy",): "no detector is known with frames of 200 x 220 pixels",
    }
    for arguments, message in cases.items():
        said = complaint(capsys, "run", *arguments, "--out", out)
        assert said.startswith("hitfinder: error: ")
        assert message in said
        assert said.count("\n") == 1
        assert not out.exists()
    assert "file: cannot be used as a folder" in complaint(capsys, "run", master, "-o", "file")


@pytest.mark.parametrize(
    ("name", "told"), [("two\nlines", "line break"), (os.fsdecode(b"caf\xe9"), "no valid UTF-8")]
)
@pytest.mark.parametrize("where", ["file", "folder", "list", "out"])
def test_paths_that_cannot_be_named_are_refused_at_the_start(
    series, capsys, tmp_path, name, told, where
):
    odd, out = tmp_path / name, tmp_path / "out"
    odd.mkdir()
    given = odd / "run_master.h5" if where == "folder" else tmp_path / f"{name}.h5"
    if where == "out":
        given, out = series.master, odd / "out"
    else:
        given.symlink_to(series.master)
    if where == "list":
        if "\n" in name:
            pytest.skip("a list has no line breaks in its lines")
        (tmp_path / "frames.lst").write_bytes(os.fsencode(f"{given} //0\n"))
        given = tmp_path / "frames.lst"
    assert told in complaint(capsys, "run", given, "-o", out)
    assert not out.exists()


def test_folders_that_hold_something_are_refused(series, capsys, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("all of it")
    said = complaint(capsys, "run", series.master, "-o", tmp_path / "out")
    assert "the folder is not empty. Use --resume" in said
    said = complaint(capsys, "run", series.master, "-o", tmp_path / "out", "--resume")
    assert "there is no unfinished run in the folder" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--false-hits", "2"], "'--false-hits': 2.0 is not in the range 0<x<1"),
        (["--photon-energy-ev", "-3"], "'--photon-energy-ev'"),
        (["--photon-energy-ev", "inf"], "'--photon-energy-ev': 'inf' is not a finite number"),
        (["--hit-threshold", "nan"], "'--hit-threshold': 'nan' is not a finite number"),
        (["--beam-center", "3", "inf"], "'--beam-center': 'inf' is not a finite number"),
        (["--false-hits", "nan"], "'--false-hits': 'nan' is not a finite number"),
        (["--workers", "0"], "'--workers'"),
        (["--limit", "0"], "'--limit'"),
        (["--limit", "few"], "'--limit'"),
        (["--beam-center", "1"], "'--beam-center' requires 2 arguments"),
        (["--resume", "--overwrite"], "exclude each other"),
        (["--chese"], "No such option"),
    ],
)
def test_wrong_usage_is_named(capsys, tmp_path, arguments, message):
    said = complaint(capsys, "run", "x.h5", "-o", tmp_path / "out", *arguments)
    assert message in said


def test_the_network_gives_probabilities_and_says_where_it_was_not_trained(series, done, hitfinder):
    frames, peaks = frames_table(done), pq.read_table(done / "peaks.parquet")
    probability = frames["hit_probability"].to_numpy()
    hit = frames["hit"].to_numpy()
    assert (probability[hit] > 0.9).all()
    assert probability[~hit].mean() < 0.3
    assert (peaks["probability"].to_numpy() > 0.5).mean() > 0.95
    assert (peaks["photons_sigma"].to_numpy() > 0).all()


def test_likelihood_alone_gives_none(series, hitfinder, tmp_path):
    out = tmp_path / "out"
    options = ("--finder", "likelihood", "--no-estimate", "-j", 1)
    made = hitfinder("run", series.master, "--out", out, *options)
    assert made.returncode == 0, made.stderr
    assert "was trained on" not in made.stderr
    frames = frames_table(out)
    assert frames["hit"].to_pylist() == [bool(spots) for spots in series.spots]
    assert frames["hit_probability"].null_count == 60
    assert frames["photon_energy_ev"].null_count == 60
    assert json.loads((out / "run.json").read_text())["estimated_geometry"] is None


def test_a_lower_probability_lets_weaker_peaks_in(series, done, hitfinder, tmp_path):
    out = tmp_path / "out"
    made = hitfinder("run", series.master, "--out", out, "--peak-probability", 0.01, "-j", 1)
    assert made.returncode == 0, made.stderr
    n, usual = (sum(frames_table(folder)["n_peaks"].to_pylist()) for folder in (out, done))
    assert n > usual


def test_an_experiment_outside_the_training_is_told(done, said):
    assert "camera length 0.03 m is outside the 0.08 to 0.6 m" in said


def test_some_frames_are_named_on_the_command_line(series, done, hitfinder, tmp_path):
    arguments = ["run", series.master, "-o", tmp_path / "out", "--finder", "likelihood"]
    made = hitfinder(*arguments, "--frames", "1::20,-1", "--limit", 3)
    assert made.returncode == 0, made.stderr
    assert "3 of 60 frames are taken" in made.stderr
    table, whole = frames_table(tmp_path / "out"), frames_table(done)
    assert table["event"].equals(whole["event"].take([1, 21, 41]))
    made = hitfinder("run", series.master, "-o", tmp_path / "no", "--frames", "60")
    assert made.returncode == 2
    assert made.stderr.count("\n") == 1
    assert "there is no frame 60: the inputs hold 60, 0 to 59" in made.stderr
    assert not (tmp_path / "no").exists()


def test_an_unknown_model_is_named(series, hitfinder, tmp_path):
    made = hitfinder("run", series.master, "--out", tmp_path / "b", "--model", "other")
    assert made.returncode == 2
    assert "no model 'other'" in made.stderr
    assert not (tmp_path / "b").exists()


def test_a_background_outside_the_training_is_told(hitfinder, tmp_path):
    frames = np.random.default_rng(1).poisson(70, (3, 300, 310)).astype(np.uint16)
    np.save(tmp_path / "bright.npy", frames)
    command = (
        *("run", tmp_path / "bright.npy", "--out", tmp_path / "out", "-j", 1),
        *("--beam-center", 150, 150),
        *(
            "--photon-energy-ev",
            6000,
            "--camera-length-m",
            0.1,
            "--geometry",
            tmp_path / "one.geom",
        ),
    )
    (tmp_path / "one.geom").write_text(
        "photon_energy = 6000 eV\nclen = 0.1 m\nadu_per_photon = 1\nres = 13333.3\n"
        "p0/min_fs = 0\np0/max_fs = 309\np0/min_ss = 0\np0/max_ss = 299\n"
        "p0/fs = x\np0/ss = y\np0/corner_x = -150\np0/corner_y = -150\n"
    )
    made = hitfinder(*command)
    assert made.returncode == 0, made.stderr
    assert "the background of 3 of 3 frames (70 photons per pixel" in made.stderr
    made = hitfinder(*command, "--overwrite", "--finder", "likelihood")
    assert "the background of" not in made.stderr


def test_the_run_tells_the_geometry_that_its_water_says(hitfinder, tmp_path):
    sim, out = tmp_path / "sim", tmp_path / "out"
    made = hitfinder(
        *("simulate", "--preset", "integrated", "--n", 8, "--out", sim, "--seed", 3),
        *("--detector", "eiger-x-1m", "--photon-energy-ev", 7000),
    )
    assert made.returncode == 0, made.stderr
    made = hitfinder("run", sim, "--out", out, "--workers", 1)
    assert made.returncode == 0, made.stderr
    told = json.loads((out / "run.json").read_text())["estimated_geometry"]
    assert told["flag"] == "ok"
    assert told["frames"] == 8
    fitted = told["with_temperature"]
    assert abs(fitted["temperature_c"] - 25) < 5
    assert fitted["estimate"]["photon_energy_sigma_ev"] > told["photon_energy_sigma_ev"]
    assert abs(told["photon_energy_ev"] - 7000) < 5 * told["photon_energy_sigma_ev"] + 60
    assert abs(told["camera_length_m"] - 0.15) < 5 * told["camera_length_sigma_m"] + 0.002
    length = told["with_photon_energy"]
    assert length["camera_length_sigma_m"] < told["camera_length_sigma_m"]
    assert abs(length["camera_length_m"] - 0.15) < 0.001
    frames = frames_table(out)
    assert set(frames["geometry"].to_pylist()) == {"ok"}
    sigma = frames["photon_energy_sigma_ev"].to_numpy()
    assert (sigma > 2 * told["photon_energy_sigma_ev"]).all()


def test_a_structure_that_cannot_be_used_is_refused_before_the_frames_are_read(
    series, hitfinder, tmp_path
):
    made = hitfinder("run", series.master, "-o", tmp_path / "out", "--structure", "none.pdb")
    assert made.returncode == 2
    assert "none.pdb" in made.stderr
    assert not (tmp_path / "out").exists()
