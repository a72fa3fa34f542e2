"""Run the study: build the data, train every network, judge it, write the page.

Every step leaves its result on disk and is not done again, so a run that was cut short goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder
from hitfinder.atomic import clear_unfinished, make_folder, replacing
from hitfinder.errors import OutputError
from hitfinder.executors.choose import executor_for
from hitfinder.locks import LOCK, locked
from hitfinder.network.folder import INFO
from hitfinder.progress import counting
from hitfinder.study.assess import assess, by_run, figures, steps
from hitfinder.study.assess.plan import (
    OWN_TREES,
    PROTOCOLS,
    RANGE_CLASSES,
    Job,
    StudyScale,
    jobs,
    trees,
)
from hitfinder.study.assess.predictions import classify
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.build import build
from hitfinder.study.dataset.layout import OVERLAY, PEAKS
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.select import Selection
from hitfinder.study.dataset.split import SPLIT, read_split, split
from hitfinder.study.dataset.tree import Tree, open_tree
from hitfinder.study.networks import attribute, trained
from hitfinder.study.pipeline import Predictor, StudyAnswer, StudyPipeline
from hitfinder.study.training.data import limited
from hitfinder.study.training.run import WORK, is_first_process, train
from hitfinder.study.training.settings import Devices, Training

log = logging.getLogger(__name__)

SETTINGS, RESULTS = "reproduce.json", "results.json"
N_EXAMPLES = 6
PIPELINE = ("peak-binary", "photon_energy-linear", "camera_length-linear", "peak_location-heatmap")
"""Networks of the report's pipeline."""

Say = Callable[[str], None]


