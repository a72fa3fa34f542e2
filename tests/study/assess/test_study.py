"""Evaluating networks, and the whole study at a very small scale."""

import dataclasses
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from hitfinder.cli.main import main
from hitfinder.errors import ConfigError, OutputError
from hitfinder.executors.inline import Inline
from hitfinder.locks import locked
from hitfinder.study.assess import assess, metrics, steps, study_page
from hitfinder.study.assess.plan import SCALES, Effort, StudyScale, jobs, trees
from hitfinder.study.assess.predictions import Classified, Located, classify, locate
from hitfinder.study.assess.reproduce import Study
from hitfinder.study.dataset.select import Selection
from hitfinder.study.dataset.split import split
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.networks import attribute, trained
from hitfinder.study.networks.recipe import InputConfig
from hitfinder.study.networks.registry import network
from hitfinder.study.networks.trained import TrainedNetwork
from hitfinder.study.pipeline import Predictor
from hitfinder.study.training.settings import Devices

pytestmark = pytest.mark.usefixtures("one_thread")

PEAK, ENERGY = attribute.packaged("peak"), attribute.packaged("photon_energy")


def by_hand(path, name, net, shape, state, **changes):
    """A trained network that has the given weights and otherwise zeros."""
    config = dataclasses.replace(attribute.packaged(name), network=net, **changes)
    model = network(net).build(shape, config.n_outputs)
    values = {k: v.numpy() * 0 for k, v in model.state_dict().items()}
    for key, value in state.items():
        values[key] = np.broadcast_to(np.float32(value), values[key].shape).copy()
    made = TrainedNetwork(config, shape, config.threshold, {"seed": 1})
    return trained.save(path, made, values, "epoch,train_loss,test_loss\n0,2,3\n1,1,2\n")


def test_numbers_of_classes_by_hand():
    truth = np.array([0, 0, 0, 1, 1])
    p = np.array([0.1, 0.2, 0.7, 0.9, 0.4])
    found = Classified(truth, np.stack([1 - p, p], 1), (p >= 0.5).astype(int))
    settings = np.array(["01", "01", "02", "02", "02"])
    numbers = metrics.of_classes(PEAK, found, settings)
    assert numbers["confusion_counts"] == [[2, 1], [1, 1]]
    assert np.allclose(numbers["confusion"], [[2 / 3, 1 / 3], [0.5, 0.5]])
    assert numbers["accuracy"]["value"] == 0.6
    assert numbers["per_setting"]["01"]["value"] == 1
    assert numbers["per_setting"]["02"]["value"] == pytest.approx(1 / 3)
    assert numbers["found_without_false_alarm"] == 0.5
    assert numbers["curves"]["peak"]["roc"]["area"] == pytest.approx(5 / 6)
    assert json.loads(json.dumps(numbers)) == numbers


def test_error_of_finer_classes():
    values = (5000.0, 6000.0, 7000.0)
    config = dataclasses.replace(ENERGY, class_values=values, matching="nearest")
    p = np.eye(3)[[0, 2, 1, 1]]
    found = Classified(np.array([0, 2, 2, 0]), p, p.argmax(axis=1))
    numbers = metrics.of_classes(config, found, np.array(["01"] * 4))
    assert numbers["rms_error"] == {"value": pytest.approx(np.sqrt(0.5) * 1000), "unit": "eV"}
    assert "found_without_false_alarm" not in numbers


def test_numbers_of_locations_by_hand():
    found = Located(
        np.array([3, 0, 0]), np.array([1, 2, 0]), np.array([2, 0, 4]), np.array([0.5, 1, 1]), 3.0
    )
    numbers = metrics.of_locations(found, np.array(["01", "01", "02"]))
    assert numbers["recall"]["value"] == 0.5
    assert numbers["precision"]["value"] == pytest.approx(3 / 9)
    assert numbers["false_per_blank_frame"] == 4
    assert numbers["per_setting"]["02"]["recall"]["value"] is None
    assert numbers["median_distance_px"] == 1


