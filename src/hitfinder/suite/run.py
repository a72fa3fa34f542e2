"""Run a suite: every finder on every condition, and what comes of it in a folder."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hitfinder
from hitfinder.atomic import replacing
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
    conditions = []
    with _folder(frames) as cache:
        for recipe in recipes:
            conditions.append(_judged(recipe, finders, others, cache, peers_folder, progress))
            if frames is None:
                shutil.rmtree(cache / recipe.condition.name)
    return {
        "suite": suite,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "versions": {
            "hitfinder": hitfinder.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "finders": [*(finder.name for finder in finders), *others],
        "conditions": conditions,
        "geometry": [measured_geometry(one, n, progress) for one, n in series],
    }


def n_frames(
    recipes: Sequence[ConditionRecipe],
    series: Sequence[tuple[PrecisionSeries, int]],
    finders: Sequence[NamedFinder],
) -> int:
    """Return how many frames a run will search."""
    each = sum(r.condition.n_hits + r.condition.n_blanks for r in recipes)
    return each * len(finders) + sum(n for _, n in series)


@contextlib.contextmanager
def _folder(frames: Path | None) -> Iterator[Path]:
    if frames is not None:
        yield frames
        return
    with tempfile.TemporaryDirectory(prefix="hitfinder-suite") as temporary:
        yield Path(temporary)


def _judged(
    recipe: ConditionRecipe,
    finders: Sequence[NamedFinder],
    others: Sequence[str],
    cache: Path,
    peers_folder: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    made = prepared(recipe, cache)
    c = made.condition
    judged = {}
    for finder in finders:
        judged[finder.name] = measured(made, search(finder, made, progress))
    for name in others:
        answer = peers.read(peers_folder, name, made) if peers_folder else None
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