@dataclasses.dataclass
class Study:
    """Where the study is kept and how it is run.

    Parameters
    ----------
    out : Path
        Its folder.
    scale : StudyScale
        Its size.
    seed : int
        Fixes data and trainings.
    devices : Devices
        Where to train.
    workers : int
        Processes that build and read frames.
    say : callable
        Told what is being done.
    """

    out: Path
    scale: StudyScale
    seed: int = 0
    devices: Devices = dataclasses.field(default_factory=Devices)
    workers: int = 0
    say: Say = log.info

    def run(self, only: Sequence[str] = ()) -> dict[str, Any] | None:
        """Do whatever is left to do, and return all results.

        Parameters
        ----------
        only : sequence of str
            Names of steps, or patterns of them, to which it is limited; see
            `hitfinder.study.assess.steps`. They bring the steps that they need.

        Returns
        -------
        dict or None
            None if the steps do not include the page.

        Raises
        ------
        HitfinderError
            If there is no such step, or something else in the folder.
        """
        listed = steps.steps(self.scale, self.seed)
        todo = steps.chosen(listed, only) if only else listed
        make_folder(self.out)
        with locked(self.out, "study") if is_first_process() else contextlib.nullcontext():
            self._prepare()
            return self._run(todo)

    def _run(self, todo: Sequence[steps.StudyStep]) -> dict[str, Any] | None:
        judged: list[dict[str, Any]] = []
        started = time.monotonic()
        for number, step in enumerate(todo, 1):
            if step.name != steps.PAGE_STEP:
                self.say(f"{number}/{len(todo)} {step.name}{self._left(todo[number - 1 :])}")
            if step.name.startswith(steps.DATA):
                self._build(step)
            elif step.job is not None:
                self._train(step.job)
                judged.append(self._judge(step.job))
            elif step.name.startswith(steps.OWN):
                self._answer(step)
        if todo[-1].name != steps.PAGE_STEP:
            return None
        results = {
            "scale": self.scale.name,
            "made_by": f"hitfinder {hitfinder.__version__}",
            "networks": judged,
            "empties": {protocol: self._empties(protocol) for protocol in PROTOCOLS},
            "photons": {name: self._photons(name) for name in trees(self.scale, self.seed)},
            "own": {tree: _read_json(self.own(tree)) for tree in OWN_TREES},
            "pipeline": {protocol: self._examples(protocol) for protocol in PROTOCOLS},
            "seconds": round(time.monotonic() - started, 1),
        }
        _write_json(self.out / RESULTS, results)
        return results

    def costs(self, only: Sequence[str] = ()) -> list[tuple[steps.StudyStep, bool, float | None]]:
        """Return the steps, whether each is done, and the seconds that it takes, if that is known.

        How long a network takes is known once one of the same kind was trained in the folder.
        """
        listed = steps.steps(self.scale, self.seed)
        todo = steps.chosen(listed, only) if only else listed
        rates = self._rates()
        return [(step, self._is_done(step), steps.seconds(step, rates)) for step in todo]

    def _left(self, todo: Sequence[steps.StudyStep]) -> str:
        """Say how long what is left will take, as far as it is known."""
        rates = self._rates()
        open_ = [step for step in todo if step.passes and not self._is_done(step)]
        known = [seconds for step in open_ if (seconds := steps.seconds(step, rates)) is not None]
        if not known:
            return ""
        more = f" and {len(open_) - len(known)} networks more" if len(known) < len(open_) else ""
        return f", about {sum(known) / 60:.0f} min left{more}"

    def _rates(self) -> dict[str, float]:
        return steps.rates(jobs(self.scale), self.network)

    def _is_done(self, step: steps.StudyStep) -> bool:
        if step.name == steps.PAGE_STEP:
            return (self.out / RESULTS).exists()
        if step.job is not None:
            return (self.network(step.job) / "evaluation" / assess.PAGE).exists()
        if step.name.startswith(steps.OWN):
            return self.own(step.name.removeprefix(steps.OWN)).exists()
        root = self.tree(step.name.removeprefix(steps.DATA))
        return (root / SPLIT).exists()

    def _prepare(self) -> None:
        asked = {"scale": dataclasses.asdict(self.scale), "seed": self.seed}
        asked = json.loads(json.dumps(asked))
        path = self.out / SETTINGS
        hint = "Choose another folder."
        clear_unfinished(self.out)
        if path.is_file():
            try:
                is_same = _read_json(path) == asked
            except (OSError, ValueError, RecursionError) as error:
                raise OutputError(f"cannot be read: {error}", str(path), hint) from error
            if not is_same:
                raise OutputError("there is a study of another scale or seed", str(self.out), hint)
            return
        if any(there.name != LOCK for there in self.out.iterdir()):
            raise OutputError("something else is there already", str(self.out), hint)
        _write_json(path, asked)

    def tree(self, name: str) -> Path:
        """Return the folder of a tree."""
        return self.out / "data" / name

    def network(self, job: Job) -> Path:
        """Return the folder of a trained network."""
        return self.out / "networks" / job.name

    def own(self, tree: str) -> Path:
        """Return the file of what `hitfinder run` answers on shots of a tree."""
        return self.out / "own" / f"{tree}.json"

    def _build(self, step: steps.StudyStep) -> None:
        name = step.name.removeprefix(steps.DATA)
        settings, recipe = trees(self.scale, self.seed)[name]
        root = self.tree(name)
        made = manifest.read(root)
        if made is None or not made.is_complete:
            with counting(f"building {name}, frames", step.frames) as advance:
                build(
                    root, settings, recipe, SimulatedMaker(recipe), workers=self.workers,
                    progress=advance,
                )  # fmt: skip
        if not (root / SPLIT).exists():
            split(open_tree(root), seed=self.seed)

    def _train(self, job: Job) -> None:
        out = self.network(job)
        if (out / INFO).exists():
            return
        training = Training(
            str(self.tree(job.tree)),
            seed=self.seed,
            validation_fraction=job.validation_fraction,
            limit=job.limit,
        )
        train(
            job.config,
            training,
            out,
            devices=self.devices,
            workers=self.workers,
            resume=(out / WORK).exists(),
            progress_bar=False,
        )

    def _judge(self, job: Job) -> dict[str, Any]:
        """Evaluate a network on the test frames of its own tree."""
        out = self.network(job)
        if not (out / "evaluation" / assess.PAGE).exists():
            predictor = Predictor(trained.load(out))
            found = assess.assess(predictor, self._test(job, job.tree), workers=self.workers)
            if steps.is_judged_on_fresh_noise(job):
                fresh = self._test(job, f"realistic-{job.flux}")
                judged = assess.metrics.of_classes(
                    job.config, classify(predictor, fresh, workers=self.workers), fresh.settings
                )
                kept = ("confusion", "found_without_false_alarm")
                found.metrics["fresh_noise"] = {name: judged[name] for name in kept}
            assess.write(found, out / "evaluation")
        text = (out / "evaluation" / assess.METRICS).read_text(encoding="utf-8")
        made = trained.load(out)
        return {
            "name": job.name,
            "protocol": job.protocol,
            "flux": job.flux,
            **json.loads(text),
            "epochs": made.provenance["epochs_run"],
            "train_frames": made.provenance["train_frames"],
            "train_seconds": made.provenance["seconds"],
        }

    def _answer(self, step: steps.StudyStep) -> None:
        """Have some test shots of a tree answered by the finder and the estimate of a run."""
        name = step.name.removeprefix(steps.OWN)
        if self.own(name).exists():
            return
        settings, recipe = trees(self.scale, self.seed)[name]
        test = read_split(open_tree(self.tree(name), [OVERLAY]))["test"]
        shots = by_run.shots_of(limited(test, step.frames, self.seed), recipe, settings)
        classes = RANGE_CLASSES
        if all(setting.is_fixed for setting in settings):
            classes = {name: attribute.packaged(name).class_values for name in RANGE_CLASSES}
        with counting(f"searching {name} at full size, frames", len(shots)) as advance:
            listed = by_run.answers(shots, recipe, executor_for(max(1, self.workers)), advance)
        self.own(name).parent.mkdir(exist_ok=True)
        _write_json(self.own(name), by_run.numbers(listed, classes))

    def _test(self, job: Job, name: str) -> Tree:
        made = trained.load(self.network(job))
        tree = assess.open_part(made, self.tree(name), "test", Selection())
        return limited(tree, job.limit, self.seed) if job.limit else tree

    def _empties(self, protocol: str) -> dict[str, int]:
        """Count how many test empties are, pixel by pixel, also in the training part."""
        tree = open_tree(self.tree(f"{protocol}-normal"), [OVERLAY])
        seen = {}
        for name, part in read_split(tree).items():
            empty = part.take(part.attributes.peak == 0)
            images = (empty.read(OVERLAY, i) for i in range(len(empty)))
            seen[name] = [hash(image.tobytes()) for image in images]
        shared = sum(image in set(seen["train"]) for image in seen["test"])
        distinct = len(set(seen["train"]) | set(seen["test"]))
        return {
            "test": len(seen["test"]),
            "also_in_training": shared,
            "all": len(seen["train"]) + len(seen["test"]),
            "distinct": distinct,
        }

    def _photons(self, name: str) -> dict[str, float]:
        """Count the Bragg photons of the test frames with peaks."""
        test = read_split(open_tree(self.tree(name), [OVERLAY, PEAKS]))["test"]
        test = test.take(test.attributes.peak == 1)
        photons = [int(test.read(PEAKS, i).sum(dtype=np.int64)) for i in range(len(test))]
        return {
            "frames": len(photons),
            "without": photons.count(0),
            "median": float(np.median(photons)),
        }

    def _examples(self, protocol: str) -> list[dict[str, Any]]:
        """Run the pipeline on a few test frames, and draw them."""
        folder = self.out / "networks" / f"{protocol}-normal"
        pipeline = StudyPipeline.load([folder / name for name in PIPELINE])
        test = read_split(open_tree(self.tree(f"{protocol}-normal")))["test"]
        rng = np.random.default_rng(self.seed)
        chosen = [
            int(i)
            for kind in (1, 0)
            for i in rng.permutation(np.flatnonzero(test.attributes.peak == kind))[
                : N_EXAMPLES // 2
            ]
        ]
        return [self._example(pipeline, test, index, protocol) for index in chosen]

    def _example(
        self, pipeline: StudyPipeline, test: Tree, index: int, protocol: str
    ) -> dict[str, Any]:
        image = test.read(OVERLAY, index)
        answer = pipeline.run(image)
        attributes = test.attributes
        truth = "no peaks"
        if attributes.peak[index]:
            energy, length = attributes.photon_energy[index], attributes.clen[index]
            truth = f"{energy / 1000:g} keV, {length:g} m"
        name = f"pipeline-{protocol}-{index}.png"
        title = f"{test.frame_name(index)}\nanswer: {answer_text(answer)}"
        with replacing(self.out / name) as part:
            part.write_bytes(figures.frame(image, title))
        return {
            "frame": test.frame_name(index),
            "truth": truth,
            "answer": answer_text(answer),
            "picture": name,
        }


def answer_text(answer: StudyAnswer | None) -> str:
    """Return the pipeline's answer as a person reads it."""
    if answer is None:
        return "None"
    values = f"{answer.photon_energy_ev / 1000:g} keV, {answer.camera_length_m:g} m"
    return f"{values}, {len(answer.peaks)} peaks"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, values: Any) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