def test_peaks_are_matched_to_the_true_ones(make_tree, tmp_path):
    """The logit is log(1 + n): a threshold that 50 photons pass, and water of 6 does not."""
    tree = open_tree(make_tree(frames=2))
    log = InputConfig("log")
    made = by_hand(tmp_path / "b", "peak_location", "dncnn", tree.shape, {}, input=log)
    made = dataclasses.replace(made, threshold=1 / (1 + 1 / 31))
    found = assess.assess(Predictor(made, "cpu"), tree)
    numbers = found.metrics
    assert numbers["recall"]["value"] > 0.9, "two peaks may touch"
    assert numbers["false_per_blank_frame"] == 0
    assert numbers["median_distance_px"] < 0.01
    assert "accuracy" not in numbers
    loose = dataclasses.replace(made, threshold=1 / (1 + 1 / 12))
    false = assess.assess(Predictor(loose, "cpu"), tree)
    assert false.metrics["precision"]["value"] < 0.6
    assert len(false.worst) == 6
    assert all(picture.startswith(b"\x89PNG") for _, picture in false.worst)


class Sent(Inline):
    """Does the work as a worker gets it, and notes the tasks."""

    def __init__(self):
        self.tasks = []

    def run(self, work, tasks, *, ordered=False):
        self.tasks = list(tasks)
        return super().run(pickle.loads(pickle.dumps(work)), self.tasks, ordered=ordered)


