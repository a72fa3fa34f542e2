"""Trees, trainings and evaluations from the command line."""

import contextlib
import dataclasses
import gc
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from hitfinder.cli.main import main
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.study.networks import attribute, trained
from hitfinder.study.networks.registry import network
from hitfinder.study.networks.trained import TrainedNetwork
from waiting import LONGEST_S

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
    assert {"model.json", "config.toml", "weights.safetensors", "history.csv"} <= {
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


@pytest.mark.slow
def test_a_cluster_evaluates_to_the_same(work):
    train = ["--model", "base", "--data", "images", "--out", "judged", "--epochs", 1]
    hitfinder("train", "peak", *train, "--workers", 0, cwd=work)
    given = ["evaluate", "judged", "--data", "images", "--part", "all", "--device", "cpu"]
    hitfinder(*given, "--out", "here", cwd=work)
    hitfinder(*given, "--out", "there", "--cluster", "local", "--workers", 2, cwd=work)
    here, there = ((work / name / "metrics.json").read_bytes() for name in ("here", "there"))
    assert here == there


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
        (["evaluate", "absent", "--data", "images"], "no model"),
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
        return str(
            trained.save(
                folder / name, TrainedNetwork(config, shape, config.threshold), values
            ).path
        )

    # Water of 0.15 m lights a pixel with some 2,400 photons, that of 0.35 m with a quarter.
    hit = {"linear.weight": 1e-6, "linear.bias": -1.3e3 * 67 * 64 * 1e-6}
    return [
        save("peak", "linear", hit),
        save("photon_energy", "linear", {"linear.bias": np.array([0.0, 1.0, 0.0])}),
        save("camera_length", "linear", {"linear.bias": np.array([1.0, 0.0, 0.0])}),
    ]


@pytest.fixture(scope="module")
def geom(work):
    """Where the pixels of the tree are; its files say the photon energy and camera length."""
    panel = Panel("p0", 0, 0, 64, 67, -32.0, -33.5, pixel_size_m=32 * 75e-6)
    path = work / "small.geom"
    geometry = Geometry(Detector("small", (67, 64), (panel,)), 0.15, 6000.0)
    write_geom(path, geom_lines(geometry, data_path="/entry/data/data"))
    return path


def test_run_by_a_pipeline(work, networks, geom):
    import h5py
    import pyarrow.parquet

    options = [item for path in networks for item in ("--pipeline", path)]
    options += ["--geometry", geom]
    damaged = work / "damaged.h5"
    damaged.write_bytes(b"nothing")
    inputs = ["images/peaks_water_overlay/01", "images/peaks_water_overlay/07", damaged]
    done = hitfinder("run", *inputs, "--out", "told", "--csv", *options, cwd=work, code=1)
    assert "16 of 17 frames processed, 8 hits" in done.stdout
    table = pyarrow.parquet.read_table(work / "told/frames.parquet").to_pydict()
    assert table["hit"] == [True] * 8 + [False] * 9
    assert table["photon_energy_ev"][:8] == [7000.0] * 8
    assert table["camera_length_m"][:8] == pytest.approx([0.15] * 8)
    assert table["photon_energy_ev"][8:] == [None] * 9
    assert table["status"][:16] == ["ok"] * 16
    assert table["status"][16] != "ok"
    assert table["geometry"][:8] == ["finder"] * 8
    assert table["hit_probability"][:8] == pytest.approx([1.0] * 8, abs=0.1)
    assert min(table["score"][:8]) >= 0 > max(table["score"][8:16])
    names = ("peaks.csv", "hits.lst", "hits.geom", "report.html")
    assert all((work / "told" / name).exists() for name in names)
    with h5py.File(work / "told/hits.cxi") as cxi:
        assert len(cxi["entry_1/data_1/data"]) == 8
    page = (work / "told/report.html").read_text()
    assert "reach it" not in page, "the networks do not know how many blank frames do"
    done = hitfinder("run", *inputs, "--out", "told", *options, cwd=work, code=2)
    assert "the folder is not empty. Use --resume" in done.stderr
    done = hitfinder("run", *inputs, "--out", "told", "--resume", *options, cwd=work)
    assert "complete already" in done.stdout
    fewer = [*options[:4], *options[-2:]]
    done = hitfinder("run", *inputs, "--out", "told", "--resume", *fewer, cwd=work, code=2)
    assert "finder.options.camera_length was" in done.stderr


def test_a_pipeline_goes_on_with_the_same_networks_only(work, networks, geom, tmp_path):
    shutil.copytree(networks[0], tmp_path / "peak")
    arguments = ["run", "images/peaks_water_overlay/01", "--geometry", geom]
    arguments += ["--out", tmp_path / "out", "--pipeline", tmp_path / "peak"]
    hitfinder(*arguments, cwd=work)
    shutil.rmtree(tmp_path / "peak")
    made = trained.load(networks[0])
    weights = {name: value + 1 for name, value in made.weights().items()}
    trained.save(tmp_path / "peak", made, weights)
    done = hitfinder(*arguments, "--resume", cwd=work, code=2)
    assert "the model of the finder differs" in done.stderr


def of_study(work, networks, geom):
    """Arguments of a run by two networks over all settings of the study."""
    told = [f"peak={networks[0]}", f"camera_length={networks[2]}"]
    options = [item for option in told for item in ("--finder-option", option)]
    source = work / "images/peaks_water_overlay"
    return ["run", source, "--finder", "study", *options, "--geometry", geom]


@pytest.fixture(scope="module")
def not_stopped(work, networks, geom, tmp_path_factory):
    """Folder of such a run that nothing has stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    hitfinder(*of_study(work, networks, geom), "--out", out, cwd=work)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("signal", "code"), [("SIGKILL", -9), ("SIGTERM", 0)])
def test_a_stopped_pipeline_is_completed(work, networks, geom, not_stopped, tmp_path, signal, code):
    import pyarrow.parquet

    source, out = work / "images/peaks_water_overlay", tmp_path / "out"
    script = Path(__file__).with_name("stopped_run.py")
    options = [f"peak={networks[0]}", f"camera_length={networks[2]}"]
    command = [sys.executable, script, source, out, signal, "24", geom, *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    if signal == "SIGTERM":
        table = pyarrow.parquet.read_table(out / "frames.parquet").to_pydict()
        assert {"ok", "pending"} == set(table["status"])
    done = hitfinder(*of_study(work, networks, geom), "--out", out, "--resume", cwd=work)
    assert "72 of 72 frames processed" in done.stdout
    both = (out, not_stopped)
    frames = [pyarrow.parquet.read_table(folder / "frames.parquet") for folder in both]
    assert frames[0].drop_columns("seconds").equals(frames[1].drop_columns("seconds"))
    peaks = [(folder / "peaks.parquet").read_bytes() for folder in both]
    assert peaks[0] == peaks[1]
    assert not (out / ".parts").exists()


@pytest.mark.parametrize(
    "option",
    [["--finder", "network"], ["--model", "x"], ["--false-hits", "0.1"], ["--false-peaks", "0.1"]],
)
def test_options_without_a_meaning_for_a_pipeline_are_refused(work, networks, option):
    arguments = ["run", "images/peaks_water_overlay/01", "--out", "x", "--pipeline", networks[0]]
    done = hitfinder(*arguments, *option, cwd=work, code=2)
    assert f"--pipeline takes no {option[0]}" in done.stderr
    assert not (work / "x").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pipeline", "networks/photon_energy"], "needs a network for 'peak'"),
        (["--pipeline", "networks/peak", "--pipeline", "networks/peak"], "two networks are for"),
        (["--pipeline", "networks/peak", "--min-peaks", 3], "needs a network for peak_location"),
        (["--pipeline", "absent"], "no model"),
        (["--finder", "study", "--finder-option", "peak"], "'peak' is not KEY=VALUE"),
        (["--finder", "study", "--finder-option", "pek=x"], "takes no option 'pek'. It takes peak"),
        (["--finder-option", "peak=x"], "finder 'network' takes no option 'peak'. It takes none"),
        (
            ["--finder", "study", "--finder-option", "peak=networks/photon_energy"],
            "this is no network for peak",
        ),
    ],
)
def test_networks_that_make_no_pipeline_are_refused(work, networks, geom, options, message):
    arguments = ["run", "images/peaks_water_overlay/01", "--out", "x", "--geometry", geom]
    done = hitfinder(*arguments, *options, cwd=work, code=2)
    assert message in done.stderr
    assert not (work / "x").exists()


def test_help_of_low_flux_is_about_low_flux(work):
    shown = hitfinder("train", "low-flux", "--help", cwd=work).stdout
    assert "--recalibrate" in shown
    assert "--data" not in shown
    assert "--data" in hitfinder("train", "--help", cwd=work).stdout
    done = hitfinder("train", "low-flux", "--out", "x", "--data", "y", cwd=work, code=2)
    assert "low-flux takes no --data" in done.stderr


def test_a_pipeline_that_does_not_fit_the_frames(work, networks):
    np.save(work / "other.npy", np.zeros((2, 195, 487), np.uint16))
    arguments = ["run", "other.npy", "--out", "x", "--pipeline", networks[0]]
    arguments += ["--photon-energy-ev", 6000, "--camera-length-m", 0.15]
    done = hitfinder(*arguments, cwd=work, code=2)
    assert "trained on 67 x 64" in done.stderr
    assert not (work / "x").exists()
