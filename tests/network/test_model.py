import json
import re
import shutil

import numpy as np
import pytest

from hitfinder.atomic import sha256
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.network import model as peak_model
from hitfinder.network.calibration import STRENGTHS, Calibration
from hitfinder.network.folder import (
    CARD,
    DEFAULT,
    INFO,
    WEIGHTS,
    ModelError,
    digest_of,
    read,
    shipped,
)
from hitfinder.network.model import NETWORK, PeakModel

torch = pytest.importorskip("torch")


def table():
    grid = np.array([0.0, 1.0])
    rows = -np.array([grid, grid])
    usual = np.zeros((2, STRENGTHS.size))
    return Calibration(grid, grid, grid, rows, rows, grid, rows, usual, 1.0, grid, grid)


RANGES = {
    "photon_energy_ev": [5000.0, 14000.0],
    "camera_length_m": [0.08, 0.6],
    "background_photons_per_pixel": [1e-4, 30.0],
}


@pytest.fixture(scope="module")
def weights():
    from hitfinder.network.training.architecture import Locator

    torch.manual_seed(1)
    network = Locator()
    for _ in range(3):  # statistics for the normalisation
        network(torch.randn(8, 7, 15, 15))
    state = network.state_dict().items()
    return {k: v.numpy() for k, v in state if not k.endswith("num_batches_tracked")}


@pytest.fixture(scope="module")
def saved(weights, tmp_path_factory):
    model = PeakModel("mine", table(), RANGES, {"seed": 1, "made_by": "a test"}, {"frames": 3})
    return peak_model.save(tmp_path_factory.mktemp("m") / "mine", model, weights, "# A card\n")


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved.path, tmp_path / "copy")


def test_what_is_saved_is_loaded(saved, weights):
    loaded = peak_model.load(str(saved.path))
    assert read(saved.path).card == "# A card\n"
    assert {k: list(v) for k, v in loaded.ranges.items()} == saved.ranges
    assert (loaded.metrics, loaded.provenance) == (saved.metrics, saved.provenance)
    again = loaded.weights()
    assert all(np.array_equal(again[name], value) for name, value in weights.items())


def test_pytorch_and_onnx_agree(saved):
    from hitfinder.network.training.agreement import largest_difference

    assert largest_difference(saved) < 1e-4


def test_an_onnx_graph_of_other_weights_is_noticed(saved, copied, weights):
    from hitfinder.errors import HitfinderError
    from hitfinder.network.onnx import onnx_bytes
    from hitfinder.network.training.agreement import largest_difference

    changed = {k: v * 2 if k.endswith(".weight") else v for k, v in weights.items()}
    (copied / NETWORK).write_bytes(onnx_bytes(changed))
    other = PeakModel("other", table(), RANGES, path=copied)
    with pytest.raises(HitfinderError, match="differ"):
        largest_difference(other)


def test_one_answer_on_a_crop_and_on_a_whole_frame(weights):
    from hitfinder.network.training.architecture import Locator

    network = Locator().eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    maps = torch.randn(1, 7, 40, 33)
    with torch.inference_mode():
        whole = network(maps)
        crop = network(maps[:, :, 11:26, 6:21])
    assert whole.shape[2:] == (26, 19)
    assert torch.allclose(whole[:, :, 11, 6], crop[:, :, 0, 0], atol=1e-5)


@pytest.mark.parametrize("name", [WEIGHTS, NETWORK])
def test_a_changed_file_is_refused(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(ModelError, match=r"not the file|SHA-256") as error:
        peak_model.load(str(copied))
    assert name in str(error.value)


@pytest.mark.parametrize("name", [WEIGHTS, NETWORK])
def test_an_absent_file_is_named(copied, name):
    (copied / name).unlink()
    with pytest.raises(ModelError, match=name):
        peak_model.load(str(copied))


def rewrite(folder, change):
    """Change a description as one that was written so, its digest included."""
    info = json.loads((folder / INFO).read_text())
    change(info)
    (folder / INFO).write_text(json.dumps(info | {"digest": digest_of(info)}))


def put(value, *keys):
    """Return the change that puts a value at a place, or leaves the place out (Ellipsis)."""

    def change(info):
        for key in keys[:-1]:
            info = info[key]
        if value is ...:
            del info[keys[-1]]
        else:
            info[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("other", "format"), "no model of this version"),
        (put("hitfinder-peak-model", "format"), "Train it again"),
        (put(99, "version"), "format version 99, this program reads 1"),
        (put("study", "kind"), "a model for 'study', where one for 'peaks' is needed"),
        (put(None, "kind"), "'kind' must be a string, got None"),
        (put(None, "description"), "'description' must be a table, got None"),
        (put(None, "metrics"), "'metrics' must be a table, got None"),
        (put(..., "provenance"), "'provenance' must be a table, got None"),
        (put(..., "sha256", WEIGHTS), "names no weights.safetensors"),
        (put(..., "sha256", NETWORK), "names no network.onnx"),
        (put("0", "sha256", "../x"), "names a file elsewhere: '../x'"),
        (put({}, "description", "calibration"), "lacks 'log_background'"),
        (put(None, "description", "calibration"), "'calibration' must be a table, got None"),
        (put(None, "description", "calibration", "logits"), "'logits' must be finite numbers"),
        (put([0, None], "description", "calibration", "logits"), "'logits' must be finite"),
        (put([1.0, 0.0], "description", "calibration", "logits"), "'logits' must be two or more"),
        (put([0.0], "description", "calibration", "log_odds"), "'log_odds' has not the shape"),
        (put("x", "description", "calibration", "peak_gain"), "could not convert"),
        (put(10**400, "description", "calibration", "peak_gain"), "too large"),
        (put(None, "description", "ranges"), "'ranges' must be a table, got None"),
        (put(..., "description", "ranges", "photon_energy_ev"), "lacks 'photon_energy_ev'"),
        (put([5e3, None], "description", "ranges", "photon_energy_ev"), "two rising numbers"),
        (put([2, 1], "description", "ranges", "camera_length_m"), "two rising numbers, got"),
        (put(7, "description", "ranges", "background_photons_per_pixel"), "two rising numbers"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(copied, change, words):
    rewrite(copied, change)
    with pytest.raises(ModelError, match=re.escape(words)) as error:
        peak_model.load(copied)
    assert INFO in str(error.value)
    assert "\n" not in str(error.value)


def test_a_description_that_was_changed_is_refused(copied):
    text = (copied / INFO).read_text()
    (copied / INFO).write_text(text.replace("14000.0", "14001.0"))
    with pytest.raises(ModelError, match="not what was written"):
        peak_model.load(copied)


def test_no_flipped_bit_is_overlooked_or_ends_in_a_traceback(copied):
    content = (copied / INFO).read_bytes()
    for at in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        (copied / INFO).write_bytes(flipped)
        try:
            loaded = peak_model.load(copied)
        except ModelError:
            continue
        # Space for space, as a line feed for a form feed, changes nothing that is said.
        assert json.loads(flipped) == json.loads(content), loaded


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "\udcff",
        '{"format": ' + "9" * 5000 + "}",
        "[" * 100000,
        '{"format": NaN}',
    ],
)
def test_garbage_is_refused(copied, text):
    (copied / INFO).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelError, match=r"cannot be read|no model of this version"):
        peak_model.load(copied)


