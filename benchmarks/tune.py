"""Give each peer its best settings on each condition, and keep what it finds with them.

A grid of settings is tried on some of the frames; the best ones, and variations of them, are run on
all. Best can mean: at the allowed rate of false peaks by settings alone, as users of the peer do;
with hardly any false peaks; and with the weakest of its peaks dropped afterwards (by their
intensity), which the peers do not offer. Conditions of one background share a search.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hitfinder.suite import peers
from hitfinder.suite.condition import Condition, Frames
from hitfinder.suite.judge import Judgement, judge
from inputs import PEERS, condition
from peer import DIALS, PEAKFINDER8, Peer, Settings, grid

SEARCH_HITS, SEARCH_BLANKS, SEARCH_REAL = 4, 16, 3
HARDLY_ANY = 0.01


def peakfinder8_grid(c: Condition) -> list[Settings]:
    thresholds = {1: (1, 2, 3, 4), 100: (2, 4, 5, 6, 8), 2000: (0, 15, 20, 30)}.get(
        c.shots, (0.5, 1, 2)
    )
    return grid(
        adc_threshold=thresholds,
        min_snr=(3, 5, 7, 9),
        min_pixels=(1, 2, 3) if c.kind == "real" else (1, 2),
        background_radius=(3,),
    )


def peakfinder8_variations(settings: Settings) -> list[Settings]:
    return [
        {**settings, "background_radius": 5},
        {**settings, "min_snr": settings["min_snr"] - 1},
        {**settings, "min_snr": settings["min_snr"] + 1},
    ]


def dials_grid(c: Condition) -> list[Settings]:
    thresholds = {1: (0, 2, 3), 100: (0, 3, 4), 2000: (0, 10, 20)}.get(c.shots, (0, 1, 2))
    common = {
        "algorithm": ["dispersion_extended"],
        "sigma_background": (6,),
        "sigma_strong": (3, 4, 5),
        "global_threshold": thresholds,
    }
    wide = grid(kernel=(3, 5), min_pixels=(1,), **common)
    return wide + (grid(kernel=(3,), min_pixels=(2,), **common) if c.kind == "real" else [])


def dials_variations(settings: Settings) -> list[Settings]:
    return [
        {**settings, "sigma_background": 4},
        {**settings, "sigma_strong": settings["sigma_strong"] - 0.5},
        {**settings, "sigma_strong": settings["sigma_strong"] + 0.5},
    ]


GRIDS: dict[str, Callable[[Condition], list[Settings]]] = {
    PEAKFINDER8.name: peakfinder8_grid,
    DIALS.name: dials_grid,
}
VARIATIONS: dict[str, Callable[[Settings], list[Settings]]] = {
    PEAKFINDER8.name: peakfinder8_variations,
    DIALS.name: dials_variations,
}
SEARCHED_THEMSELVES = ("flux",)
# Any other condition takes the settings found best on another one of its background: by shots of
# water, or of a measured frame by the dose at the end of its name.
SEARCHED_ON = {1: "sim6-1", 10: "sim6-1", 100: "sim6-100", 2000: "sim6-2000", 20000: "sim6-2000"}

SEARCHED_REAL = "DLS_I03_smargon_0001"


def answer(peer: Peer, frames: Frames) -> None:
    """Run a tuned peer on a condition, unless its answer is there already."""
    c = frames.condition
    if peers.read(PEERS, peer.name, frames) is not None:
        return
    start = time.monotonic()
    settings = tuned_settings(peer, frames)
    peaks, _ = peer.search(frames, list(range(len(frames))), settings)
    peers.write(PEERS, peer.name, frames, settings, peaks)
    taken = time.monotonic() - start
    print(f"{c.name}: {peer.name}, {len(settings)} settings, {taken:.0f} s", flush=True)


def tuned_settings(peer: Peer, frames: Frames) -> list[Settings]:
    c = frames.condition
    searched = frames
    if c.family not in SEARCHED_THEMSELVES and c.shots in SEARCHED_ON:
        searched = condition(SEARCHED_ON[c.shots])
    elif c.kind == "real":
        searched = condition(f"{SEARCHED_REAL}-{c.name.rpartition('-')[2]}")
    path = PEERS / f"{peer.name}-{searched.condition.name}-{searched.fingerprint}.json"
    if not path.is_file():
        PEERS.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_search(peer, searched)))
    return list(json.loads(path.read_text()))


def _search(peer: Peer, frames: Frames) -> list[Settings]:
    c = frames.condition
    n_hits = SEARCH_REAL if c.kind == "real" else SEARCH_HITS
    blanks = range(c.n_hits, c.n_hits + min(c.n_blanks, SEARCH_BLANKS))
    some = [*range(min(c.n_hits, n_hits)), *blanks]
    tried = GRIDS[peer.name](c)
    judged = _judge_all(peer, frames, tried, some)
    varied: list[Settings] = []
    for k in _best(c, judged)[:2]:
        varied += [v for v in VARIATIONS[peer.name](tried[k]) if v not in tried + varied]
    judged += _judge_all(peer, frames, varied, some)
    both = tried + varied
    return [both[k] for k in _best(c, judged)]


def _judge_all(
    peer: Peer, frames: Frames, settings: list[Settings], indices: list[int]
) -> list[Judgement]:
    peaks, seconds = peer.search(frames, indices, settings)
    found = peers.by_setting_and_frame(peaks, *seconds.shape)
    return [judge(frames, each, indices) for each in found]


def _best(c: Condition, judgements: list[Judgement]) -> list[int]:
    """The best setting in each sense, every one once."""
    groups = range(len(c.groups))
    cut = [np.nanmean([j.of_group(g).cut_at(c.false_limit)[0] for g in groups]) for j in judgements]
    plain = np.array([np.nanmean([j.of_group(g).recall for g in groups]) for j in judgements])
    false = np.array([j.false_per_frame for j in judgements])
    limits = c.false_limit, HARDLY_ANY
    values = [np.array(cut), *(np.where(false <= limit, plain, -false) for limit in limits)]
    chosen: list[int] = []
    for value in values:
        ranked = [k for k in np.argsort(-value, kind="stable") if k not in chosen]
        chosen += ranked[:1]
    return [int(k) for k in chosen]


def kept(folder: Path = PEERS) -> bool:
    """Whether there are answers to show, installed or not."""
    return folder.is_dir() and bool(peers.names(folder))
