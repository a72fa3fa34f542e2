"""The tutorials: every command in a bash block runs, one after the other, as it stands there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BASH = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r'^```python title="([\w.]+)"\n(.*?)^```', re.DOTALL | re.MULTILINE)
NOT_OURS = ("indexamajig",)
"""Programs of others, which need not be there."""

LONG = ("crystfel", "finder", "plan", "report")
"""Tutorials that take more than a few seconds."""


def lines(page):
    """Yield the commands of a page."""
    for block in BASH.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith(NOT_OURS):
                yield line


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
    for name, text in MODULE.findall(page.read_text(encoding="utf-8")):
        (shell.folder / name).write_text(text)
    asked = list(lines(page))
    assert asked
    for line in asked:
        done = shell(line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def test_a_command_that_fails_is_seen(shell):
    assert shell("hitfinder info nothing.h5").returncode != 0
