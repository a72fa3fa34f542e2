"""The example plug-in: installed as a user would, and used by every command that takes one."""

import contextlib
import gc
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fabio
import numpy as np
import pyarrow.parquet
import pytest

from hitfinder.cli.main import main
from waiting import LONGEST_S

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"
SHAPE = (120, 130)
HEADER = {
    "WAVELENGTH": "2.0664",
    "DISTANCE": "50",
    "PIXEL_SIZE": "0.1",
    "BEAM_CENTER_X": "6.5",
    "BEAM_CENTER_Y": "6.0",
}


def with_site(folder):
    """Return the environment of a Python that finds what is in a folder."""
    known = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(known)}


@pytest.fixture(scope="module")
def hitfinder(example_site):
    """Run the command with the example installed."""

    def run(*arguments, cwd, code=0):
        command = [sys.executable, "-m", "hitfinder", *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            cwd=cwd,
            env=with_site(example_site),
        )
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Six SMV files, written by fabio; every other one has five spots."""
    folder = tmp_path_factory.mktemp("frames")
    for number in range(6):
        rng = np.random.default_rng(number)
        frame = rng.poisson(0.1, SHAPE)
        for k in range(5 if number % 2 else 0):
            frame[20 * k + 15 : 20 * k + 17, 22 * k + 10 : 22 * k + 12] += 10
        image = fabio.adscimage.AdscImage(frame.astype(np.uint16), HEADER)
        image.write(str(folder / f"scan_{number}.img"))
    return folder


def test_it_is_listed(hitfinder, tmp_path):
    listed = hitfinder("plugins", "--check", cwd=tmp_path).stdout
    for name, place in (
        ("sigma", "finder:SigmaFinder"),
        ("smv", "reader:SmvReader"),
        ("spots", "output:SpotsOutput"),
        ("brightest", "network:BrightestPatch"),
    ):
        assert f"  {name}" in listed
        assert f"hitfinder-example 0.1, hitfinder_example.{place}" in listed


def test_info_uses_the_reader(hitfinder, frames):
    (told,) = json.loads(hitfinder("info", "--json", frames, cwd=frames).stdout)
    assert (told["reader"], told["format"], told["frames"]) == ("smv", "SMV", 6)
    assert told["metadata"]["photon_energy_ev"] == pytest.approx(6000, rel=1e-3)
    assert told["metadata"]["beam_center"] == pytest.approx([65, 60])
    assert not told["problems"]
    shown = hitfinder("info", "scan_1.img", cwd=frames).stdout
    assert "smv" in shown


def test_run_uses_the_reader_the_finder_and_the_output(hitfinder, frames, tmp_path):
    options = ["--finder", "sigma", "--finder-option", "sigmas=8", "--workers", 2]
    options += ["--output", "usual", "--output", "spots"]
    done = hitfinder("run", frames, "--out", tmp_path / "out", *options, cwd=tmp_path)
    assert "6 of 6 frames processed, 3 hits" in done.stdout
    table = pyarrow.parquet.read_table(tmp_path / "out/frames.parquet")
    assert table["hit"].to_pylist() == [False, True] * 3
    peaks = pyarrow.parquet.read_table(
        tmp_path / "out/peaks.parquet", filters=[("frame", "==", 1)]
    ).sort_by("ss")
    for name, true in (("ss", range(16, 100, 20)), ("fs", range(11, 110, 22))):
        assert peaks[name].to_pylist() == pytest.approx(list(true), abs=0.2)
    lines = (tmp_path / "out/spots.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [
        str(frames / f"scan_{number}.img") for number in (1, 3, 5) for _ in range(5)
    ]
    page = (tmp_path / "out/report.html").read_text()
    assert "reach it" not in page, "the finder does not say how many blank frames do"
    told = json.loads((tmp_path / "out/run.json").read_text())
    assert told["hits_from"] == {"score": 3, "false_hits": None}
    drawn = hitfinder("view", "--run", tmp_path / "out", "--frame", 1, cwd=tmp_path).stdout
    assert "5 peaks of the run" in drawn


@pytest.mark.slow
def test_both_can_be_named_without_being_registered(hitfinder, frames, tmp_path):
    text = (EXAMPLE / "src/hitfinder_example/finder.py").read_text()
    (tmp_path / "mine.py").write_text(text.replace("SigmaFinder", "Finder"))
    shutil.copy(frames / "scan_1.img", tmp_path / "scan.dat")
    options = ["--reader", "hitfinder_example.reader:SmvReader", "--finder", "mine:Finder"]
    done = hitfinder("run", "scan.dat", "--out", "out", *options, cwd=tmp_path)
    assert "1 of 1 frames processed, 1 hits" in done.stdout
    # A look at a frame of the run opens it as the run did.
    assert "5 peaks" in hitfinder("view", "--run", "out", "--frame", 0, cwd=tmp_path).stdout
    wrong = ["--finder", "mine:Finder", "--finder-option", "sigmas=many", "--overwrite"]
    done = hitfinder("run", frames, "--out", "out", *wrong, cwd=tmp_path, code=2)
    assert "finder 'mine:Finder' cannot be built (ValueError" in done.stderr
    assert "Traceback" not in done.stderr


def in_process(*arguments, code=0):
    """Run the command in this process, as loading PyTorch anew each time takes longest."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        main([str(a) for a in arguments])
    gc.collect()
    assert stop.value.code == code, err.getvalue()
    return out.getvalue() + err.getvalue()


@pytest.mark.slow
def test_train_uses_the_network(example_site, tree_builder, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    tree_builder(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    options = ["--data", "images", "--epochs", 1, "--workers", 0, "--accelerator", "cpu"]
    path = "hitfinder_example.network:BrightestPatch"
    with monkeypatch.context() as installed:
        installed.syspath_prepend(str(example_site))
        in_process("train", "peak", "--model", "brightest", "--out", "net", *options)
        assert "peak by network brightest" in in_process("models", "show", "net")
        assert "accuracy:" in in_process("evaluate", "net", "--data", "images", "--workers", 0)
        in_process("train", "peak", "--model", path, "--out", "other", *options)
    for folder, name in (("net", "brightest"), ("other", path)):
        assert f'network = "{name}"' in (tmp_path / folder / "config.toml").read_text()
    # Without the package, a trained network says what it lacks.
    said = in_process("models", "show", "net", code=2)
    assert "no network is called 'brightest'" in said
    assert "or needs a package that is not installed" in said


@pytest.mark.slow
def test_its_own_tests_pass(example_site, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests"]
    environment = with_site(example_site)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
