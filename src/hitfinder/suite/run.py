"""Run a suite: judge its parts, and write what comes of it to a folder."""

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
from hitfinder.suite.known import KnownPart
from hitfinder.suite.measure import measured
from hitfinder.suite.precision import PrecisionSeries
from hitfinder.suite.precision import measured as measured_geometry

RESULTS, PAGE = "results.json", "suite.html"
OUTPUTS = (RESULTS, PAGE)
Progress = Callable[[int], object]


def run(suite: Suite, progress: Progress, executor: Executor | None = None) -> dict[str, Any]:
    """Judge all parts of a suite.

    Parameters
    ----------
    suite : Suite
        What is judged by what.
    progress : callable
        Told the number of frames done since the last call.
    executor : Executor, optional
        Has it done, part by part, instead of this process.

    Returns
    -------
    dict
        Results, ready for JSON.

    Raises
    ------
    HitfinderError
        If a peer's answer does not fit the frames.
    """
    others = suite.others
    if executor is None:
        judged = [suite.judged(part, progress) for part in suite.parts]
    else:
        judged = []
        for found in by_tasks(executor.run(suite, suite.parts, ordered=True)):
            progress(suite.n_frames_of(suite.parts[len(judged)]))
            judged.append(found)
    first_series = len(suite.recipes)
    first_known = first_series + len(suite.series)
    return {
        "suite": suite.name,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "versions": {
            "hitfinder": hitfinder.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "finders": [*(finder.name for finder in suite.finders), *others],
        "conditions": judged[:first_series],
        "geometry": judged[first_series:first_known],
        "known": judged[first_known:],
    }


@dataclasses.dataclass(frozen=True)
class SuitePart:
    """A condition, series or known crystal that is judged: a task.

    Attributes
    ----------
    number : int
        Its place among the conditions and, after them, the series and the known crystals.
    name : str
        Its name.
    """

    number: int
    name: str

    def __str__(self) -> str:
        return f"condition {self.name}"


@dataclasses.dataclass(frozen=True, eq=False)
class Suite:
    """What is judged by what; judging is a `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    name : str
        Its name.
    recipes : sequence of ConditionRecipe
        Conditions on which finders are judged.
    series : sequence of (PrecisionSeries, int)
        Frames of known photon energy and camera length, and how many of them.
    known : sequence of KnownPart
        Frames that are searched for a known crystal.
    finders : sequence of NamedFinder
        Finders of ours.
    frames : Path, optional
        Folder that keeps the frames of the conditions; by default one that is deleted afterwards.
    peers_folder : Path, optional
        Answers of other programs, see `hitfinder.suite.peers`.
    """

    name: str
    recipes: Sequence[ConditionRecipe] = ()
    series: Sequence[tuple[PrecisionSeries, int]] = ()
    known: Sequence[KnownPart] = ()
    finders: Sequence[NamedFinder] = ()
    frames: Path | None = None
    peers_folder: Path | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[SuitePart], dict[str, Any]]]:
        """Return a function that judges a part."""
        yield lambda part: self.judged(part, lambda n: None)

    @property
    def others(self) -> list[str]:
        """Names of the peers that answered."""
        return peers.names(self.peers_folder) if self.peers_folder else []

    @property
    def parts(self) -> list[SuitePart]:
        """What there is to judge."""
        names = [recipe.condition.name for recipe in self.recipes]
        names += [one.name for one, _ in self.series]
        names += [one.name for one in self.known]
        return [SuitePart(number, name) for number, name in enumerate(names)]

    @property
    def n_frames(self) -> int:
        """Frames that are searched for all parts."""
        return sum(map(self.n_frames_of, self.parts))

    def n_frames_of(self, part: SuitePart) -> int:
        """Return how many frames are searched for a part."""
        k = part.number - len(self.recipes)
        if k >= len(self.series):
            return self.known[k - len(self.series)].n_frames
        if k >= 0:
            return self.series[k][1]
        condition = self.recipes[part.number].condition
        return (condition.n_hits + condition.n_blanks) * len(self.finders)

    def judged(self, part: SuitePart, progress: Progress) -> dict[str, Any]:
        """Judge finders and peers on a condition, the estimate on a series, or a known crystal."""
        k = part.number - len(self.recipes)
        if k >= len(self.series):
            return self.known[k - len(self.series)].judged(progress)
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
