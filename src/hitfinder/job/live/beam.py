"""Photon energy and camera length while a run goes on, and whether they drift."""

from __future__ import annotations

import collections
import copy
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Mapping
from typing import Any, Self

from hitfinder.estimate.change import Change
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.estimate.run import RunSums
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.live.work import LiveChunk
from hitfinder.report.evidence import contradictions
from hitfinder.report.numbers import number
from hitfinder.results.chunk import ChunkResult

log = logging.getLogger(__name__)

WINDOW = 1000
"""Frames at the start that later ones are compared with, and frames of the latest window."""

PIECES = 10
"""Parts of the window; it moves on by one of them."""

CHANCE = 1e-6
"""A change counts if one as large comes by chance so rarely: a shift has thousands of windows."""

RELEVANT = 1e-3
"""Relative change of energy or length below which it does not matter: a pixel at the edge of a
detector of 2000 pixels."""

CLEAR_SIGMAS = 3.0
"""Standard deviations by which the one of the two that has changed is told from the other."""

EVERY_S, SHARE = 5.0, 20
"""Estimates are made so often, or less often if that takes more than this part of the time."""


class BeamWatch:
    """Estimates photon energy and camera length from the first, the latest and all frames.

    The sums are those that workers gather for the estimate of the whole run. Estimates are made in
    a thread of its own.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the run, without what is learnt on the way.
    origin : mapping
        Where the values of the geometry are from, as ``run.json`` says it.
    window : int
        See `WINDOW`.
    """

    def __init__(self, geometry: Geometry, origin: Mapping[str, str], window: int = WINDOW) -> None:
        self._geometry, self._origin, self._window = geometry, dict(origin), window
        self._estimator = GeometryEstimator(geometry)
        self._all, self._start, self._piece = (RunSums.of(self._estimator) for _ in range(3))
        self._recent: collections.deque[RunSums] = collections.deque(maxlen=PIECES)
        self._seen, self._counted, self._looked_at = 0, 0, 0
        self._first_drift: int | None = None
        self._told = self._nothing()
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="beam", daemon=True)

    def take(self, chunk: LiveChunk, result: ChunkResult, geometry: Geometry) -> None:
        """Add the frames of a chunk."""
        sums = result.totals.geometry
        if sums is None:
            return
        n = sums.n_frames
        with self._lock:
            self._seen = max(self._seen, chunk.stop)
            self._counted += n
            in_start = self._counted <= self._window or not self._start.n_frames
            for total in (self._all, self._piece, *([self._start] if in_start else [])):
                total.merge(sums)
                total.join()
            if self._piece.n_frames * PIECES >= self._window:
                self._recent.append(self._piece)
                self._piece = RunSums.of(self._estimator)

    def told(self) -> dict[str, Any]:
        """Return what ``live.json`` says of it."""
        with self._lock:
            return dict(self._told)

    def line(self) -> dict[str, Any]:
        """Return what a line of the history says of it."""
        told = self.told()
        latest = {name: told[name]["recent"] or {} for name in ("energy", "camera_length")}
        return {
            "photon_energy_ev": latest["energy"].get("ev"),
            "camera_length_m": latest["camera_length"].get("m"),
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._try_to_look()

    def _keep_looking(self) -> None:
        wait_s = EVERY_S
        while not self._stopping.wait(wait_s):
            began = time.monotonic()
            self._try_to_look()
            wait_s = max(EVERY_S, SHARE * (time.monotonic() - began))

    def _try_to_look(self) -> None:
        try:
            self.look()
        except Exception as error:
            # What cannot be estimated must not end what can be measured.
            log.debug("beam", exc_info=True)
            log.warning("photon energy and camera length cannot be estimated: %s", error)

    def look(self) -> None:
        """Make the estimates anew, if there are more frames."""
        with self._lock:
            n_seen, n_counted = self._seen, self._counted
            if n_counted == self._looked_at:
                return
            self._looked_at = n_counted
            whole, start = copy.deepcopy(self._all), copy.deepcopy(self._start)
            latest = RunSums.of(self._estimator)
            for piece in (*self._recent, self._piece):
                latest.merge(piece)
            # The window is compared with the start when they share no frame.
            is_apart = n_counted >= start.n_frames + latest.n_frames
        estimates = {
            name: (self._estimator.estimate_sums(sums.total), sums.n_frames)
            for name, sums in (("run", whole), ("start", start), ("recent", latest))
        }
        change = None
        if is_apart:
            first, last = estimates["start"][0], estimates["recent"][0]
            change = Change.between(first, last, start.excess(first))
        self._note(estimates, change, n_seen)

    def _note(
        self,
        estimates: Mapping[str, tuple[GeometryEstimate, int]],
        change: Change | None,
        n_seen: int,
    ) -> None:
        words = [] if change is None else drift_words(estimates["start"][0], change)
        if words and self._first_drift is None:
            self._first_drift = n_seen
            log.warning("%s", "; ".join(words))
        latest, geometry = dataclasses.asdict(estimates["recent"][0]), self._geometry
        values = {
            "photon_energy_ev": geometry.photon_energy_ev,
            "camera_length_m": geometry.camera_length_m,
        }
        told = self._nothing()
        for when, (estimate, n) in estimates.items():
            told["energy"][when] = _told(estimate, "photon_energy", "ev", n)
            told["camera_length"][when] = _told(estimate, "camera_length", "m", n)
        told["drift"] |= {
            "drifts": bool(words),
            "first_seen_at_frame": self._first_drift,
            "words": words,
            "against_set": contradictions(latest, values, self._origin),
        }
        if change is not None:
            told["drift"] |= {
                "energy_change_ev": _finite(change.energy_ev),
                "energy_change_sigma_ev": _finite(change.energy_sigma_ev),
                "camera_length_change_m": _finite(change.length_m),
                "camera_length_change_sigma_m": _finite(change.length_sigma_m),
                "p": _finite(change.p),
            }
        with self._lock:
            self._told = told

    def _nothing(self) -> dict[str, Any]:
        """Return what is told before there are frames."""
        unknown: dict[str, Any] = {"run": None, "start": None, "recent": None}
        names = ("energy_change_ev", "energy_change_sigma_ev", "camera_length_change_m")
        return {
            "energy": {"set_ev": self._geometry.photon_energy_ev, **unknown},
            "camera_length": {"set_m": self._geometry.camera_length_m, **unknown},
            "drift": {
                "drifts": False,
                "first_seen_at_frame": None,
                **dict.fromkeys((*names, "camera_length_change_sigma_m", "p")),
                "words": [],
                "against_set": [],
            },
        }


def drift_words(first: GeometryEstimate, change: Change) -> list[str]:
    """Say what has changed since the start of a run, where it is beyond chance and matters.

    Parameters
    ----------
    first : GeometryEstimate
        Of the frames at the start.
    change : Change
        From these to the latest frames.
    """
    if not change.p < CHANCE:
        return []
    both = (
        (change.energy_ev, change.energy_sigma_ev, first.photon_energy_ev),
        (change.length_m, change.length_sigma_m, first.camera_length_m),
    )
    names = (("photon energy", 1.0, "eV"), ("camera length", 1e3, "mm"))
    matters = [abs(by) > RELEVANT * value for by, _, value in both]
    sure = [abs(by) > CLEAR_SIGMAS * sigma for by, sigma, _ in both]
    said = [
        f"{name} {scale * by:+.3g} ± {number(scale * sigma, 1)} {unit} "
        f"(from {scale * value:.5g} {unit})"
        for (by, sigma, value), (name, scale, unit) in zip(both, names, strict=True)
    ]
    since = "since the start of the run"
    clear = [what for what, *is_so in zip(said, matters, sure, strict=True) if all(is_so)]
    if clear or not any(matters):
        return [f"{what} {since}" for what in clear]
    # The two are correlated: that one of them has changed may be sure, and which one not.
    return [f"photon energy or camera length has changed {since}: {', or '.join(said)}"]


def _told(estimate: GeometryEstimate, name: str, unit: str, n_frames: int) -> dict[str, Any]:
    told = {"": unit, "sigma_": f"sigma_{unit}", "low_": f"low_{unit}", "high_": f"high_{unit}"}
    values = {
        key: _finite(getattr(estimate, f"{name}_{which}{unit}")) for which, key in told.items()
    }
    return {**values, "flag": estimate.flag, "frames": n_frames}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
