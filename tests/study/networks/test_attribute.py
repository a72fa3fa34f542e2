import dataclasses

import numpy as np
import pytest

from hitfinder.config import to_toml
from hitfinder.errors import ConfigError
from hitfinder.study.networks import attribute
from hitfinder.study.networks.attribute import ATTRIBUTES, AttributeConfig


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_packaged_configurations_are_read(name):
    assert attribute.packaged(name).attribute == name


def test_packaged_values_are_the_reports():
    peak = attribute.packaged("peak")
    assert (peak.network, peak.epochs, peak.threshold) == ("binary", 30, 0.5)
    assert peak.loss.binary.pos_weight is None
    assert peak.optimiser.adam.learning_rate == 1e-4
    plateau = peak.scheduler
    assert (plateau.factor, plateau.patience, plateau.threshold) == (0.1, 3, 0.1)
    energy = attribute.packaged("photon_energy")
    assert (energy.network, energy.epochs) == ("linear", 5)
    assert energy.class_values == (6000.0, 7000.0, 8000.0)
    assert energy.optimiser.sgd.momentum == 0
    assert attribute.packaged("camera_length").class_values == (0.15, 0.25, 0.35)
    assert attribute.packaged("peak_location").loss.binary.pos_weight == 100_000


def test_a_changed_file_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    text = attribute.packaged_text("peak").replace("epochs = 30", "epochs = 7")
    path.write_text(text.replace("# pos_weight = 1.0", "pos_weight = 2.5"))
    config = attribute.load(path)
    assert (config.epochs, config.loss.binary.pos_weight) == (7, 2.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 30", "epoch = 30", "unknown setting 'epoch'"),
        ("epochs = 30", "epochs = 0", "at least 1"),
        ("epochs = 30", "epochs = 2.5", "whole number"),
        ('"binary"', '"binry"', "Did you mean 'binary'"),
        ('"binary"', '"heatmap"', "peak needs a network that gives logits"),
        ("threshold = 0.5", "threshold = 1.5", "threshold between 0 and 1"),
        ("[loss.binary]", "[loss.classes]", "needs the binary loss"),
        (
            "[optimiser.adam]",
            "[optimiser.sgd]\nlearning_rate = 1.0\n[optimiser.adam]",
            "choose one",
        ),
        ("learning_rate = 1e-4", "learning_rate = -1.0", "learning_rate must be positive"),
        ("learning_rate = 1e-4", "learning_rate = 1e-4\nmomentum = 0.9", "optimiser.adam.momentum"),
        ("factor = 0.1", "factor = 2.0", "factor must be between 0 and 1"),
        ('"counts"', '"squares"', "input.transform"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, old, new, message):
    text = attribute.packaged_text("peak")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        attribute.load(path)


def test_classes_are_exact_unless_told_otherwise():
    energy = attribute.packaged("photon_energy")
    assert energy.classes_of([6000, 8000.5, 7000]).tolist() == [0, 2, 1]
    with pytest.raises(ConfigError, match="6500 eV belongs to no class"):
        energy.classes_of([6500])


def test_nearest_class_reaches_half_a_step():
    values = tuple(np.arange(0.10, 0.5001, 0.01).round(2).tolist())
    length = dataclasses.replace(
        attribute.packaged("camera_length"), class_values=values, matching="nearest"
    )
    assert length.classes_of([0.096, 0.1049, 0.1051, 0.5049]).tolist() == [0, 0, 1, 40]
    with pytest.raises(ConfigError, match=r"0\.51 m belongs to no class"):
        length.classes_of([0.51])


def test_class_values_must_rise():
    energy = attribute.packaged("photon_energy")
    with pytest.raises(ValueError, match="rising"):
        dataclasses.replace(energy, class_values=(7000.0, 6000.0))


def test_class_names():
    assert attribute.packaged("photon_energy").class_names == ["6 keV", "7 keV", "8 keV"]
    assert attribute.packaged("peak").class_names == ["no peak", "peak"]


def test_configuration_goes_through_toml_unchanged(tmp_path):
    for name in ATTRIBUTES:
        config = attribute.packaged(name)
        path = tmp_path / f"{name}.toml"
        path.write_text(to_toml(config))
        assert attribute.load(path) == config
    assert isinstance(config, AttributeConfig)
