"""Give each peer its best setting on each condition.

A grid of settings is tried on some of the frames; the best ones, and variations of them, on all.
Settings are ranked by the recall at the allowed rate of false peaks, which the peer may also reach
by dropping its weakest peaks: a little more than its users can do, so that it is not sold short.
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

N_BEST = 4
N_VARIED = 2
SEARCH_HITS = 4
SEARCH_BLANKS = 10
MAX_BLANKS = 60


def peakfinder8_grid(frames: Frames) -> list[Settings]:
    thresholds = {
        "sim6_1": (1, 2, 3),
        "sim6_100": (2, 3, 5),
        "sim6_2000": (0, 15, 20),
    }.get(frames.condition.name, (0.5, 1, 2))
    real = frames.condition.kind == "real"
    return grid(
        adc_threshold=thresholds,
        min_snr=(3, 5, 7),
        min_pixels=(1, 2, 3) if real else (1, 2),
        background_radius=(3,),
    )


def peakfinder8_variations(settings: Settings) -> list[Settings]:
    return [
        {**settings, "background_radius": 5},
        {**settings, "min_snr": settings["min_snr"] - 0.5},
        {**settings, "min_snr": settings["min_snr"] + 0.5},
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
        """Best recall at a rate of false peaks, and the setting that reaches it."""
        recalls = [j.of_group(group).recall_at(false_per_frame) for j in self.judgements]
        best = int(np.argmax(recalls))
        return recalls[best], best

    def envelope(self, rates: np.ndarray, group: int) -> np.ndarray:
        """Best recall over the settings at each rate of false peaks."""
        return np.array([self.best(rate, group)[0] for rate in rates])


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
    best = _ranked(frames, tried, judged)[:N_VARIED]
    varied = [v for settings in best for v in VARIATIONS[peer.name](settings)]
    varied = [v for k, v in enumerate(varied) if v not in tried and v not in varied[:k]]
    judged += _judge_all(peer, frames, varied, some)
    return _ranked(frames, tried + varied, judged)[:N_BEST]


def _judge_all(
    peer: Peer, frames: Frames, settings: list[Settings], indices: list[int]
) -> list[Judgement]:
    geometries = json.loads((frames.folder / "meta.json").read_text())["geometries"]
    numbers = [frames.number(i) for i in indices]
    found, _ = peer.search(frames.folder, indices, numbers, geometries, settings)
    return [judge(frames, peaks, indices) for peaks in found]


def _ranked(
    frames: Frames, settings: list[Settings], judgements: list[Judgement]
) -> list[Settings]:
    c = frames.condition
    value = [
        np.nanmean([j.of_group(g).recall_at(c.false_limit) for g in range(len(c.groups))])
        for j in judgements
    ]
    return [settings[k] for k in np.argsort(np.negative(value), kind="stable")]


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