def test_a_description_that_is_a_folder_is_no_model(copied):
    (copied / INFO).unlink()
    (copied / INFO).mkdir()
    with pytest.raises(ModelError, match="there is no model"):
        peak_model.load(copied)


def another_network(outputs=6, name="maps"):
    """An ONNX file that is whole, of a network that is no locator."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(np.ones((outputs, 7, 3, 3), np.float32), "k")
    taken = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 7, "r", "c"])
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs, "s", "d"])
    node = helper.make_node("Conv", [name, "k"], ["y"])
    graph = helper.make_graph([node], "g", [taken], [given], [kernel])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "other", "renamed"])
def test_a_damaged_network_whose_hash_fits_is_refused(copied, damage):
    content = bytearray((copied / NETWORK).read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[40:60] = bytes(20)
    elif damage in ("empty", "text"):
        content = bytearray(b"" if damage == "empty" else b"no network")
    else:
        content = bytearray(another_network(*((3,) if damage == "other" else (6, "x"))))
    (copied / NETWORK).write_bytes(content)
    rewrite(copied, put(sha256(copied / NETWORK), "sha256", NETWORK))
    model = peak_model.load(copied)
    with pytest.raises(ModelError, match=r"cannot be run|no locator") as error:
        model.session()
    assert NETWORK in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ModelError, match="no model 'nope'") as error:
        peak_model.load("nope")
    assert "low-flux" in str(error.value)


def test_weights_that_are_not_numbers_are_neither_written_nor_used(saved, weights, tmp_path):
    broken = {name: value.copy() for name, value in weights.items()}
    broken["layers.0.weight"][0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        peak_model.save(tmp_path / "broken", saved, broken, "")
    assert not (tmp_path / "broken").exists()
    from safetensors.numpy import save_file

    folder = shutil.copytree(saved.path, tmp_path / "changed")
    save_file(broken, folder / WEIGHTS)
    with pytest.raises(ModelError, match="not finite"):
        PeakModel("x", table(), RANGES, path=folder).weights()


def test_a_model_is_not_replaced_unasked(saved, copied, weights):
    from hitfinder.errors import OutputError

    with pytest.raises(OutputError, match="already"):
        peak_model.save(copied, saved, weights, "")
    peak_model.save(copied, saved, weights, "new\n", overwrite=True)
    assert (copied / CARD).read_text() == "new\n"


def test_a_background_outside_the_training_is_told(saved):
    assert saved.outside_background(np.array([0.0001, 0.5, np.nan, 30.0])) is None
    assert saved.outside_background(np.full(3, np.nan)) is None
    told = saved.outside_background(np.array([1e-5, 0.5, np.nan, 80.0]))
    assert told.startswith("the background of 2 of 3 frames (0.5 photons per pixel in the middle")
    assert "outside the 0.0001 to 30" in told


def test_an_experiment_outside_the_training_is_told(saved):
    detector = named_detector("eiger2-x-4m")
    assert saved.outside(Geometry(detector, 0.15, 6000.0)) == []
    told = saved.outside(Geometry(detector, 2.0, 25000.0))
    assert len(told) == 2
    assert "25000 eV is outside the 5000 to 14000 eV" in told[0]


def test_the_shipped_model_is_whole_small_and_has_its_card():
    assert DEFAULT in shipped()
    for name, folder in shipped().items():
        model = peak_model.load(name)
        assert "## Known failures" in read(name).card
        assert model.provenance["command"].startswith("hitfinder train low-flux")
        assert sum(f.stat().st_size for f in folder.iterdir()) < 4e6
        assert np.isfinite(list(model.metrics.values())).all()


def test_the_shipped_files_are_those_that_were_trained():
    folder = shipped()["low-flux"]
    assert sha256(folder / WEIGHTS) == (
        "79d373f8352ea433e47a818190c1db0d37d4cd2a0bbf8d8c295f6b74c4d92909"
    )
    assert sha256(folder / NETWORK) == (
        "01cc0146b2765fc799c4d307e31a015bbd6ab8ac936d1d0fa8b693bb04331e56"
    )
