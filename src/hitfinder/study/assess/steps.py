"""The steps of the study: what each is, what it needs, and what it costs."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from hitfinder.errors import ConfigError
from hitfinder.network.folder import INFO
from hitfinder.study.assess.plan import OWN_TREES, Job, StudyScale, jobs, trees
from hitfinder.study.networks import trained

DATA, OWN, PAGE_STEP = "data/", "own/", "page"
TRAIN_SHARE = 0.8
"""Share of a tree's frames that are for training, as in the report."""


@dataclasses.dataclass(frozen=True)
class StudyStep:
    """One step.

    Attributes
    ----------
    name : str
        ``data/TREE``, the name of a network's job, ``own/TREE``, or ``page``.
    needs : tuple of str
        Names of the steps that come before.
    frames : int
        Frames that are simulated.
    passes : int
        Frames that a training goes through: those of an epoch times the epochs, at most.
    job : Job, optional
        The network to train and judge.
    """

    name: str
    needs: tuple[str, ...] = ()
    frames: int = 0
    passes: int = 0
    job: Job | None = None


def steps(scale: StudyScale, seed: int) -> list[StudyStep]:
    """Return the steps of the study, in the order in which they are done."""
    sizes = {
        name: sum(map(recipe.n_frames, settings))
        for name, (settings, recipe) in trees(scale, seed).items()
    }
    listed = [StudyStep(f"{DATA}{name}", frames=n) for name, n in sizes.items()]
    networks = [_step(job, sizes[job.tree]) for job in jobs(scale)]
    own = [_own(name, scale, sizes[name]) for name in OWN_TREES]
    page = StudyStep(PAGE_STEP, tuple(step.name for step in (*listed, *networks, *own)))
    return [*listed, *networks, *own, page]


def _own(tree: str, scale: StudyScale, in_tree: int) -> StudyStep:
    """Return the step that gives test shots of a tree to `hitfinder run`."""
    in_test = in_tree - int(in_tree * TRAIN_SHARE)
    return StudyStep(f"{OWN}{tree}", (f"{DATA}{tree}",), frames=min(scale.own_frames, in_test))


def _step(job: Job, in_tree: int) -> StudyStep:
    needs = [f"{DATA}{job.tree}"]
    if is_judged_on_fresh_noise(job):
        needs.append(f"{DATA}realistic-{job.flux}")
    frames = int(in_tree * TRAIN_SHARE * (1 - job.validation_fraction))
    frames = min(frames, job.limit) if job.limit else frames
    return StudyStep(job.name, tuple(needs), passes=frames * job.config.epochs, job=job)


def is_judged_on_fresh_noise(job: Job) -> bool:
    """Whether a network is judged on frames of the other protocol too."""
    return job.attribute == "peak" and job.protocol == "paper"


def chosen(listed: Sequence[StudyStep], wanted: Iterable[str]) -> list[StudyStep]:
    """Return the steps that names or patterns name, and those they need, in their order.

    Raises
    ------
    ConfigError
        If a name is that of no step.
    """
    by_name = {step.name: step for step in listed}
    names: set[str] = set()
    for pattern in wanted:
        found = fnmatch.filter(by_name, pattern)
        if not found:
            hint = "`hitfinder reproduce --list` names them all."
            raise ConfigError(f"there is no step {pattern!r}", "--only", hint)
        names.update(found)
    for name in list(names):
        names.update(by_name[name].needs)
    return [step for step in listed if step.name in names]


def rates(listed: Iterable[Job], folder: Callable[[Job], Path]) -> dict[str, float]:
    """Return the seconds that networks took for a frame of training, by kind.

    Parameters
    ----------
    listed : iterable of Job
        Networks that may have been trained.
    folder : callable
        Gives the folder of each.
    """
    known = {}
    for job in listed:
        if (folder(job) / INFO).exists():
            made = trained.load(folder(job)).provenance
            known[_kind(job)] = made["seconds"] / max(made["epochs_run"] * made["train_frames"], 1)
    return known


def seconds(step: StudyStep, known: Mapping[str, float]) -> float | None:
    """Return how long a training will take by `rates`; None if that is not known."""
    if step.job is None or _kind(step.job) not in known:
        return None
    return step.passes * known[_kind(step.job)]


def _kind(job: Job) -> str:
    """Name what determines how long a frame takes."""
    return f"{job.attribute}-{job.network}"
