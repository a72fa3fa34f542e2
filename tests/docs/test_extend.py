"""The examples of docs/extend.md: the modules as they stand there, checked and used."""

import contextlib
import gc
import io
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from hitfinder.cli.main import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(language):
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [(title, text) for kind, title, text in found if kind == language]


MODULES = dict(blocks("python"))


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Work in a folder with the modules of the page, which are forgotten afterwards."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name.removesuffix(".py"), None)


def hitfinder(*arguments, code=0):
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        main([str(a) for a in arguments])
    gc.collect()
    assert stop.value.code == code, err.getvalue()
    return out.getvalue()


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith("check_")))
def test_the_modules_pass_their_checks(modules, name):
    if name == "check_brightest.py":
        pytest.importorskip("torch")
    runpy.run_path(str(modules / name))


def test_every_module_is_checked():
    plain = {name for name in MODULES if not name.startswith("check_")}
    assert {f"check_{name}" for name in plain} == MODULES.keys() - plain
    assert len(plain) == 4


def test_a_run_uses_them(modules):
    frames = np.random.default_rng(0).poisson(0.1, (4, 195, 487)).astype("<u2")
    frames[1::2, 20::50, 30::60] += 40
    frames.tofile("scan.raw")
    reader = ["--reader", "raw:RawReader"]
    (told,) = json.loads(hitfinder("info", "--json", "scan.raw", *reader))
    assert (told["frames"], told["metadata"]["detector"]) == (4, "Pilatus 100K")
    beam = ["--photon-energy-ev", 8000, "--camera-length-m", 0.1]
    finder = ["--finder", "bright:BrightFinder", "--finder-option", "photons=25"]
    outputs = ["--output", "usual", "--output", "counts:CountsOutput"]
    done = hitfinder(
        "run", "scan.raw", *reader, *beam, *finder, *outputs, "--out", "found", "--workers", 1
    )
    assert "4 of 4 frames processed, 2 hits" in done
    assert json.loads(Path("found/counts.json").read_text()) == {
        "scan.raw //1": 4 * 8,
        "scan.raw //3": 4 * 8,
    }


def test_train_uses_the_network(modules, tree_builder):
    pytest.importorskip("torch")
    tree_builder(modules / "images")
    options = ["--data", "images", "--epochs", 1, "--workers", 0, "--accelerator", "cpu"]
    hitfinder("train", "peak", "--model", "brightest:Brightest", "--out", "peak", *options)
    assert "peak by network brightest:Brightest" in hitfinder("models", "show", "peak")


def test_what_it_registers_is_what_it_defines(modules):
    (text,) = (text for _, text in blocks("toml"))
    for path in re.findall(r'= "(.*)"', text):
        module, name = path.split(":")
        assert re.search(rf"^class {name}\b", MODULES[f"{module}.py"], re.MULTILINE)
