"""Training as it is used, on small frames with bright peaks."""

import csv
import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from hitfinder.config import to_toml
from hitfinder.errors import (
    ConfigError,
    HitfinderError,
    OutputError,
    SourceError,
)
from hitfinder.locks import locked
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.select import Selection
from hitfinder.study.networks import attribute, trained
from hitfinder.study.networks.recipe import Adam, InputConfig, Optimiser, Plateau, Stopping
from hitfinder.study.training.epochs import DivergedError
from hitfinder.study.training.run import train
from hitfinder.study.training.settings import Devices, Training
from waiting import LONGEST_S

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = Devices(accelerator="cpu", devices=1)
FAST = Optimiser(adam=Adam(0.01))


def config(name="peak", **changes):
    defaults = {"epochs": 3, "batch_size": 8}
    return dataclasses.replace(attribute.packaged(name), **{**defaults, **changes})


ONE = Selection(settings=("01",))


def run(config, data, out, seed=1, validation_fraction=0.25, selection=Selection(), **options):  # noqa: B008
    training = Training(str(data), selection, seed, validation_fraction)
    return train(config, training, out, devices=CPU, progress_bar=False, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory, tree_builder):
    """Twenty frames of each of four settings, half of them empty."""
    root = tmp_path_factory.mktemp("data") / "images"
    tree_builder(root, frames=10, percent_empty=100, frames_per_file=16)
    return root


def weights_of(made):
    return {name: value.tobytes() for name, value in made.weights().items()}


def history(made):
    with open(made.path / "history.csv") as file:
        return list(csv.DictReader(file))


def test_the_binary_network_learns_to_find_peaks(data, tmp_path):
    settings = config(epochs=12, optimiser=Optimiser(adam=Adam(1e-3)))
    made = run(settings, data, tmp_path / "peak")
    assert made.metrics["test_accuracy"] > 0.8
    assert made.provenance["watched"] == "validation"
    rows = history(made)
    assert [int(row["epoch"]) for row in rows] == list(range(12))
    assert float(rows[-1]["train_loss"]) < 0.5 * float(rows[0]["train_loss"])
    names = {
        f"{part}_{what}"
        for part in ("train", "validation", "test")
        for what in ("loss", "accuracy")
    }
    assert names <= set(rows[0])
    assert list((tmp_path / "peak/training/tensorboard").glob("events.out.tfevents.*"))
    kept = min(rows, key=lambda row: float(row["validation_loss"]))
    assert made.provenance["epoch_kept"] == int(kept["epoch"])


@pytest.mark.parametrize(
    "name",
    ["base", "binary-parameters", "dual-input", pytest.param("resnet50", marks=pytest.mark.slow)],
)
def test_every_network_for_frames_trains(data, tmp_path, name):
    made = run(config(network=name, epochs=1), data, tmp_path / name, selection=ONE)
    assert trained.load(tmp_path / name).network()
    assert 0 <= made.metrics["test_accuracy"] <= 1


@pytest.mark.parametrize("name", ["heatmap", "dncnn"])
def test_every_network_for_locations_trains(data, tmp_path, name):
    settings = config("peak_location", network=name, epochs=1)
    made = run(settings, data, tmp_path / name, selection=ONE)
    assert trained.load(tmp_path / name).network()
    assert np.isfinite(made.metrics["test_loss"])
    assert not any("accuracy" in metric for metric in made.metrics)


@pytest.mark.parametrize("name", ["photon_energy", "camera_length"])
def test_energy_and_camera_length_train(data, tmp_path, name):
    values = {"photon_energy": (6000.0, 7000.0), "camera_length": (0.15, 0.25)}[name]
    made = run(config(name, class_values=values, epochs=1), data, tmp_path / name)
    assert trained.load(made.path).config.class_values == values


def test_the_seed_fixes_the_weights(data, tmp_path):
    first = weights_of(run(config(), data, tmp_path / "a"))
    assert weights_of(run(config(), data, tmp_path / "b", workers=2)) == first
    assert weights_of(run(config(), data, tmp_path / "c", seed=2)) != first


