"""Trees, trainings and evaluations from the command line."""

import contextlib
import dataclasses
import gc
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from hitfinder.cli.main import main
from hitfinder.study.networks import attribute, bundle
from hitfinder.study.networks.bundle import Bundle
from hitfinder.study.networks.registry import network
from hitfinder.study.run import run_pipeline

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclasses.dataclass
class Done:
    stdout: str
    stderr: str


def hitfinder(*arguments, cwd, code=0):
    """Run the command in this process, as loading PyTorch anew each time takes longest."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        main([str(a) for a in arguments])
    # HDF5 handles in cycles that one command leaves are not to be closed amid the next one.
    gc.collect()
    assert stop.value.code == code, err.getvalue()
    return Done(out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a small tree in it, made by the command."""
    folder = tmp_path_factory.mktemp("work")
    options = ["--frames", "4", "--bin", "32", "--frames-per-file", "5", "--seed", "1"]
    done = hitfinder("dataset", "build", "--out", "images", *options, cwd=folder)
    assert "72 frames in 72 files: images" in done.stdout
    return folder


def test_a_tree_is_shown_checked_and_split(work):
    shown = hitfinder("dataset", "show", "images", "--png", "sheet.png", cwd=work).stdout
    row = next(line.split() for line in shown.splitlines() if line.strip().startswith("09"))
    assert row[:8] == ["09", "8000", "0.35", "8", "8", "8", "8", "4"]
    assert (work / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert hitfinder("dataset", "validate", "images", cwd=work).stdout == "no faults\n"
    done = hitfinder("dataset", "split", "images", "--seed", 3, "--overwrite", cwd=work)
    assert "58 train, 14 test" in done.stdout
    done = hitfinder("dataset", "split", "images", cwd=work, code=2)
    assert "the tree is split already" in done.stderr


def test_faults_end_with_one(work):
    hitfinder("dataset", "select", "images", "--settings", "01,05", "--out", "two", cwd=work)
    path = next((work / "two/labels/05").iterdir())
    path.rename(work / "kept.h5")
    try:
        done = hitfinder("dataset", "validate", "two", "--quick", cwd=work, code=1)
    finally:
        (work / "kept.h5").rename(path)
    assert "missing: labels/05: there is no counterpart" in done.stdout
    hitfinder("dataset", "validate", "absent", cwd=work, code=2)


def test_a_tree_of_a_range_and_of_a_grid(work):
    common = ["--frames", 2, "--bin", 32, "--camera-length-m", "0.1,0.5"]
    wide = ["--matrix", "range", "--photon-energy-ev", "5000,12000", "--out", "wide"]
    assert "4 frames" in hitfinder("dataset", "build", *wide, *common, cwd=work).stdout
    grid = ["--matrix", "grid", "--photon-energy-ev", "6000:8000:500", "--out", "grid"]
    assert "40 frames" in hitfinder("dataset", "build", *grid, *common, cwd=work).stdout
    done = hitfinder(
        "dataset", "build", *wide[:-1], "x", *common, "--protocol", "paper", cwd=work, code=2
    )
    assert "cannot serve a range" in done.stderr


def test_train_evaluate_and_describe(work):
    arguments = [
        "--model",
        "base",
        "--data",
        "images",
        "--out",
        "net",
        "--epochs",
        1,
        "--workers",
        0,
    ]
    done = hitfinder("train", "peak", *arguments, cwd=work)
    assert "trained network: net" in done.stdout
    assert {"bundle.json", "config.toml", "weights.safetensors", "history.csv"} <= {
        p.name for p in (work / "net").iterdir()
    }
    done = hitfinder("evaluate", "net", "--data", "images", "--workers", 0, cwd=work)
    assert "accuracy:" in done.stdout
    numbers = json.loads((work / "net/evaluation/metrics.json").read_text())
    assert np.sum(numbers["confusion_counts"]) == 14
    assert "peak by network base" in hitfinder("models", "show", "net", cwd=work).stdout
    listed = hitfinder("models", "networks", "--shape", 67, 64, cwd=work).stdout
    assert "dncnn" in listed
    assert "556,032" in listed


def test_a_configuration_is_printed_changed_and_used(work):
    text = hitfinder("train", "photon_energy", "--show-config", cwd=work).stdout
    (work / "mine.toml").write_text(text.replace("epochs = 5", "epochs = 1"))
    arguments = ["--config", "mine.toml", "--data", "images", "--out", "energy", "--workers", 0]
    hitfinder("train", "photon_energy", *arguments, "--learning-rate", "1e-9", cwd=work)
    used = (work / "energy/config.toml").read_text()
    assert "epochs = 1" in used
    assert "learning_rate = 1e-09" in used
    done = hitfinder("train", "peak", *arguments, cwd=work, code=2)
    assert "configuration of photon_energy" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "peak", "--data", "images"], "Missing option '--out'"),
        (["train", "peak", "--data", "absent", "--out", "x"], "no folder 'peaks_water_overlay'"),
        (["train", "peak", "--data", "images", "--out", "x", "--model", "binry"], "Did you mean"),
        (
            ["train", "peak", "--data", "images", "--out", "x", "--settings", "01,12"],
            "no setting 12",
        ),
        (
            ["train", "photon_energy", "--data", "images", "--out", "x", "--classes", "5000,6000"],
            "belongs to no class",
        ),
        (["train", "peak", "--data", "images", "--out", "x", "--classes", "a"], "is no number"),
        (
            ["train", "peak", "--data", "images", "--out", "x", "--classes", "6000,inf"],
            "is not finite",
        ),
        (
            ["train", "peak", "--data", "images", "--out", "x", "--learning-rate", "inf"],
            "is not a finite number",
        ),
        (["evaluate", "absent", "--data", "images"], "no bundle"),
        (["dataset", "build", "--out", "images", "--frames", "4"], "finished tree already"),
        (["dataset", "import", "absent", "--out", "x"], "no such folder"),
        (["dataset", "build", "--out", "x", "--frames", "1", "--matrix", "grid"], "needs"),
        (
            ["dataset", "build", "--out", "x", "--frames", "1", "--bragg-scale", "-1"],
            "bragg_scale must be",
        ),
        (["dataset", "build", "--out", "x", "--frames", "1", "--detector", "eigr"], "eigr"),
        (["dataset", "show", "absent"], "no such folder"),
    ],
)
def test_bad_input_is_one_line(work, arguments, message):
    done = hitfinder(*arguments, cwd=work, code=2)
    assert message in done.stderr
    assert not (work / "x").exists()


