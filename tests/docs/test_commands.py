"""The commands on the pages: each is one that hitfinder takes, and those of a newcomer run."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from hitfinder.cli.main import cli
from waiting import LONGEST_S

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^( *)```(?:bash|console|sh)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
START = ROOT / "docs" / "start.md"
SHORT = ("info", "run", "view", "index")
"""Commands that are run of the page for newcomers; the others take long."""


def commands(page):
    """Arguments of each hitfinder command in the blocks of a page."""
    for _, block in FENCE.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.strip().removeprefix("$ ")
            if not text.startswith(("hitfinder ", "venv/bin/hitfinder ")):
                continue
            words = shlex.split(text, comments=True)
            ends = [k for k, word in enumerate(words) if word in ("|", ">", "&&", ";")]
            yield tuple(words[1 : ends[0] if ends else None])


EVERY = sorted({(page.name, words) for page in PAGES for words in commands(page)})


def parse(command, name, arguments, parent=None):
    """Have click take the arguments, down to the command they name, without running it."""
    context = command.make_context(name, list(arguments), parent=parent)
    if isinstance(command, click.Group):
        inner, found, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        parse(found, inner, rest, context)


@pytest.mark.parametrize(("page", "words"), EVERY, ids=lambda value: str(value)[:60])
def test_commands_on_pages_are_taken(page, words):
    with contextlib.suppress(click.exceptions.Exit):  # --help and --version end here
        parse(cli, "hitfinder", words)


def test_a_command_that_is_not_taken_is_seen():
    with pytest.raises(click.UsageError, match="No such option"):
        parse(cli, "hitfinder", ["run", "x.h5", "--out", "y", "--no-such-option"])


@pytest.fixture(scope="module")
def start(large_world, tmp_path_factory):
    """Folder in which the commands are run, one after the other."""
    folder = tmp_path_factory.mktemp("start") / "work"
    shutil.copytree(large_world, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [words for words in commands(START) if words[0] in SHORT], ids=" ".join
)
def test_a_newcomers_commands_run(words, start):
    if words[0] == "run":  # the page shows several ways to the same folder
        shutil.rmtree(start / "run7", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "hitfinder", *words],
        cwd=start,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stderr