KILLED = """
import os, signal, sys
from lightning.pytorch.callbacks import Callback
import torch
from hitfinder.study.training import run
from hitfinder.study.training.settings import Devices, Training
from hitfinder.study.networks import attribute

torch.set_num_threads(1)  # as here, for sums to be added up in the same order

class Kill(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        if trainer.current_epoch == 2 and index == 1:
            os.kill(os.getpid(), signal.SIGKILL)

make = run._trainer
def with_kill(*arguments):
    trainer = make(*arguments)
    trainer.callbacks.insert(0, Kill())
    return trainer
run._trainer = with_kill
config, data, out = attribute.load(sys.argv[1]), sys.argv[2], sys.argv[3]
run.train(config, Training(data, seed=1, validation_fraction=0.25), out,
          devices=Devices("cpu", 1), progress_bar=False)
"""


# The heatmap has dropout, frames are mirrored at random; the plateau lowers the rate at the end of
# the very epoch before the kill.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["peak", "peak_location"])
def test_a_killed_training_is_resumed_to_the_same_weights(data, tmp_path, name):
    settings = config(
        name,
        epochs=4,
        optimiser=FAST,
        scheduler=Plateau(0.5, patience=0, threshold=0.9),
        mirror=True,
        early_stopping=Stopping(3, min_delta=1.0),
    )
    whole = run(settings, data, tmp_path / "whole")
    (tmp_path / "config.toml").write_text(to_toml(settings))
    arguments = [str(tmp_path / "config.toml"), str(data), str(tmp_path / "cut")]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (tmp_path / "cut/model.json").exists()
    with pytest.raises(OutputError, match="--resume"):
        run(settings, data, tmp_path / "cut")
    resumed = run(settings, data, tmp_path / "cut", resume=True)
    assert history(resumed) == history(whole)
    assert weights_of(resumed) == weights_of(whole)
    rates = [float(row["learning_rate"]) for row in history(whole)]
    assert len(set(rates)) > 2, "the scheduler has had its say"


def test_a_training_killed_before_its_model_was_written(data, tmp_path):
    made = run(config(early_stopping=Stopping(1, 10.0), epochs=9), data, tmp_path / "a")
    assert len(history(made)) == 2, "the first epoch always is a gain, the second is not"
    expected, rows = weights_of(made), history(made)
    for name in ("model.json", "weights.safetensors", "config.toml", "history.csv"):
        (tmp_path / "a" / name).unlink()
    again = run(made.config, data, tmp_path / "a", resume=True)
    assert weights_of(again) == expected
    assert history(again) == rows


def test_a_folder_takes_one_training_at_a_time(data, tmp_path):
    (tmp_path / "a" / "training").mkdir(parents=True)
    with (
        locked(tmp_path / "a" / "training", "training"),
        pytest.raises(OutputError, match="another training is writing here"),
    ):
        run(config(epochs=1), data, tmp_path / "a", selection=ONE)
    assert run(config(epochs=1), data, tmp_path / "a", selection=ONE).path


def test_damaged_settings_of_a_training_are_told(data, tmp_path):
    (tmp_path / "a" / "training").mkdir(parents=True)
    for text in ("[[", "[]", "9" * 5000):
        (tmp_path / "a" / "training" / "settings.json").write_text(text)
        with pytest.raises(ConfigError, match=r"settings.json: cannot be read"):
            run(config(), data, tmp_path / "a", resume=True)


