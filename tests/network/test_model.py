import json
import shutil

import numpy as np
import pytest

from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.network import model as peak_model
from hitfinder.network.calibration import STRENGTHS, Calibration
from hitfinder.network.model import CARD, INFO, NETWORK, WEIGHTS, ModelError, PeakModel

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
    assert loaded.card() == "# A card\n"
    assert (loaded.ranges, loaded.metrics) == (saved.ranges, saved.metrics)
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "no peak model"),
        ({"version": 99}, "format version 99"),
        ({"calibration": {}}, "lacks or garbles"),
    ],
)
def test_another_description_is_refused(copied, change, words):
    info = json.loads((copied / INFO).read_text())
    (copied / INFO).write_text(json.dumps(info | change))
    with pytest.raises(ModelError, match=words):
        peak_model.load(str(copied))


def test_garbage_is_refused(copied):
    (copied / INFO).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        peak_model.load(str(copied))


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
    shipped = peak_model.shipped()
    assert peak_model.DEFAULT in shipped
    for name, folder in shipped.items():
        model = peak_model.load(name)
        assert "## Known failures" in model.card()
        assert model.provenance["command"].startswith("hitfinder train low-flux")
        assert sum(f.stat().st_size for f in folder.iterdir()) < 4e6
        assert np.isfinite(list(model.metrics.values())).all()