def test_help_of_the_study_commands_loads_nothing_heavy():
    for name in ("dataset", "train", "evaluate", "reproduce", "models"):
        code = (
            "import sys\nfrom hitfinder.cli.main import main\n"
            f"try:\n    main([{name!r}, '--help'])\nexcept SystemExit:\n    pass\n"
            "heavy = {'torch', 'numpy', 'h5py', 'lightning', 'matplotlib'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture(scope="module")
def networks(work):
    """A pipeline with weights set by hand: hits are frames of many photons."""
    folder = work / "networks"
    shape = (67, 64)

    def save(name, net, state):
        config = dataclasses.replace(attribute.packaged(name), network=net)
        model = network(net).build(shape, config.n_outputs)
        values = {k: v.numpy() * 0 for k, v in model.state_dict().items()}
        for key, value in state.items():
            values[key] = np.broadcast_to(np.float32(value), values[key].shape).copy()
        return str(bundle.save(folder / name, Bundle(config, shape, config.threshold), values).path)

    # Water of 0.15 m lights a pixel with some 2,400 photons, that of 0.35 m with a quarter.
    hit = {"linear.weight": 1e-6, "linear.bias": -1.3e3 * 67 * 64 * 1e-6}
    return [
        save("peak", "linear", hit),
        save("photon_energy", "linear", {"linear.bias": np.array([0.0, 1.0, 0.0])}),
        save("camera_length", "linear", {"linear.bias": np.array([1.0, 0.0, 0.0])}),
    ]


def test_run_by_a_pipeline(work, networks):
    import pyarrow.parquet

    options = [item for path in networks for item in ("--pipeline", path)]
    damaged = work / "damaged.h5"
    damaged.write_bytes(b"nothing")
    inputs = ["images/peaks_water_overlay/01", "images/peaks_water_overlay/07", damaged]
    done = hitfinder("run", *inputs, "--out", "told", "--csv", *options, cwd=work, code=1)
    assert "16 of 17 frames processed, 8 hits" in done.stdout
    table = pyarrow.parquet.read_table(work / "told/frames.parquet").to_pydict()
    assert table["hit"] == [True] * 8 + [False] * 9
    assert table["photon_energy_ev"][:8] == [7000.0] * 8
    assert table["camera_length_m"][:8] == [0.15] * 8
    assert table["photon_energy_ev"][8:] == [None] * 9
    assert table["status"][:16] == ["ok"] * 16
    assert table["status"][16] != "ok"
    assert (work / "told/peaks.csv").exists()
    done = hitfinder("run", *inputs, "--out", "told", *options, cwd=work, code=2)
    assert "the folder is not empty. Use --resume" in done.stderr
    done = hitfinder("run", *inputs, "--out", "told", "--resume", *options, cwd=work)
    assert "complete already" in done.stdout
    done = hitfinder("run", *inputs, "--out", "told", "--resume", *options[:4], cwd=work, code=2)
    assert "networks/camera_length differs" in done.stderr


@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", -9), ("SIGINT", 0), ("SIGTERM", 0)])
def test_a_stopped_pipeline_is_completed(work, networks, tmp_path, signal, code):
    import pyarrow.parquet

    source = work / "images/peaks_water_overlay"
    script = Path(__file__).with_name("stopped_pipeline.py")
    command = [sys.executable, script, source, tmp_path / "out", signal, "20", *networks]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    parts = {p: p.stat().st_mtime_ns for p in tmp_path.glob("out/.parts/part-*")}
    assert len(parts) == 5, "20 frames of 4 each"
    if signal == "SIGKILL":
        assert not (tmp_path / "out/frames.parquet").exists()
    else:
        table = pyarrow.parquet.read_table(tmp_path / "out/frames.parquet").to_pydict()
        assert table["status"] == ["ok"] * 20 + ["pending"] * 52
        assert table["hit_probability"][20:] == [None] * 52
        assert json.loads((tmp_path / "out/run.json").read_text())["complete"] is False
    whole = run_pipeline([str(source)], networks, tmp_path / "whole", device="cpu", batch_size=4)
    told = run_pipeline(
        [str(source)], networks, tmp_path / "out", device="cpu", batch_size=4, resume=True
    )
    assert told == dataclasses.replace(whole, page=told.page)
    assert (whole.processed, whole.interrupted) == (72, False)
    for name in ("frames.parquet", "peaks.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "out/.parts").exists()


@pytest.mark.parametrize(
    "option", [["-g", "x.geom"], ["--min-peaks", "3"], ["-c", "x.toml"], ["--no-estimate"]]
)
def test_options_without_a_meaning_for_a_pipeline_are_refused(work, networks, option):
    arguments = ["run", "images/peaks_water_overlay/01", "--out", "x", "--pipeline", networks[0]]
    done = hitfinder(*arguments, *option, cwd=work, code=2)
    name = {"-g": "--geometry", "-c": "--config"}.get(option[0], option[0])
    assert f"--pipeline takes no {name}" in done.stderr
    assert not (work / "x").exists()


def test_help_of_low_flux_is_about_low_flux(work):
    shown = hitfinder("train", "low-flux", "--help", cwd=work).stdout
    assert "--recalibrate" in shown
    assert "--data" not in shown
    assert "--data" in hitfinder("train", "--help", cwd=work).stdout
    done = hitfinder("train", "low-flux", "--out", "x", "--data", "y", cwd=work, code=2)
    assert "low-flux takes no --data" in done.stderr


def test_a_pipeline_that_does_not_fit_the_frames(work, networks):
    hitfinder("dataset", "build", "--out", "fine", "--frames", 1, "--bin", 16, cwd=work)
    arguments = ["run", "fine/peaks_water_overlay/01", "--out", "x", "--pipeline", networks[0]]
    done = hitfinder(*arguments, cwd=work, code=2)
    assert "trained on 67 x 64" in done.stderr
    assert not (work / "x").exists()