@pytest.fixture
def heeded_interrupts():
    """Heed Ctrl-C: shells start what runs in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded_interrupts")
def test_an_interrupted_training_says_so_and_goes_on(data, tmp_path, monkeypatch):
    from hitfinder.study.training.epochs import EpochEnd

    expected = weights_of(run(config(), data, tmp_path / "whole"))
    end, handler = EpochEnd.on_train_epoch_end, signal.getsignal(signal.SIGINT)

    def interrupt(self, trainer, module):
        end(self, trainer, module)
        if trainer.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(EpochEnd, "on_train_epoch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(config(), data, tmp_path / "cut")
    assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.undo()
    assert weights_of(run(config(), data, tmp_path / "cut", resume=True)) == expected


@pytest.mark.slow
def test_a_reader_that_dies_is_told(data, tmp_path, monkeypatch):
    from hitfinder.study.training.epochs import EpochEnd

    def kill(self, trainer, module):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
        time.sleep(0.1)

    monkeypatch.setattr(EpochEnd, "on_train_epoch_end", kill)
    with pytest.raises(HitfinderError, match=r"reads frames died\. .*--resume"):
        run(config(), data, tmp_path / "cut", workers=1)
    monkeypatch.undo()
    run(config(), data, tmp_path / "cut", workers=1, resume=True)


def test_a_training_killed_before_it_began_does_not_keep_its_folder(data, tmp_path):
    (tmp_path / "cut" / "training").mkdir(parents=True)
    run(config(epochs=1), data, tmp_path / "cut")


def test_resuming_something_else_is_refused(data, tmp_path):
    run(config(epochs=1), data, tmp_path / "a")
    with pytest.raises(OutputError, match="a trained network already"):
        run(config(epochs=1), data, tmp_path / "a", resume=True)
    (tmp_path / "a/model.json").unlink()
    with pytest.raises(ConfigError, match="another config"):
        run(config(epochs=2), data, tmp_path / "a", resume=True)
    with pytest.raises(ConfigError, match="another training"):
        run(config(epochs=1), data, tmp_path / "a", seed=2, resume=True)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday/photo.png").write_bytes(b"x")
    with pytest.raises(OutputError, match="something else"):
        run(config(), data, tmp_path / "holiday")


def test_without_validation_the_test_part_is_watched_and_the_last_epoch_kept(data, tmp_path):
    made = run(config(), data, tmp_path / "a", validation_fraction=0)
    assert made.provenance["watched"] == "test"
    assert made.provenance["epoch_kept"] == 2
    assert "validation_loss" not in made.metrics


def test_mixed_precision(data, tmp_path):
    training = Training(str(data), seed=1, validation_fraction=0.25)
    devices = Devices("cpu", 1, precision="bf16-mixed")
    made = train(config(epochs=1), training, tmp_path / "a", devices=devices, progress_bar=False)
    assert all(value.dtype == np.float32 for value in made.weights().values())


@pytest.mark.slow
def test_two_processes_share_the_frames(data, tmp_path):
    code = f"""
from hitfinder.study.training.run import train
from hitfinder.study.training.settings import Devices, Training
from hitfinder.study.networks import attribute
import dataclasses
if __name__ == "__main__":
    config = dataclasses.replace(attribute.packaged("peak"), epochs=2, batch_size=8)
    train(config, Training({str(data)!r}, seed=1), {str(tmp_path / "ddp")!r}, progress_bar=False,
          devices=Devices("cpu", 2, strategy="ddp"))
