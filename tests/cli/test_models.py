import json
import re

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