def test_what_workers_predict_is_the_same(make_tree, tmp_path):
    tree = open_tree(make_tree())
    sums = by_hand(tmp_path / "a", "peak", "linear", tree.shape, {"linear.weight": 1e-4})
    sums = dataclasses.replace(sums, config=dataclasses.replace(sums.config, batch_size=5))
    maps = by_hand(tmp_path / "b", "peak_location", "dncnn", tree.shape, {})
    for predict, made, n_tasks in (
        (classify, sums, -(-len(tree) // 5)),
        (locate, maps, len(tree)),
    ):
        workers, frames = Sent(), []
        here = predict(Predictor(made, "cpu"), tree)
        there = predict(Predictor(made, "cpu"), tree, executor=workers, progress=frames.append)
        for name, value in vars(here).items():
            assert np.array_equal(vars(there)[name], value)
        assert (len(workers.tasks), sum(frames)) == (n_tasks, len(tree))


def test_an_evaluation_is_written_whole(make_tree, tmp_path):
    root = make_tree()
    split(open_tree(root))
    # The sum of the counts: 6 keV water has about 6 a pixel, 7 keV about 7.
    n = 32 * 28
    state = {"linear.weight": 1 / 50, "linear.bias": -6.5 * n / 50}
    made = by_hand(tmp_path / "b", "peak", "linear", (32, 28), state)
    tree = assess.open_part(made, root, "test", Selection())
    found = assess.assess(Predictor(made, "cpu"), tree, workers=1)
    assert found.metrics["frames"] == len(tree) == 7
    path = assess.write(found, tmp_path / "e")
    html = path.read_text()
    assert html.count("data:image/png;base64,") >= 5
    assert 'src="http' not in html
    names = {p.name for p in (tmp_path / "e").iterdir()}
    expected = {"confusion.png", "curves.png", "rates.png", "reliability.png", "settings.png"}
    assert expected | {"metrics.json", "evaluation.html"} <= names
    assert json.loads((tmp_path / "e/metrics.json").read_text())["frames"] == 7
    with pytest.raises(OutputError, match="an evaluation already"):
        assess.write(found, tmp_path / "e")


def test_what_cannot_be_judged(make_tree, tmp_path):
    root = make_tree()
    made = by_hand(tmp_path / "b", "peak", "linear", (9, 9), {})
    with pytest.raises(ConfigError, match=r"not split.*--part all"):
        assess.open_part(made, root, "test", Selection())
    tree = assess.open_part(made, root, "all", Selection())
    with pytest.raises(ConfigError, match="frames have 32 x 28 pixels"):
        assess.assess(Predictor(made, "cpu"), tree)
    energy = by_hand(tmp_path / "e", "photon_energy", "linear", (32, 28), {})
    other = open_tree(make_tree("other", energies=(6000.0, 9000.0)))
    with pytest.raises(ConfigError, match="9000 eV belongs to no class"):
        assess.assess(Predictor(energy, "cpu"), other)


def test_the_plan_holds_every_network_of_the_report_in_both_protocols_and_fluxes():
    listed = {job.name for job in jobs(SCALES["full"])}
    networks = ["base", "binary", "binary-parameters", "dual-input", "resnet50"]
    for tree in ("paper-normal", "paper-low", "realistic-normal", "realistic-low"):
        assert {f"{tree}/peak-{name}" for name in networks} <= listed
        assert {f"{tree}/photon_energy-linear", f"{tree}/camera_length-linear"} <= listed
        assert {f"{tree}/peak_location-heatmap", f"{tree}/peak_location-dncnn"} <= listed
    full = {job.name: job.config for job in jobs(SCALES["full"])}
    assert full["paper-normal/peak-binary"].epochs == 30
    assert full["range/photon_energy-linear"].n_outputs == 8
    assert full["range/camera_length-linear"].n_outputs == 41


def test_networks_that_take_hours_are_left_to_the_full_scale():
    small = {job.network for job in jobs(SCALES["small"])}
    assert {job.network for job in jobs(SCALES["full"])} - small == {"resnet50", "dncnn"}
    told = study_page.left_out(SCALES["small"])
    assert "resnet50" in told
    assert "dncnn" in told
    assert study_page.left_out(SCALES["full"]) == ""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Everything the study does, with next to no frames."""
    names = ("base", "binary", "binary-parameters", "dual-input", "linear", "heatmap", "resnet50")
    efforts = dict.fromkeys(names, Effort(epochs=1)) | {"dncnn": Effort(epochs=1, limit=4)}
    efforts["resnet50"] = Effort(epochs=1, limit=4)
    scale = StudyScale("small", 32, 5, 5, 400, 100, 16, efforts, own_frames=6)
    out = tmp_path_factory.mktemp("study") / "study"
    said = []
    study = Study(out, scale, 1, Devices("cpu", 1), say=said.append)
    return study, study.run(), said


@pytest.mark.slow
def test_the_study_writes_its_page(study):
    made, results, _ = study
    page = study_page.write(made.out, results, made.scale).read_text()
    for result in study_page.REPORT:
        assert result.report in page
    assert page.count("data:image/png;base64,") > 60
    assert len(results["networks"]) == 38
    empties = results["empties"]
    assert empties["paper"]["also_in_training"] == empties["paper"]["test"]
    assert empties["paper"]["distinct"] == 9
    assert empties["realistic"]["also_in_training"] == 0
    photons = results["photons"]
    assert photons["paper-normal"]["frames"] == photons["paper-low"]["frames"] == 9
    assert photons["paper-normal"]["without"] == 0
    assert 0.001 < photons["paper-low"]["median"] / photons["paper-normal"]["median"] < 0.1
    assert "hold not one Bragg photon" in page
    assert all(
        n["fresh_noise"] for n in results["networks"] if n["name"].startswith("paper-normal/peak-")
    )
    assert results["own"]["realistic-low"]["frames"] == 6
    assert page.count("right</td>") >= 6
    answers = {example["answer"] for example in results["pipeline"]["paper"]}
    assert all(answer == "None" or "keV" in answer for answer in answers)


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped(study):
    made, results, _ = study

    name = "paper-normal/peak-base"
    shutil.rmtree(made.out / "networks" / name)
    before = {p: p.stat().st_mtime_ns for p in made.out.glob("networks/*/*/model.json")}
    again = Study(made.out, made.scale, 1, Devices("cpu", 1)).run()
    for path, time in before.items():
        assert path.stat().st_mtime_ns == time
    pairs = zip(results["networks"], again["networks"], strict=True)
    for a, b in pairs:
        assert {**a, "train_seconds": 0} == {**b, "train_seconds": 0}
    with pytest.raises(OutputError, match="another scale or seed"):
        Study(made.out, made.scale, 2).run()
    done = Study(made.out, made.scale, 1).costs()
    assert all(is_done for _, is_done, _ in done)
    assert all(seconds > 0 for step, _, seconds in done if step.job is not None)


def test_a_folder_of_something_else_or_damaged_or_in_use_is_refused(tmp_path):
    def refused(match):
        with pytest.raises(OutputError, match=match):
            Study(tmp_path / "a", SCALES["small"]).run(["data/*"])

    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a", "study"):
        refused("another study is writing here")
    (tmp_path / "a" / "reproduce.json").write_text("[[")
    refused(r"reproduce.json: cannot be read")
    (tmp_path / "a" / "reproduce.json").rename(tmp_path / "a" / "mine.json")
    refused("something else is there")
    (tmp_path / "a" / "mine.json").unlink()
    (tmp_path / "a").rmdir()
    (tmp_path / "a").write_text("")
    refused("cannot be made")


def test_torch_is_asked_for_in_one_line(tmp_path):
    code = """
import sys, importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "torch" else find(name, *a)
from hitfinder.cli.main import main
main(sys.argv[1:])
"""
    for arguments in (["train", "peak", "--data", "x", "--out", "y"], ["reproduce", "--out", "z"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.returncode == 2
        assert "needs torch" in done.stderr
        assert "pip install 'hitfinder[train]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_steps_are_chosen_with_what_they_need():
    listed = steps.steps(SCALES["small"], 0)
    assert [step.name for step in listed[:2]] == ["data/paper-normal", "data/paper-low"]
    assert len(listed) == 5 + 30 + 3 + 1
    assert len(steps.steps(SCALES["full"], 0)) == 5 + 38 + 3 + 1
    names = [step.name for step in steps.chosen(listed, ["paper-low/peak-binary"])]
    assert names == ["data/paper-low", "data/realistic-low", "paper-low/peak-binary"]
    energies = steps.chosen(listed, ["*/photon_energy-linear", "data/range"])
    assert sum(step.job is not None for step in energies) == 5
    assert steps.chosen(listed, ["page"]) == listed
    with pytest.raises(ConfigError, match="there is no step 'peak'"):
        steps.chosen(listed, ["peak"])


def test_what_a_step_costs_is_what_it_does():
    listed = {step.name: step for step in steps.steps(SCALES["small"], 0)}
    # Nine settings of 240 frames with peaks and as many empties as the recipe has.
    settings, recipe = trees(SCALES["small"], 0)["realistic-normal"]
    assert listed["data/realistic-normal"].frames == 9 * recipe.n_frames(settings[0])
    assert listed["realistic-normal/peak-dual-input"].passes == 6 * 400
    assert listed["own/realistic-low"].frames == SCALES["small"].own_frames
    job = listed["realistic-normal/peak-base"].job
    frames = int(9 * recipe.n_frames(settings[0]) * 0.8 * 0.875)
    assert listed[job.name].passes == frames * job.config.epochs
    assert steps.seconds(listed[job.name], {"peak-base": 0.5}) == frames * job.config.epochs * 0.5
    assert steps.seconds(listed[job.name], {"peak-binary": 0.5}) is None


def test_one_step_is_done_by_itself(tmp_path, monkeypatch):
    built, judged = [], []
    monkeypatch.setattr(Study, "_build", lambda self, step: built.append(step.name))
    monkeypatch.setattr(Study, "_train", lambda self, job: None)
    monkeypatch.setattr(Study, "_judge", lambda self, job: judged.append(job.name))
    made = Study(tmp_path / "s", SCALES["small"])
    assert made.run(["realistic-low/peak-base"]) is None
    assert (built, judged) == (["data/realistic-low"], ["realistic-low/peak-base"])


def run_reproduce(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", *map(str, arguments)])
    said = capsys.readouterr()
    return stop.value.code or 0, said.out, said.err


def test_steps_are_listed_and_priced_without_doing_anything(capsys, tmp_path):
    out = tmp_path / "s"
    code, said, _ = run_reproduce(capsys, "--out", out, "--list")
    assert code == 0
    lines = said.splitlines()
    assert len(lines) == 39
    assert lines[0].split() == ["to", "do", "data/paper-normal"]
    code, said, _ = run_reproduce(
        capsys, "--out", out, "--only", "paper-normal/peak_location-heatmap",
        "--only", "data/range", "--dry-run",
    )  # fmt: skip
    assert code == 0
    assert [line.split()[2] for line in said.splitlines()] == [
        "data/paper-normal", "data/range", "paper-normal/peak_location-heatmap",
    ]  # fmt: skip
    assert "trains on 3200 frames" in said
    assert not out.exists()
    code, _, error = run_reproduce(capsys, "--out", out, "--only", "nothing", "--dry-run")
    assert (code, error.count("\n")) == (2, 1)
    assert "there is no step 'nothing'" in error