"""
    script = tmp_path / "ddp.py"
    script.write_text(code)
    subprocess.run([sys.executable, str(script)], check=True, timeout=LONGEST_S)
    assert len(history(trained.load(tmp_path / "ddp"))) == 2


def test_starting_weights(data, tmp_path):
    from safetensors.torch import save_file

    from hitfinder.study.networks.resnet import ResNet50
    from hitfinder.study.training.module import AttributeModule
    from hitfinder.study.training.run import _start_from

    torch.manual_seed(0)
    given = ResNet50((32, 28), 10, n_channels=3)
    save_file(given.state_dict(), tmp_path / "imagenet.safetensors")
    module = AttributeModule(config(network="resnet50"), (32, 28), [1.0])
    _start_from(module, tmp_path / "imagenet.safetensors")
    assert torch.equal(module.network.layer2[0].conv1.weight, given.layer2[0].conv1.weight)
    with pytest.raises(ConfigError, match="'binary' does not start from given weights"):
        run(config(), data, tmp_path / "b", pretrained=tmp_path / "imagenet.safetensors")
    with pytest.raises(ConfigError, match="cannot be used"):
        run(config(network="resnet50"), data, tmp_path / "c", pretrained=tmp_path / "absent")


class TestBadInputBeforeAnyTraining:
    """Each of these must fail before an epoch is run, and leave no output behind."""

    @pytest.fixture
    def out(self, tmp_path):
        yield tmp_path / "out"
        assert not (tmp_path / "out").exists()

    def test_class_absent_from_the_selection(self, data, out):
        with pytest.raises(ConfigError, match="'8 keV'"):
            run(config("photon_energy"), data, out)
        two = config("photon_energy", class_values=(6000.0, 7000.0))
        with pytest.raises(ConfigError, match="'7 keV'"):
            run(two, data, out, selection=Selection(settings=("01", "03")))

    def test_frames_of_no_class(self, data, out):
        with pytest.raises(ConfigError, match="7000 eV belongs to no class"):
            run(config("photon_energy", class_values=(5000.0, 6000.0)), data, out)

    def test_absent_setting(self, data, out):
        with pytest.raises(ConfigError, match="no setting 17"):
            run(config(), data, out, selection=Selection(settings=("17",)))

    def test_missing_folder(self, data, out, tmp_path):
        copy = tmp_path / "images"
        shutil.copytree(data, copy)
        shutil.rmtree(copy / "peaks")
        with pytest.raises(SourceError, match="no folder 'peaks'"):
            run(config(network="dual-input"), copy, out)

    def test_damaged_file(self, data, out, tmp_path):
        copy = tmp_path / "images"
        shutil.copytree(data, copy)
        path = next((copy / "peaks_water_overlay/02").iterdir())
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(SourceError, match=path.name):
            run(config(), copy, out)

    def test_damaged_shard(self, data, out, tmp_path):
        """It opens, and only one of its frames cannot be decoded."""
        copy = tmp_path / "images"
        shutil.copytree(data, copy)
        path = min((copy / "peaks_water_overlay/02").iterdir())
        with h5py.File(path) as file:
            chunk = file["entry/data/data"].id.get_chunk_info(5)
        with open(path, "r+b") as file:
            file.seek(chunk.byte_offset)
            file.write(b"\xff" * chunk.size)
        with pytest.raises(SourceError, match=rf"{path.name}: it is damaged.*validate"):
            run(config(), copy, out)

    @pytest.mark.parametrize("folder", ["peaks_water_overlay", "peaks"])
    def test_attributes_that_contradict(self, data, out, tmp_path, folder):
        copy = tmp_path / "images"
        shutil.copytree(data, copy)
        with h5py.File(min((copy / folder / "02").iterdir()), "r+") as file:
            file["entry/data/clen"][3] = 0.25
        what = "frame 3 has clen 0.25" if folder == "peaks" else "clen 0.25 m: not those of setting"
        with pytest.raises(HitfinderError, match=what):
            run(config(network="dual-input" if folder == "peaks" else "binary"), copy, out)

    def test_unfinished_tree(self, data, out, tmp_path):
        copy = tmp_path / "images"
        shutil.copytree(data, copy)
        made = manifest.read(copy)
        dataclasses.replace(made, files=()).write(copy)
        with pytest.raises(ConfigError, match="not built to its end"):
            run(config(), copy, out)

    def test_frames_too_small_for_the_network(self, make_tree, out, monkeypatch):
        monkeypatch.setitem(make_tree.__globals__, "TREE_SHAPE", (7, 5))
        with pytest.raises(ConfigError, match="7 x 5 pixels is too small"):
            run(config(), make_tree(), out)

    def test_impossible_validation_part(self, data, out):
        with pytest.raises(ConfigError, match="validation part"):
            run(config(), data, out, validation_fraction=1.5)


def test_a_diverging_loss_is_said(data, tmp_path):
    wild = config(
        "photon_energy",
        class_values=(6000.0, 7000.0),
        optimiser=Optimiser(adam=Adam(1e37)),
        input=InputConfig(),
    )
    with pytest.raises(DivergedError, match="loss became"):
        run(wild, data, tmp_path / "a")


def test_a_limit_keeps_both_kinds_and_all_settings(data):
    from hitfinder.study.dataset.tree import open_tree
    from hitfinder.study.training.data import limited

    tree = open_tree(data)
    few = limited(tree, 8, seed=0)
    assert len(few) == 8
    assert sorted(few.settings.tolist()) == sorted(["01", "02", "03", "04"] * 2)
    assert (few.attributes.peak == 1).sum() == 4
    assert len(limited(tree, 1, seed=0)) == 2
    assert len(limited(tree, 1000, seed=0)) == len(tree)


def test_the_bar_counts_epochs_from_one(data, tmp_path, capsys):
    training = Training(str(data), ONE, 1, 0.25)
    train(config(epochs=2), training, tmp_path / "a", devices=CPU)
    said = capsys.readouterr()
    shown = said.out + said.err
    assert "epoch 1 of 2" in shown
    assert "epoch 2 of 2" in shown
    assert shown.rindex("epoch 2 of 2") > shown.rindex("Epoch")
