import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.atomic import sha256
from hitfinder.errors import OutputError
from hitfinder.network.folder import digest_of
from hitfinder.study.networks import attribute, trained
from hitfinder.study.networks.registry import network
from hitfinder.study.networks.trained import ModelError, TrainedNetwork

SHAPE = (40, 36)


@pytest.fixture
def model():
    torch.manual_seed(5)
    return network("binary").build(SHAPE, 1).eval()


def arrays(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.fixture
def saved(tmp_path, model):
    info = TrainedNetwork(attribute.packaged("peak"), SHAPE, 0.4, {"seed": 5}, {"accuracy": 0.9})
    return trained.save(tmp_path / "peak", info, arrays(model), "epoch,loss\n0,1.0\n")


def edit(path, description=(), **changes):
    """Change a model's description as one that was written so, its digest included."""
    info = json.loads((path / "model.json").read_text())
    info |= {"description": {**info["description"], **dict(description)}, **changes}
    (path / "model.json").write_text(json.dumps(info | {"digest": digest_of(info)}))


def test_reloading_gives_identical_outputs_in_another_process(tmp_path, saved, model):
    frame = torch.arange(2 * 40 * 36, dtype=torch.float32).reshape(2, 1, *SHAPE) % 7
    code = f"""
import torch
from hitfinder.study.networks import trained
frame = torch.arange(2 * 40 * 36, dtype=torch.float32).reshape(2, 1, 40, 36) % 7
with torch.no_grad():
    out = trained.load({str(saved.path)!r}).network()(frame)
print(out.numpy().tobytes().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with torch.no_grad():
        assert done.stdout.strip() == model(frame).numpy().tobytes().hex()


def test_description_comes_back(saved):
    loaded = trained.load(saved.path)
    assert loaded == saved
    assert (loaded.threshold, loaded.provenance, loaded.metrics) == (
        0.4,
        {"seed": 5},
        {"accuracy": 0.9},
    )
    assert (saved.path / "history.csv").read_text() == "epoch,loss\n0,1.0\n"


def test_statistics_of_normalisation_come_back(tmp_path):
    model = network("heatmap").build(SHAPE, 1)
    model.second_norm.num_batches_tracked += 7
    info = TrainedNetwork(attribute.packaged("peak_location"), SHAPE, 0.5)
    loaded = trained.save(tmp_path / "map", info, arrays(model)).network()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_others_can_read_the_weights_if_they_can_read_the_rest(saved):
    modes = {file.stat().st_mode for file in saved.path.iterdir()}
    assert len(modes) == 1


def test_nothing_is_pickled(saved):
    for file in saved.path.iterdir():
        assert file.suffix in (".json", ".toml", ".csv", ".safetensors")


def test_changed_weights_are_refused(saved):
    path = saved.path / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors: not the file.*SHA-256"):
        trained.load(saved.path)


def test_changed_configuration_is_refused(saved):
    path = saved.path / "config.toml"
    path.write_text(path.read_text().replace("epochs = 30", "epochs = 31"))
    with pytest.raises(ModelError, match=r"config\.toml: not the file"):
        trained.load(saved.path)


def test_description_that_contradicts_the_configuration_is_refused(saved):
    edit(saved.path, {"network": "base"})
    with pytest.raises(ModelError, match="different networks"):
        trained.load(saved.path)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_other_version_is_refused(saved, version):
    edit(saved.path, version=version)
    with pytest.raises(ModelError, match=f"format version {version}, this program reads 1"):
        trained.load(saved.path)


def test_what_is_no_model_is_refused(tmp_path, saved):
    with pytest.raises(ModelError, match="no model"):
        trained.load(tmp_path)
    with pytest.raises(ModelError, match="no model"):
        trained.load(tmp_path / "absent")
    (saved.path / "model.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        trained.load(saved.path)
    (saved.path / "model.json").write_text("[]")
    with pytest.raises(ModelError, match="no model of this version of hitfinder"):
        trained.load(saved.path)
    with pytest.raises(ModelError, match="a model for 'peaks', where one for 'study' is needed"):
        trained.load("low-flux")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame_shape": None}, "'frame_shape' must be a list of 2 values, got None"),
        ({"frame_shape": [40, -1]}, "frame_shape must be positive"),
        ({"threshold": "a"}, "'threshold' must be a finite number"),
        ({"threshold": 1.5}, "threshold must be in 0..1"),
        ({"threshold": None}, "threshold None does not go with peak"),
        ({"class_values": [1, None]}, "'class_values' must be a finite number"),
        ({"further": 1}, "unknown setting 'further'"),
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(saved, change, words):
    edit(saved.path, change)
    with pytest.raises(ModelError, match=words) as error:
        trained.load(saved.path)
    assert "\n" not in str(error.value)


def test_missing_weights_and_fields_are_named(saved):
    info = json.loads((saved.path / "model.json").read_text())
    rest = {k: v for k, v in info["description"].items() if k != "frame_shape"}
    rest = info | {"description": rest}
    (saved.path / "model.json").write_text(json.dumps(rest | {"digest": digest_of(rest)}))
    with pytest.raises(ModelError, match="'frame_shape' is missing"):
        trained.load(saved.path)
    (saved.path / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no weights\.safetensors"):
        trained.load(saved.path)


def rehash(path):
    info = json.loads((path / "model.json").read_text())
    digest = sha256(path / "weights.safetensors")
    edit(path, sha256={**info["sha256"], "weights.safetensors": digest})


def test_nan_weights_are_refused(tmp_path, saved, model):
    from safetensors.numpy import save_file

    weights = arrays(model)
    weights["linear.bias"] = np.array([np.nan], np.float32)
    save_file(weights, saved.path / "weights.safetensors")
    rehash(saved.path)
    with pytest.raises(ModelError, match=r"'linear\.bias' holds numbers that are not finite"):
        trained.load(saved.path).network()
    with pytest.raises(ModelError, match="not finite"):
        trained.save(tmp_path / "new", saved, weights)
    assert not (tmp_path / "new").exists()


def test_weights_of_another_network_are_refused(saved):
    from safetensors.numpy import save_file

    other = network("binary").build((50, 50), 1)
    save_file(arrays(other), saved.path / "weights.safetensors")
    rehash(saved.path)
    with pytest.raises(ModelError, match=r"'linear\.weight' does not fit the network 'binary'"):
        trained.load(saved.path).network()


def test_nothing_is_overwritten_silently(tmp_path, saved, model):
    with pytest.raises(OutputError, match="there is a model already"):
        trained.save(saved.path, saved, arrays(model))
    (saved.path / "notes.txt").write_text("mine")
    trained.save(
        saved.path, dataclasses.replace(saved, threshold=0.7), arrays(model), overwrite=True
    )
    assert trained.load(saved.path).threshold == 0.7
    assert (saved.path / "notes.txt").read_text() == "mine"


def test_a_model_that_cannot_be_written_whole_is_none(tmp_path, saved, model, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hitfinder.network.folder.write_weights", full)
    with pytest.raises(OutputError, match="No space left"):
        trained.save(saved.path, saved, arrays(model), overwrite=True)
    with pytest.raises(ModelError, match="no model"):
        trained.load(saved.path)


def test_describing_a_model_needs_no_torch(saved):
    code = f"""
import sys
sys.modules["torch"] = None
from hitfinder.study.networks import trained
print(trained.load({str(saved.path)!r}).config.network)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "binary"
