"""The finders that are judged, and what they say of a condition's frames."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.network.finder import NetworkFinder
from hitfinder.suite.condition import Frames
from hitfinder.suite.peers import Answer, PeakLists


class Processor(Protocol):
    """A finder built for one geometry."""

    def __call__(self, frame: NDArray) -> Any:
        """Return a result with ``score``, ``hit`` and ``peaks`` (fs, ss and more)."""


@dataclasses.dataclass(frozen=True)
class NamedFinder:
    """A finder of ours.

    Parameters
    ----------
    name : str
        For tables.
    build : callable
        Geometry and settings to a `Processor`.
    strength : callable
        Peaks to the number by which weak ones may be dropped.
    settings : tuple of FinderSettings
        The default first; others show what more permissive ones would find.
    frame_score : callable
        Result to the number by which frames are told apart.
    """

    name: str
    build: Callable[[Geometry, FinderSettings], Processor]
    strength: Callable[[NDArray], NDArray[np.float64]]
    settings: tuple[FinderSettings, ...]
    frame_score: Callable[[Any], float]

    @functools.lru_cache(maxsize=8)  # noqa: B019 - conditions share geometries; building is slow
    def processor(self, geometry: Geometry, setting: int) -> Processor:
        """Return the finder for a geometry at one of its settings."""
        return self.build(geometry, self.settings[setting])


_PERMISSIVE = FinderSettings(false_peaks=0.5, peak_probability=0.01)


def _settings(finder: Literal["network", "likelihood"]) -> tuple[FinderSettings, ...]:
    return FinderSettings(finder=finder), dataclasses.replace(_PERMISSIVE, finder=finder)


def _log_odds(peaks: NDArray) -> NDArray[np.float64]:
    p = np.clip(peaks["probability"].astype(float), 1e-30, 1 - 1e-7)
    return np.log(p) - np.log1p(-p)


LIKELIHOOD = NamedFinder(
    "likelihood",
    LikelihoodFinder,
    lambda peaks: -peaks["log_p"].astype(float),
    _settings("likelihood"),
    lambda result: float(result.score),
)
NETWORK = NamedFinder(
    "network",
    NetworkFinder,
    _log_odds,
    _settings("network"),
    lambda result: float(result.score),
)


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
    peaks: list[PeakLists] = [[] for _ in finder.settings]
    results, probabilities, seconds = [], [], []
    for index in range(len(frames)):
        frame = np.array(frames.frames[index])
        for k in range(len(finder.settings)):
            processor = finder.processor(frames.geometry(index), k)
            start = time.perf_counter()
            result = processor(frame)
            if k == 0:
                seconds.append(time.perf_counter() - start)
                results.append((finder.frame_score(result), bool(result.hit), _hit(result)))
            found = result.peaks
            peaks[k].append(np.stack([found["fs"], found["ss"], finder.strength(found)], 1))
            if k == len(finder.settings) - 1:
                probabilities.append(found["probability"].astype(float))
        progress(1)
    known = not any(np.isnan(p).any() for p in probabilities)
    score, decided, probability = (np.array(column) for column in zip(*results, strict=True))
    return Found(
        name=finder.name,
        settings=[dataclasses.asdict(s) for s in finder.settings],
        peaks=peaks,
        scores={"score": score},
        tuned=False,
        decided=decided.astype(bool),
        hit_probability=None if np.isnan(probability).any() else probability,
        peak_probability=probabilities if known else None,
        seconds=float(np.median(seconds)),
    )


def _hit(result: Any) -> float:
    return float(result.hit_probability)


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
    """Return the finders of these names, or all if none is given.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    known = {finder.name: finder for finder in finders()}
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"no finder is called {unknown[0]!r}; known: {', '.join(known)}")
    return [known[name] for name in chosen] if chosen else list(known.values())
