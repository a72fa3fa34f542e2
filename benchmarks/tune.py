"""Give each peer its best setting on each condition.

A grid of settings is tried on some of the frames; the best ones, and variations of them, on all.
There are two ways to meet an allowed rate of false peaks: by settings alone, as users of the peer
do, and by dropping the weakest of its peaks afterwards (by their intensity), which the peers do
not offer. The best settings for both are kept.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from conditions import CACHE, FORMAT, Frames
from judge import Judgement, judge
from peer import DIALS, PEAKFINDER8, Peer, Settings, grid

N_BEST = 2
N_VARIED = 1
SEARCH_HITS = 4
SEARCH_BLANKS = 16
# What a few frames say about a rate of false peaks is not exact.
FALSE_SLACK = 0.1
MAX_BLANKS = 60


def peakfinder8_grid(frames: Frames) -> list[Settings]:
    thresholds = {
        "sim6_1": (1, 2, 3),
        "sim6_100": (2, 4, 5),
        "sim6_2000": (0, 15, 20),
    }.get(frames.condition.name, (0.5, 1, 2))
    real = frames.condition.kind == "real"
    return grid(
        adc_threshold=thresholds,
        min_snr=(3, 5, 7, 9),
        min_pixels=(1, 2, 3) if real else (1, 2),
        background_radius=(3,),
    )


def peakfinder8_variations(settings: Settings) -> list[Settings]:
    return [
        {**settings, "background_radius": 5},
        {**settings, "min_snr": settings["min_snr"] - 1},
        {**settings, "min_snr": settings["min_snr"] + 1},
    ]


def dials_grid(frames: Frames) -> list[Settings]:
    thresholds = {
        "sim6_1": (0, 2, 3),
        "sim6_100": (0, 3, 4),
        "sim6_2000": (0, 10, 20),
    }.get(frames.condition.name, (0, 1, 2))
    real = frames.condition.kind == "real"
    common = {
        "sigma_background": (6,),
        "sigma_strong": (3, 4) if real else (3, 4, 5),
        "global_threshold": thresholds,
    }
    return [
        *grid(algorithm=["dispersion_extended"], kernel=(2, 3, 5), min_pixels=(1,), **common),
        *grid(algorithm=["dispersion_extended"], kernel=(3,), min_pixels=(2,), **common),
        *grid(algorithm=["dispersion"], kernel=(3,), min_pixels=(1, 2), **common),
    ]


def dials_variations(settings: Settings) -> list[Settings]:
    return [
        {**settings, "sigma_background": 4},
        {**settings, "sigma_strong": settings["sigma_strong"] - 0.5},
        {**settings, "sigma_strong": settings["sigma_strong"] + 0.5},
    ]


GRIDS: dict[str, Callable[[Frames], list[Settings]]] = {
    PEAKFINDER8.name: peakfinder8_grid,
    DIALS.name: dials_grid,
}
VARIATIONS: dict[str, Callable[[Settings], list[Settings]]] = {
    PEAKFINDER8.name: peakfinder8_variations,
    DIALS.name: dials_variations,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Tuned:
    """A peer on all frames of a condition, at its best settings."""

    settings: list[Settings]
    judgements: list[Judgement]

    def best(self, false_per_frame: float, group: int) -> tuple[float, int]:
        """Best recall by settings alone, and the setting that reaches it; 0 if none does."""
        recalls = [
            j.of_group(group).recall if j.false_per_frame <= false_per_frame else 0.0
            for j in self.judgements
        ]
        best = int(np.argmax(recalls))
        return recalls[best], best

    def best_cut(self, false_per_frame: float, group: int) -> tuple[float, int]:
        """Best recall by settings and by dropping weak peaks, and the setting."""
        recalls = [j.of_group(group).recall_at(false_per_frame) for j in self.judgements]
        best = int(np.argmax(recalls))
        return recalls[best], best

    def envelope(self, rates: np.ndarray, group: int) -> np.ndarray:
        """Best recall at each rate of false peaks, weak peaks dropped."""
        return np.array([self.best_cut(rate, group)[0] for rate in rates])


def tuned(peer: Peer, frames: Frames, start: list[Settings] | None = None) -> Tuned:
    """Tune a peer on a condition, or read what was found before.

    Parameters
    ----------
    peer : Peer
        Must be installed, unless the result is kept already.
    frames : Frames
        The condition.
    start : list of dict, optional
        Settings to take as they are instead of searching the grid.
    """
    known = kept(frames.condition.name, peer.name)
    if known is not None:
        return known
    if start is None:
        start = _search_grid(peer, frames)
    c = frames.condition
    indices = range(c.n_hits + min(c.n_blanks, MAX_BLANKS))
    judgements = _judge_all(peer, frames, start, list(indices))
    out = Tuned(start, judgements)
    _write(_path(frames.condition.name, peer.name), out)
    return out


def kept(condition: str, peer: str) -> Tuned | None:
    """What was found before, if anything."""
    path = _path(condition, peer)
    return _read(path) if path.is_file() else None


def _path(condition: str, peer: str) -> Path:
    return CACHE / f"v{FORMAT}" / f"{condition}-{peer}.npz"


def _search_grid(peer: Peer, frames: Frames) -> list[Settings]:
    c = frames.condition
    hits = range(min(c.n_hits, SEARCH_HITS))
    some = [*hits, *range(c.n_hits, c.n_hits + min(c.n_blanks, SEARCH_BLANKS))]
    tried = GRIDS[peer.name](frames)
    judged = _judge_all(peer, frames, tried, some)
    best = _best(frames, judged, N_VARIED)
    varied = [v for k in best for v in VARIATIONS[peer.name](tried[k])]
    varied = [v for k, v in enumerate(varied) if v not in tried and v not in varied[:k]]
    judged += _judge_all(peer, frames, varied, some)
    both = tried + varied
    return [both[k] for k in _best(frames, judged, N_BEST)]


def _judge_all(
    peer: Peer, frames: Frames, settings: list[Settings], indices: list[int]
) -> list[Judgement]:
    geometries = json.loads((frames.folder / "meta.json").read_text())["geometries"]
    numbers = [frames.number(i) for i in indices]
    found, _ = peer.search(frames.folder, indices, numbers, geometries, settings)
    return [judge(frames, peaks, indices) for peaks in found]


def _best(frames: Frames, judgements: list[Judgement], n: int) -> list[int]:
    """The `n` best of each kind: weak peaks dropped; by settings alone, strictly and nearly."""
    c = frames.condition
    groups = range(len(c.groups))
    chosen: list[int] = []
    cut = [np.nanmean([j.of_group(g).recall_at(c.false_limit) for g in groups]) for j in judgements]
    plain = np.array([np.nanmean([j.of_group(g).recall for g in groups]) for j in judgements])
    false = np.array([j.false_per_frame for j in judgements])
    strict = np.where(false <= c.false_limit, plain, -false)
    lenient = np.where(false <= c.false_limit + FALSE_SLACK, plain, -false)
    for value in (cut, strict, lenient):
        ranked = [k for k in np.argsort(np.negative(value), kind="stable") if k not in chosen]
        chosen += ranked[:n]
    return chosen


def _write(path: Path, result: Tuned) -> None:
    arrays = {
        f"{k}_{field.name}": getattr(judgement, field.name)
        for k, judgement in enumerate(result.judgements)
        for field in dataclasses.fields(Judgement)
    }
    with path.with_suffix(".part").open("wb") as file:
        np.savez(file, settings=json.dumps(result.settings), **arrays)
    path.with_suffix(".part").replace(path)


def _read(path: Path) -> Tuned:
    with np.load(path) as data:
        settings = json.loads(str(data["settings"]))
        judgements = [
            Judgement(**{f.name: data[f"{k}_{f.name}"] for f in dataclasses.fields(Judgement)})
            for k in range(len(settings))
        ]
    return Tuned(settings, judgements)
