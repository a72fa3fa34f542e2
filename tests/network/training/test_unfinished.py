"""Trainings that are killed, and go on."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.cli.main import main
from hitfinder.errors import ConfigError, OutputError
from hitfinder.locks import locked
from hitfinder.network.model import load
from hitfinder.network.training.examples import Examples, draw_examples
from hitfinder.network.training.fit import FitSettings, Fitting
from hitfinder.network.training.unfinished import unfinished

pytestmark = pytest.mark.usefixtures("one_thread")

SETTINGS = FitSettings(epochs=3, batch_size=16)
TRAIN = ("train", "low-flux", "--experiments", "2", "--workers", "1", "--epochs", "2")


@pytest.fixture(scope="module")
def examples():
    """Two experiments of a few dozen candidates each."""
    names = ("counts", "background", "direction", "labels")
    found = [draw_examples(5, number) for number in (1, 2)]
    return [
        Examples(**{name: getattr(one, name)[:50] for name in names}, frames=one.frames)
        for one in found
    ]


def weights(fitting):
    return {name: value.numpy().tobytes() for name, value in fitting.network.state_dict().items()}


@pytest.mark.slow
def test_a_fit_that_goes_on_anywhere_ends_as_if_it_had_never_stopped(examples, tmp_path):
    together = Examples.joined(examples)
    whole = Fitting(together, SETTINGS, 3)
    n_steps = sum(1 for _ in whole.steps())
    assert n_steps == 3 * (100 // 16)
    for stop in (1, n_steps // 3, n_steps // 2 + 1, n_steps):
        cut = Fitting(together, SETTINGS, 3)
        for _, _ in zip(range(stop), cut.steps(), strict=False):
            pass
        with unfinished(tmp_path / str(stop), {}, resume=False, overwrite=False) as kept:
            kept.keep_fit(cut.state())
            again = Fitting(together, SETTINGS, 3)
            again.restore(kept.fit)
        left = sum(1 for _ in again.steps())
        assert left == n_steps - stop
        assert again.losses == whole.losses
        assert weights(again) == weights(whole)


def test_examples_are_simulated_once_and_damaged_ones_again(examples, tmp_path, monkeypatch):
    monkeypatch.setattr("hitfinder.network.training.unfinished.EXPERIMENTS_PER_FILE", 2)
    asked, done = [], []

    def simulated(numbers):
        for number in numbers:
            asked.append(number)
            yield examples[number % 2]

    def made(kept):
        asked.clear()
        done.clear()
        return kept.examples("train", 5, simulated, done.append)

    with unfinished(tmp_path, {}, resume=False, overwrite=False) as kept:
        first = made(kept)
        assert (asked, sum(done)) == ([0, 1, 2, 3, 4], 5)
        assert made(kept).counts.tobytes() == first.counts.tobytes()
        assert (asked, sum(done)) == ([], 5)
        files = sorted(kept.folder.glob("train-*.dat"))
        assert len(files) == 3
        content = bytearray(files[1].read_bytes())
        content[len(content) // 2] ^= 1
        files[1].write_bytes(content)
        again = made(kept)
        assert (asked, sum(done)) == ([2, 3, 4], 5)
        for name in ("counts", "background", "direction", "labels", "frames"):
            assert getattr(again, name).tobytes() == getattr(first, name).tobytes()


class KilledError(Exception):
    """What a test raises in place of a kill."""


def cut(out, asked, *, resume=False, overwrite=False):
    """Begin a training, or go on with it, and stop; return the fit that was kept before."""
    with (
        contextlib.suppress(KilledError),
        unfinished(out, asked, resume=resume, overwrite=overwrite) as kept,
    ):
        before = kept.fit
        kept.keep_fit({"a": np.arange(3)})
        raise KilledError
    return before


def test_a_training_is_gone_on_with_only_if_it_is_the_same(tmp_path):
    asked = {"seed": 1, "fit": {"epochs": 2}}
    other = asked | {"fit": {"epochs": 3}}
    assert cut(tmp_path, asked) is None
    with pytest.raises(OutputError, match=r"training already.*--resume"):
        cut(tmp_path, asked)
    with pytest.raises(ConfigError, match="another fit"):
        cut(tmp_path, other, resume=True)
    assert cut(tmp_path, asked, resume=True)["a"].tolist() == [0, 1, 2]
    (tmp_path / "training" / "settings.json").write_text("[[")
    with pytest.raises(ConfigError, match=r"cannot be read.*--overwrite"):
        cut(tmp_path, asked, resume=True)
    assert cut(tmp_path, other, overwrite=True) is None
    with unfinished(tmp_path, other, resume=True, overwrite=False) as kept:
        assert kept.fit is not None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_one_training_at_a_time(tmp_path):
    tmp_path.joinpath("training").mkdir()
    with (
        locked(tmp_path, "training"),
        pytest.raises(OutputError, match="another training is writing here"),
        unfinished(tmp_path, {}, resume=False, overwrite=True),
    ):
        pass


def test_a_link_for_the_folder_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fit.dat").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "training").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(OutputError, match="a link, where a folder"),
        unfinished(tmp_path / "out", {}, resume=False, overwrite=True),
    ):
        pass
    assert (tmp_path / "mine" / "fit.dat").read_text() == "mine"


def command(out, *more):
    words = [sys.executable, "-m", "hitfinder", *TRAIN, "--out", str(out), *more]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a training that nothing disturbed, and the seconds it took."""
    out, began = tmp_path_factory.mktemp("whole") / "mine", time.monotonic()
    process = command(out)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert not (out / "training").exists()
    return out, time.monotonic() - began


