import json
import re
import shutil

import numpy as np
import pytest

from hitfinder.cli.main import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    told = capsys.readouterr()
    return stop.value.code or 0, told.out, told.err


def test_list_names_the_model_that_is_used(capsys):
    code, out, _ = run(capsys, "models", "list")
    assert code == 0
    assert "low-flux (used by hitfinder run)" in out
    assert "peak calibration error" in out


def test_show_prints_the_card(capsys):
    code, out, _ = run(capsys, "models", "show", "low-flux")
    assert code == 0
    assert "## Known failures" in out
    assert "hitfinder train low-flux" in out


@pytest.fixture
def study(tmp_path):
    """A trained network of the study."""
    pytest.importorskip("torch")
    from hitfinder.study.networks import attribute, trained
    from hitfinder.study.networks.registry import network

    config = attribute.packaged("photon_energy")
    model = network(config.network).build((6, 5), config.n_outputs)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    provenance, metrics = {"made_by": "a test", "training": {"seed": 3}}, {"test_loss": 0.25}
    made = trained.TrainedNetwork(config, (6, 5), None, provenance, metrics)
    return trained.save(tmp_path / "models" / "energy", made, weights).path


def test_models_of_both_kinds_are_listed_shown_and_checked(capsys, study):
    code, out, _ = run(capsys, "models", "list", str(study.parent))
    assert code == 0
    assert "low-flux (used by hitfinder run): for peaks, made by hitfinder" in out
    assert f"{study}: for study, made by a test\n  test loss: 0.25\n" in out
    code, out, _ = run(capsys, "models", "show", str(study))
    assert code == 0
    for told in ("photon_energy by network linear", "6 x 5 pixels", "6 keV, 7 keV", '{"seed": 3}'):
        assert told in out
    code, out, _ = run(capsys, "models", "check", "low-flux", str(study))
    assert code == 0
    assert out.startswith("low-flux: whole, its network answers; PyTorch and ONNX differ by ")
    assert f"{study}: whole, its network can be built\n" in out


def test_a_folder_without_models_is_told(capsys, tmp_path):
    code, _, err = run(capsys, "models", "list", str(tmp_path))
    assert code == 0
    assert "no model in it" in err


def damaged(folder, file, at=-1):
    """Flip a bit of a file."""
    content = bytearray((folder / file).read_bytes())
    content[at] ^= 4
    (folder / file).write_bytes(content)


@pytest.mark.parametrize("file", ["model.json", "weights.safetensors", "network.onnx"])
@pytest.mark.parametrize("command", ["list", "show", "check"])
def test_damaged_models_are_one_clear_line(capsys, tmp_path, file, command):
    from hitfinder.network.folder import shipped

    folder = shutil.copytree(shipped()["low-flux"], tmp_path / "mine")
    damaged(folder, file, 700)
    code, _, err = run(capsys, "models", command, str(folder))
    assert code == 2
    assert file in err
    assert err.startswith("hitfinder: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "file", ["model.json", "config.toml", "weights.safetensors", "history.csv"]
)
def test_damaged_networks_of_the_study_are_one_clear_line(capsys, study, file):
    if file == "history.csv":
        (study / file).write_text("epoch,loss\n")
    else:
        damaged(study, file, 20)
    for command in ("show", "check"):
        code, _, err = run(capsys, "models", command, str(study))
        assert code == 2
        assert file in err
        assert err.count("\n") == 1


def test_a_model_of_a_kind_not_known_is_refused(capsys, study):
    from hitfinder.network.folder import digest_of

    info = json.loads((study / "model.json").read_text()) | {"kind": "clouds"}
    (study / "model.json").write_text(json.dumps(info | {"digest": digest_of(info)}))
    code, _, err = run(capsys, "models", "show", str(study))
    assert code == 2
    assert "'clouds' is not known here" in err


def test_a_run_with_a_damaged_model_writes_nothing(capsys, tmp_path):
    from hitfinder.network.folder import shipped

    folder = shutil.copytree(shipped()["low-flux"], tmp_path / "mine")
    damaged(folder, "network.onnx")
    np.save(tmp_path / "f.npy", np.zeros((2, 512, 1028), np.uint16))
    place = (
        "--detector",
        "eiger2-x-500k",
        "--photon-energy-ev",
        "6000",
        "--camera-length-m",
        "0.1",
    )
    arguments = ("run", str(tmp_path / "f.npy"), *place, "--out", str(tmp_path / "out"))
    code, _, err = run(capsys, *arguments, "--model", str(folder))
    assert code == 2
    assert "network.onnx" in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_export_checks_and_writes_both_forms(capsys, tmp_path):
    pytest.importorskip("torch")
    for kind in ("onnx", "safetensors"):
        path = tmp_path / f"net.{kind}"
        code, out, _ = run(
            capsys, "models", "export", "low-flux", "-o", str(path), "--format", kind
        )
        assert code == 0
        assert path.stat().st_size > 1e5
        assert float(re.search(r"ONNX: (\S+)", out)[1]) < 1e-3
    code, _, err = run(capsys, "models", "export", "low-flux", "-o", str(path))
    assert code == 2
    assert "--overwrite" in err


def test_an_unknown_model_is_an_error(capsys, tmp_path):
    code, _, err = run(capsys, "models", "export", "nope", "-o", str(tmp_path / "x"))
    assert code == 2
    assert "no model 'nope'" in err
    assert not (tmp_path / "x").exists()


def test_training_makes_a_model_that_run_can_use(capsys, tmp_path):
    pytest.importorskip("lightning")
    out = tmp_path / "mine"
    arguments = ("train", "low-flux", "--out", str(out), "--experiments", "2", "--epochs", "1")
    code, told, err = run(capsys, *arguments, "--workers", "1", "--batch-size", "64")
    assert code == 0, err
    assert "peak calibration error" in told
    info = json.loads((out / "model.json").read_text())
    assert info["provenance"]["experiments"] == {"train": 2, "calibrate": 1, "test": 1}
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert "already" in err
    from hitfinder.network.model import load

    assert load(str(out)).metrics["frames"] == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("low-flux",), "--out"),
        (("low-flux", "--out", "x", "--data", "images"), "takes no --data"),
        (("peak", "--out", "x", "--data", "y", "--experiments", "20"), "goes with low-flux"),
    ],
)
def test_options_that_do_not_go_together(capsys, arguments, words):
    code, _, err = run(capsys, "train", *arguments)
    assert code == 2
    assert words in err
