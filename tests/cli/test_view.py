import shutil
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread

import hitfinder as hf
from hitfinder.cli.main import main
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.report.colours import PEAK
from hitfinder.report.frame_figure import draw_frame
from hitfinder.report.peak_sheet import MOST_PEAKS, SIDE_PX, _around, draw_sheet

CYAN = np.array([int(PEAK[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def view(capsys, *arguments):
    """Run `hitfinder view`; return exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as stop:
        main(["view", *map(str, arguments)])
    said = capsys.readouterr()
    return stop.value.code, said.out, said.err


def circles(path):
    """Whether a PNG has pixels of the colour of the circles."""
    image = imread(path)[..., :3]
    assert min(image.shape[:2]) > 500
    return bool((np.abs(image - CYAN).max(axis=2) < 0.06).any())


def test_peaks_are_circled(series, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, _ = view(capsys, series.master, "//7")
    assert code == 0
    assert said.startswith("8 peaks, score ")
    assert circles("run_master_7.png")
    assert view(capsys, series.master, 7, "-o", "number.png")[:2] == (
        0,
        said.replace("run_master_7", "number"),
    )
    code, said, _ = view(capsys, series.master, "--frame", 6, "-o", "blank.png")
    assert said.startswith("0 peaks, score 0")
    assert not circles("blank.png")


def test_frame_and_peaks_come_from_a_run(series, done, capsys, tmp_path):
    line = (done / "hits.lst").read_text().splitlines()[2]
    out = tmp_path / "x.png"
    assert view(capsys, "--run", done, "--frame", 5, "-o", out)[:2] == (
        0,
        f"8 peaks of the run: {out}\n",
    )
    first = out.read_bytes()
    assert view(capsys, done, "--frame", 5, "-o", out, "--overwrite")[0] == 0
    assert out.read_bytes() == first
    assert view(capsys, line, "--run", done, "-o", out, "--overwrite")[0] == 0
    assert out.read_bytes() == first


def test_a_run_is_shown_from_any_directory(fresh_series, hitfinder, capsys, tmp_path, monkeypatch):
    folder = fresh_series.master.parent
    np.save(folder / "bad.npy", np.zeros((200, 220), bool))
    arguments = ["run", "run_master.h5", "-o", "out", "--mask", "bad.npy", "--no-estimate", "-j", 1]
    made = hitfinder(*arguments, cwd=folder)
    assert made.returncode == 0, made.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    out = folder / "out"
    assert view(capsys, "--run", out, "--frame", 5)[:2] == (
        0,
        "8 peaks of the run: run_master_5.png\n",
    )
    assert view(capsys, fresh_series.master, "//5", "--run", out, "--overwrite")[0] == 0
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert view(capsys, "--run", "out", "--frame", 5)[0] == 0


def test_zoom_shows_a_part(series, capsys, tmp_path):
    fs, ss = series.spots[7][0]
    inside, outside = tmp_path / "in.png", tmp_path / "out.png"
    code, said, _ = view(capsys, series.master, "//7", "--zoom", fs, ss, 9, "-o", inside)
    assert code == 0
    assert ", 1 of the peaks in this part: " in said
    assert circles(inside)
    code, said, _ = view(capsys, series.master, "//7", "--zoom", 5, 5, 8, "-o", outside)
    assert code == 0
    assert ", 0 of the peaks in this part: " in said
    assert not circles(outside)


def test_a_peak_is_shown_by_its_number(series, done, capsys, tmp_path):
    peaks = hf.open_run(done).peaks.to_pylist()
    place = next(p for p in peaks if p["frame"] == 7)
    numbers, named = tmp_path / "a.png", tmp_path / "b.png"
    frame = ("--run", done, "--frame", 7)
    assert view(capsys, *frame, "--zoom", place["fs"], place["ss"], 30, "-o", numbers)[0] == 0
    assert view(capsys, *frame, "--zoom", "peak:0:30", "-o", named)[0] == 0
    assert named.read_bytes() == numbers.read_bytes()
    assert view(capsys, *frame, "--zoom=peak:7", "-o", tmp_path / "c.png")[0] == 0
    code, _, said = view(capsys, *frame, "--zoom", "peak:8", "-o", tmp_path / "d.png")
    assert code == 2
    assert "there is no peak 8: the frame has 8 peaks, counted from 0" in said


def test_a_sheet_shows_every_peak(series, done, capsys, tmp_path):
    out = tmp_path / "sheet.svg"
    code, said, _ = view(capsys, "--run", done, "--frame", 7, "--sheet", "-o", out)
    assert (code, said) == (0, f"8 peaks of the run, 8 of them shown: {out}\n")
    drawn = ET.parse(out).getroot()
    assert len([e for e in drawn.iter() if e.tag.endswith("image")]) >= 8
    blank = tmp_path / "blank.png"
    assert view(capsys, series.master, "--frame", 6, "--sheet", "-o", blank)[0] == 0


@pytest.mark.parametrize(
    ("n", "shown"),
    [(0, 0), (3, 3), pytest.param(MOST_PEAKS + 1, MOST_PEAKS, marks=pytest.mark.slow)],
)
def test_a_sheet_shows_any_number_of_peaks(tmp_path, n, shown):
    geometry = Geometry.flat((80, 90), 75e-6, camera_length_m=0.1, photon_energy_ev=6000)
    peaks = np.full(n, 0.5, [(name, "f8") for name in ("fs", "ss", "probability")])
    frame = np.zeros((80, 90), np.uint16)
    assert draw_sheet(tmp_path / "x.png", frame, geometry, peaks, "one") == shown


def test_a_sheet_has_the_pixels_around_each_peak():
    counts = np.arange(400.0).reshape(20, 20)
    crop = _around(counts, 3.5, 18.5)
    assert crop.shape == (SIDE_PX, SIDE_PX)
    assert crop[SIDE_PX // 2, SIDE_PX // 2] == counts[18, 3]
    assert crop[SIDE_PX // 2 + 1, SIDE_PX // 2 - 3] == counts[19, 0]
    assert np.isnan(crop[:, : SIDE_PX // 2 - 3]).all()
    assert np.isnan(crop[SIDE_PX // 2 + 2 :]).all()


@pytest.mark.parametrize(("ending", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_other_formats_are_written(series, capsys, tmp_path, ending, start):
    out = tmp_path / f"x.{ending}"
    assert view(capsys, series.master, "//7", "-o", out)[0] == 0
    assert out.read_bytes().startswith(start)


def test_nothing_is_replaced_unasked(series, capsys, tmp_path):
    out = tmp_path / "x.png"
    out.write_text("mine")
    code, _, said = view(capsys, series.master, "//7", "-o", out)
    assert code == 2
    assert "x.png: the file exists. Use --overwrite" in said
    assert out.read_text() == "mine"


def test_a_frame_without_results_is_said_to_have_none(done, capsys, tmp_path):
    folder = tmp_path / "done"
    shutil.copytree(done, folder)
    table = pq.read_table(folder / "frames.parquet")
    status = pa.array(["pending"] * table.num_rows)
    at = table.column_names.index("status")
    pq.write_table(table.set_column(at, "status", status), folder / "frames.parquet")
    code, said, _ = view(capsys, "--run", folder, "--frame", 7, "-o", tmp_path / "x.png")
    assert code == 0
    assert said.startswith("the run has no result for this frame (pending: not processed")
    assert "0 peaks" not in said


def test_a_folder_in_which_a_run_was_begun_holds_nothing_to_view(capsys, tmp_path):
    (tmp_path / ".parts").mkdir()
    code, _, said = view(capsys, tmp_path)
    assert code == 2
    assert "a run was begun in it, and nothing was recorded" in said


def test_bad_input_is_one_clear_line(series, done, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = {
        ("no.h5",): "no.h5: there is no such file",
        (series.master, "//60"): "there is no frame '//60', it has 60",
        (series.master, "--frame", 60): "there is no frame 60, the last is 59",
        ("--run", done, "--frame", 60): "the run has no frame 60, the last is 59",
        ("--run", tmp_path, "--frame", 1): "holds no results of a run",
        (series.master, "//1", "--zoom", 999, 5, 9): "there is no panel at fs 999, ss 5",
    }
    for arguments, message in cases.items():
        code, _, said = view(capsys, *arguments)
        assert code == 2
        assert message in said
        assert said.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a file, or a run and a frame"),
        (["x.h5", "//1", "--frame", "1"], "give an event or --frame, not both"),
        (["x.h5", "--zoom", "1", "1", "0"], "the size must be positive"),
        (["x.h5", "--zoom", "peak:one"], "'peak:one' is not peak:N or peak:N:SIZE"),
        (["x.h5", "--zoom", "peak:1", "--sheet"], "give one of --zoom and --sheet"),
        (["x.h5", "-o", "x.jpg"], "name it .png, .pdf or .svg, not 'x.jpg'"),
    ],
)
def test_wrong_usage_is_named(capsys, arguments, message):
    code, _, said = view(capsys, *arguments)
    assert code == 2
    assert message in said


def test_doubtful_peaks_have_dotted_circles(tmp_path):
    geometry = Geometry(
        Detector("small", (80, 90), (Panel("p0", 0, 0, 90, 80, -45, -40),)), 0.1, 6e3
    )
    frame = np.zeros((80, 90), np.uint16)
    lit = []
    for probability in (0.9, np.nan, 0.2):
        peak = np.array(
            [(45.0, 40.0, probability)], [(n, "f8") for n in ("fs", "ss", "probability")]
        )
        draw_frame(tmp_path / "x.png", frame, geometry, peak, "one")
        image = imread(tmp_path / "x.png")[..., :3]
        lit.append(int((np.abs(image - CYAN).max(axis=2) < 0.06).sum()))
    sure, unknown, doubtful = lit
    assert sure == unknown
    assert 0 < doubtful < 0.8 * sure
