"""The finders that are judged, and what they say of a condition's frames."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.finding.contract import Finder
from hitfinder.finding.registry import FINDERS, make_finder
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.suite.condition import Frames
from hitfinder.suite.peers import Answer, PeakLists

STRENGTHS: tuple[tuple[str, float], ...] = (("probability", 1), ("log_p", -1), ("photons", 1))
"""Columns by which weak peaks may be dropped, with the sign of a strong one: the first that a
finder fills in for all of its peaks."""


@dataclasses.dataclass(frozen=True)
class NamedFinder:
    """A finder to be judged.

    Parameters
    ----------
    name : str
        For tables.
    settings : tuple of FinderSettings
        The default first; others show what more permissive ones would find.
    """

    name: str
    settings: tuple[FinderSettings, ...]

    @staticmethod
    def of(name: str) -> NamedFinder:
        """Return a finder by its name or ``module:Class``, at the default and permissively."""
        permissive = FinderSettings(false_peaks=0.5, peak_probability=0.01, finder=name)
        return NamedFinder(name, (FinderSettings(finder=name), permissive))

    @functools.lru_cache(maxsize=8)  # noqa: B019 - conditions share geometries; building is slow
    def processor(self, geometry: Geometry, setting: int) -> Finder:
        """Return the finder for a geometry at one of its settings."""
        return make_finder(geometry, self.settings[setting])


LIKELIHOOD, NETWORK = NamedFinder.of("likelihood"), NamedFinder.of("network")


def finders() -> list[NamedFinder]:
    """Return the finders of this package."""
    return [LIKELIHOOD, NETWORK]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a finder said of all frames of a condition.

    Attributes
    ----------
    name : str
        The finder.
    settings : list
        Settings that were run; of ours the default first.
    peaks : list of list of ndarray, shape (n, 3)
        For each setting and frame: fs, ss and strength of the peaks.
    scores : dict of ndarray, shape (n_frames,)
        Numbers by which hits can be told from blanks.
    tuned : bool
        Whether any setting may be chosen; otherwise the first is the default.
    decided : ndarray of bool, optional
        Whether the finder itself calls each frame a hit, at its default.
    hit_probability : ndarray, optional
        Its probability that each frame is one.
    peak_probability : list of ndarray, optional
        For each frame, the probability of each peak at the default, or the most permissive
        setting's where that is what is given.
    seconds : float, optional
        Median time of a frame at the default.
    """

    name: str
    settings: list[Any]
    peaks: list[PeakLists]
    scores: dict[str, NDArray[np.float64]]
    tuned: bool
    decided: NDArray[np.bool_] | None = None
    hit_probability: NDArray[np.float64] | None = None
    peak_probability: list[NDArray[np.float64]] | None = None
    seconds: float | None = None


def search(finder: NamedFinder, frames: Frames, progress: Callable[[int], object]) -> Found:
    """Run a finder on every frame of a condition at each of its settings.

    Parameters
    ----------
    finder : NamedFinder
        What to run.
    frames : Frames
        The condition.
    progress : callable
        Told the number of frames done since the last call.
    """
    found: list[list[FrameResult]] = [[] for _ in finder.settings]
    seconds = []
    for index in range(len(frames)):
        frame = np.array(frames.frames[index])
        for k in range(len(finder.settings)):
            processor = finder.processor(frames.geometry(index), k)
            start = time.perf_counter()
            result = _searched(finder, processor, frame, f"{frames.condition.name}, frame {index}")
            if k == 0:
                seconds.append(time.perf_counter() - start)
            # The counts are overwritten with the next frame, and large.
            found[k].append(dataclasses.replace(result, counts=None))
        progress(1)
    default = found[0]
    probability = np.array([r.hit_probability for r in default])
    probabilities = [r.peaks["probability"].astype(float) for r in found[-1]]
    known = not any(np.isnan(p).any() for p in probabilities)
    return Found(
        name=finder.name,
        settings=[dataclasses.asdict(s) for s in finder.settings],
        peaks=[_with_strengths([r.peaks for r in results]) for results in found],
        scores={"score": np.array([r.score for r in default], float)},
        tuned=False,
        decided=np.array([r.hit for r in default], bool),
        hit_probability=None if np.isnan(probability).any() else probability,
        peak_probability=probabilities if known else None,
        seconds=float(np.median(seconds)),
    )


def _searched(finder: NamedFinder, processor: Finder, frame: NDArray, where: str) -> FrameResult:
    """Search a frame; a finder of others that fails is told from a fault of ours."""
    try:
        return processor(frame)
    except HitfinderError:
        raise
    except Exception as error:
        if FINDERS.find(finder.settings[0].finder).is_ours:
            raise
        what = f"finder {finder.name!r} fails ({type(error).__name__}: {error})"
        raise ConfigError(what, where) from error


def _with_strengths(tables: Sequence[NDArray[np.void]]) -> PeakLists:
    """Return fs, ss and strength of the peaks of each frame."""
    for name, sign in STRENGTHS:
        if all(np.isfinite(table[name]).all() for table in tables):
            strengths = [sign * table[name].astype(float) for table in tables]
            break
    else:
        strengths = [np.zeros(len(table)) for table in tables]
    pairs = zip(tables, strengths, strict=True)
    return [np.stack([table["fs"], table["ss"], strength], 1) for table, strength in pairs]


def from_answer(name: str, answer: Answer) -> Found:
    """Return what a peer found; its frames are told apart by number and strength of peaks."""
    scores = {}
    for k, lists in enumerate(answer.peaks):
        scores[f"number of peaks, setting {k}"] = np.array([len(p) for p in lists], float)
        strongest = [p[:, 2].max(initial=0.0) for p in lists]
        scores[f"strongest peak, setting {k}"] = np.array(strongest, float)
        scores[f"sum of peaks, setting {k}"] = np.array([p[:, 2].sum() for p in lists], float)
    return Found(name, list(answer.settings), answer.peaks, scores, tuned=True)


def named(chosen: Sequence[str]) -> list[NamedFinder]:
    """Return the finders of these names, or ours if none is given.

    Parameters
    ----------
    chosen : sequence of str
        Names of `hitfinder.finding.registry.FINDERS`, or ``module:Class``.

    Raises
    ------
    ConfigError
        If there is none of that name, or it cannot be imported.
    """
    for name in chosen:
        FINDERS.load(name)
    return [NamedFinder.of(name) for name in dict.fromkeys(chosen)] or finders()
