"""Run a suite: every finder on every condition, and what comes of it in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder
from hitfinder.atomic import replacing
from hitfinder.executors.contract import Executor
from hitfinder.executors.contract import results as by_tasks
from hitfinder.suite import figures, peers, report
from hitfinder.suite.condition import ConditionRecipe, prepared
from hitfinder.suite.finders import NamedFinder, from_answer, search
from hitfinder.suite.measure import measured
from hitfinder.suite.precision import PrecisionSeries
from hitfinder.suite.precision import measured as measured_geometry

RESULTS, PAGE = "results.json", "suite.html"
OUTPUTS = (RESULTS, PAGE)
Progress = Callable[[int], object]


def run(
    suite: str,
    recipes: Sequence[ConditionRecipe],
    series: Sequence[tuple[PrecisionSeries, int]],
    finders: Sequence[NamedFinder],
    frames: Path | None,
    peers_folder: Path | None,
    progress: Progress,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Judge finders and peers on conditions.

    Parameters
    ----------
    suite : str
        Its name.
    recipes : sequence of ConditionRecipe
        The conditions.
    series : sequence of (PrecisionSeries, int)
        Frames of known photon energy and camera length, and how many of them.
    finders : sequence of NamedFinder
        Finders of ours.
    frames : Path, optional
        Folder that keeps the frames; by default one that is deleted afterwards.
    peers_folder : Path, optional
        Answers of other programs, see `hitfinder.suite.peers`.
    progress : callable
        Told the number of frames done since the last call.
    executor : Executor, optional
        Has it done, condition by condition, instead of this process.

    Returns
    -------
    dict
        Results, ready for JSON.

    Raises
    ------
    HitfinderError
        If a peer's answer does not fit the frames.
    """
    others = peers.names(peers_folder) if peers_folder else []
    work = SuiteWork(tuple(recipes), tuple(series), tuple(finders), others, frames, peers_folder)
    if executor is None:
        judged = [work.judged(part, progress) for part in work.parts]
    else:
        judged = []
        for found in by_tasks(executor.run(work, work.parts, ordered=True)):
            progress(work.n_frames(work.parts[len(judged)]))
            judged.append(found)
    return {
        "suite": suite,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "versions": {
            "hitfinder": hitfinder.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "finders": [*(finder.name for finder in finders), *others],
        "conditions": judged[: len(recipes)],
        "geometry": judged[len(recipes) :],
    }


def n_frames(
    recipes: Sequence[ConditionRecipe],
    series: Sequence[tuple[PrecisionSeries, int]],
    finders: Sequence[NamedFinder],
) -> int:
    """Return how many frames a run will search."""
    each = sum(r.condition.n_hits + r.condition.n_blanks for r in recipes)
    return each * len(finders) + sum(n for _, n in series)


@dataclasses.dataclass(frozen=True)
class SuitePart:
    """A condition or series that is judged: a task.

    Attributes
    ----------
    number : int
        Its place among the conditions and, after them, the series.
    name : str
        Its name.
    """

    number: int
    name: str

    def __str__(self) -> str:
        return f"condition {self.name}"


@dataclasses.dataclass(frozen=True, eq=False)
class SuiteWork:
    """The work of judging any condition of a suite; see `hitfinder.executors.contract.Work`.

    The attributes are what `run` is given, and the names of peers that answered.
    """

    recipes: Sequence[ConditionRecipe]
    series: Sequence[tuple[PrecisionSeries, int]]
    finders: Sequence[NamedFinder]
    others: Sequence[str]
    frames: Path | None
    peers_folder: Path | None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[SuitePart], dict[str, Any]]]:
        """Return a function that judges a condition."""
        yield lambda part: self.judged(part, lambda n: None)

    @property
    def parts(self) -> list[SuitePart]:
        """What there is to judge."""
        names = [recipe.condition.name for recipe in self.recipes]
        names += [one.name for one, _ in self.series]
        return [SuitePart(number, name) for number, name in enumerate(names)]

    def n_frames(self, part: SuitePart) -> int:
        """Return how many frames are searched for a part."""
        k = part.number - len(self.recipes)
        if k >= 0:
            return self.series[k][1]
        condition = self.recipes[part.number].condition
        return (condition.n_hits + condition.n_blanks) * len(self.finders)

    def judged(self, part: SuitePart, progress: Progress) -> dict[str, Any]:
        """Judge finders and peers on a condition, or the estimate on a series."""
        k = part.number - len(self.recipes)
        if k >= 0:
            return measured_geometry(*self.series[k], progress)
        with _folder(self.frames) as cache:
            made = prepared(self.recipes[part.number], cache)
            c = made.condition
            judged = {}
            for finder in self.finders:
                judged[finder.name] = measured(made, search(finder, made, progress))
            for name in self.others:
                answer = peers.read(self.peers_folder, name, made) if self.peers_folder else None
                if answer is not None:
                    judged[name] = measured(made, from_answer(name, answer))
            return {
                "name": c.name,
                "title": c.title,
                "family": c.family,
                "groups": list(c.groups),
                "scales": list(c.scales),
                "shots": c.shots,
                "n_hits": c.n_hits,
                "n_blanks": c.n_blanks,
                "min_photons": c.min_photons,
                "false_limit": c.false_limit,
                "frames": made.fingerprint,
                "finders": judged,
            }


@contextlib.contextmanager
def _folder(frames: Path | None) -> Iterator[Path]:
    if frames is not None:
        yield frames
        return
    with tempfile.TemporaryDirectory(prefix="hitfinder-suite") as temporary:
        yield Path(temporary)


def write(results: dict[str, Any], out: Path) -> Path:
    """Write the results, the figures and the page; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = figures.drawn(results)
    for name, picture in pictures.items():
        with replacing(out / f"{name}.png") as part:
            part.write_bytes(picture)
    with replacing(out / RESULTS) as part:
        part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    with replacing(out / PAGE) as part:
        part.write_text(report.html(results, pictures), encoding="utf-8")
    return out / PAGE
