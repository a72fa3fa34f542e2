"""The tutorials: every command in a bash block runs, one after the other, as it stands there."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
LONG = ("crystfel", "finder", "live", "plan", "report")
"""Tutorials that take more than a few seconds."""


def load_pictures():
    """Return the script that runs the tutorials and keeps their pictures."""
    place = ROOT / "examples" / "tutorial_pictures.py"
    spec = importlib.util.spec_from_file_location("tutorial_pictures", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = load_pictures()


@pytest.fixture
def shell(tmp_path):
    """Run a command line in a folder in which `hitfinder` is this one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "hitfinder"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hitfinder "$@"\n')
    program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def run(line):
        return subprocess.run(
            ["bash", "-c", line], cwd=work, env={**os.environ, "PATH": path, "MPLBACKEND": "Agg"},
            capture_output=True, text=True, timeout=400,
        )  # fmt: skip

    run.folder = work
    return run


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in LONG else [])
        for page in TUTORIALS
    ],
)
def test_a_tutorial_runs_as_it_is_written(page, shell):
    if "hitfinder reproduce" in page.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    PICTURES.write_modules(page, shell.folder)
    asked = list(PICTURES.commands(page))
    assert asked
    for line in asked:
        done = shell(line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert all(source.is_file() for source in PICTURES.sources(page, shell.folder).values())


def test_pictures_of_the_tutorials_are_there_and_small():
    folder = ROOT / "docs" / "tutorials" / "images"
    shown = {name for page in TUTORIALS for name in PICTURES.PICTURE.findall(page.read_text())}
    assert {path.name for path in folder.iterdir()} == shown
    assert max(path.stat().st_size for path in folder.iterdir()) < PICTURES.MOST_BYTES


def test_a_command_that_fails_is_seen(shell):
    assert shell("hitfinder info nothing.h5").returncode != 0