def same(out, whole):
    """Say whether two folders hold the same network, and files of the same names."""
    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in out.iterdir()) == names
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (out, whole)]
    return weights[0] == weights[1]


@pytest.mark.slow
def test_trainings_killed_at_any_moment_are_resumed_to_the_same_weights(whole, tmp_path):
    rng = np.random.default_rng(8)
    for number in range(2):
        out = tmp_path / f"cut{number}"
        for left in range(20, -1, -1):
            process = command(out, *(["--resume"] if out.exists() else []))
            try:
                longest = rng.uniform(0.5, 1.2) * whole[1] if left else None
                said = process.communicate(timeout=longest)[0]
                assert process.returncode == 0, said
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            if (out / "model.json").exists():
                load(out)
                if not (out / "training").exists():
                    break  # all was done but to end the process
        assert same(out, whole[0])


@pytest.mark.slow
def test_a_training_killed_after_its_model_was_written_ends(whole, tmp_path, monkeypatch):
    out = tmp_path / "mine"
    with monkeypatch.context() as patch:
        patch.setattr("hitfinder.network.training.unfinished._clear", lambda folder: None)
        with pytest.raises(SystemExit) as stop:
            main([*TRAIN, "--out", str(out)])
    assert not stop.value.code
    assert (out / "model.json").exists()
    assert (out / "training" / "fit.dat").exists()
    with pytest.raises(SystemExit) as stop:
        main([*TRAIN, "--out", str(out), "--resume"])
    assert not stop.value.code
    assert same(out, whole[0])


@pytest.fixture
def told(capsys):
    """Do a command that is refused, and return the line it says."""

    def refused(*words):
        with pytest.raises(SystemExit) as stop:
            main([*TRAIN, *map(str, words)])
        said = capsys.readouterr().err
        assert stop.value.code == 2
        assert said.splitlines()[-1].startswith("hitfinder: error: ")
        assert "Traceback" not in said
        return said

    return refused


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_no_model(small_disk, told):
    disk = small_disk(64 << 10)
    assert "No space left on device" in told("--out", disk / "mine")
    assert not (disk / "mine" / "model.json").exists()
    assert not list((disk / "mine").glob("**/*.part"))


def test_a_folder_that_cannot_be_made_is_told(tmp_path, told):
    (tmp_path / "file").write_text("")
    assert "cannot be made (Not a directory)" in told("--out", tmp_path / "file" / "mine")
