"""What the page may ask about a run, and the answers, before they become messages."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from hitfinder.errors import ConfigError, SourceError
from hitfinder.finding.rings import Rings
from hitfinder.finding.squares import bin_side, squares_in
from hitfinder.monitor.decision import Decision
from hitfinder.monitor.ice import ice_rings
from hitfinder.monitor.layout import Layout
from hitfinder.monitor.packing import Packed, pack
from hitfinder.monitor.prediction import predicted
from hitfinder.monitor.prometheus import RunMetrics
from hitfinder.monitor.run_frames import RunFrames
from hitfinder.monitor.summary import plain, summarise
from hitfinder.monitor.walk import goal_frame
from hitfinder.monitor.watched import WatchedRun
from hitfinder.report.detector_view import DetectorView
from hitfinder.report.verdict import Evidence, Verdict, judge

WHOLE = {"sum": "image", "maximum": "maximum"}
"""Pictures of all frames, and where they are in the totals of a run."""

KEPT_SUMMARIES = 4
"""Of late, by different thresholds."""

LIVE_TOLD = (
    *("source", "series", "state", "ledger", "rates", "delays_s", "static_pixels"),
    *("energy", "camera_length", "drift", "index_rate", "offered", "published"),
)
"""What the page shows of ``live.json``."""

DOUBTFUL = 0.5
"""Probability below which a peak is likelier false than true, and drawn in dots."""

_BEYOND = 0.9
"""Reflections are shown to this part of the resolution within which nearly all peaks lie."""


class Answers:
    """Answers to what the page asks about a run. May be used by several threads.

    Parameters
    ----------
    watched : WatchedRun
        The run.
    """

    def __init__(self, watched: WatchedRun) -> None:
        self.watched = watched
        self._opening, self._summarising = threading.Lock(), threading.Lock()
        self._summaries: dict[tuple[int, Decision], dict[str, Any]] = {}
        self._frames: tuple[object, RunFrames, Layout | None] | None = None

    def decision(self, threshold: float | None, min_peaks: int | None) -> Decision:
        """Return the decision by limits of the reader's own, where they are given."""
        return self.watched.decision.at(threshold, min_peaks)

    def about(self) -> dict[str, Any]:
        """Return what does not depend on the frames: names, geometry, settings."""
        about = self.watched.about
        frames, layout = self._opened()
        problem = frames.problem
        if layout is None and not problem:
            problem = "" if frames.waits else "nothing tells where the pixels are"
        live = self.watched.live or {}
        return plain(
            {
                "folder": str(self.watched.folder.resolve()),
                "inputs": about["inputs"][:20],
                "n_inputs": len(about["inputs"]),
                "started": about.get("started"),
                "state": self.watched.state,
                "revision": self.watched.revision,
                "geometry": about["geometry"],
                "origin": about.get("origin", {}),
                "settings": {k: v for k, v in about["settings"].items() if v is not None},
                "estimated": about.get("estimated_geometry"),
                "timings": about.get("timings", {}),
                "versions": about.get("versions", {}),
                "static": {k: v for k, v in about.get("static", {}).items() if k != "places"},
                "live": {name: live.get(name) for name in LIVE_TOLD},
                "threshold": self.watched.decision.threshold,
                "min_peaks": self.watched.decision.min_peaks,
                "false_hits": self.watched.decision.false_hits,
                "frames_problem": problem,
                "layout": None if layout is None else layout.told(),
            }
        )

    def summary(self, decision: Decision) -> dict[str, Any]:
        """Return what is counted over all frames; the same is counted once for all readers."""
        asked = self.watched.revision, decision
        with self._summarising:
            if asked not in self._summaries:
                while len(self._summaries) >= KEPT_SUMMARIES:
                    self._summaries.pop(next(iter(self._summaries)))
                self._summaries[asked] = self._summed_up(decision)
            return self._summaries[asked]

    def _summed_up(self, decision: Decision) -> dict[str, Any]:
        watched = self.watched
        told = summarise(*watched.decided(decision), decision)
        indexed = watched.indexed()
        if indexed is not None:
            told["indexed"] = len(indexed)
            told["index_rate"] = len(indexed) / told["hits"] if told["hits"] else None
        told["revision"], told["state"] = watched.revision, watched.state
        verdict = self._verdict(told, decision)
        told["verdict"] = {"word": verdict.word, "reasons": list(verdict.reasons)}
        return told

    def metrics(self) -> RunMetrics:
        """Return what monitoring systems are told."""
        watched = self.watched
        table, decided = watched.decided(watched.decision)
        n_hits = int(decided.hit.sum())
        return RunMetrics(watched.live or {}, table.by_status, n_hits, watched.state)

    def _verdict(self, told: Mapping[str, Any], decision: Decision) -> Verdict:
        """Judge the run by its hits; of what was gathered with others, only what still holds."""
        about = self.watched.about
        with contextlib.suppress(KeyError, TypeError):
            evidence = Evidence.told(about["verdict"]["evidence"])
            if decision.as_run:
                return judge(evidence)
            return judge(dataclasses.replace(evidence.of_other_hits(), **_counted(told)))
        return judge(Evidence(**_counted(told), unread=told["failed"]))

    def frame(self, number: int, decision: Decision) -> dict[str, Any]:
        """Return what is known of a frame, and its peaks in their places on the picture.

        Raises
        ------
        ConfigError
            If the run has no such frame.
        """
        watched = self.watched
        self._check(number)
        table, decided = watched.decided(decision)
        row = table.rows[number]
        told = {name: row[name].item() for name in row.dtype.names if name != "status"}
        peaks = watched.peaks_of(number)
        frames, layout = self._opened()
        ref = frames.ref(number)
        if layout is None:
            places = np.stack([peaks["fs"], peaks["ss"]], 1)
        else:
            places = layout.view.place(peaks["fs"], peaks["ss"])
        probability = peaks["probability"]
        told |= {
            "number": number,
            "file": ref.file,
            "event": ref.event,
            "status": table.statuses[row["status"]],
            "hit": bool(decided.hit[number]),
            "doubt": str(decided.doubt[number]),
            "hit_in_run": bool(watched.decided(watched.decision)[1].hit[number]),
            "peaks": {
                **peaks,
                "column": places[:, 0],
                "row": places[:, 1],
                "doubtful": (probability < DOUBTFUL),
            },
            "crystals": self._crystals(number, float(row["resolution_a"]), layout),
        }
        return plain(told)

    def _crystals(
        self, number: int, resolution_a: float, layout: Layout | None
    ) -> list[dict[str, Any]]:
        """Return the crystals of a frame, with their reflections to where its peaks reach."""
        crystals = self.watched.crystals_of(number)
        if layout is None or not resolution_a > 0:
            return crystals
        bandwidth = self.watched.bandwidth()
        return [
            {**one, "predicted": predicted(one, layout, bandwidth, _BEYOND * resolution_a)}
            for one in crystals
            if one["indexed"]
        ]

    def counts(self, number: int) -> Packed:
        """Return the photons of a frame.

        Raises
        ------
        ConfigError
            If the run has no such frame.
        SourceError
            If it cannot be read.
        """
        self._check(number)
        return self._opened()[0].packed(number)

    def whole(self, kind: str) -> Packed:
        """Return all frames in one coarse picture, in counts per pixel, NaN for no pixel.

        Parameters
        ----------
        kind : str
            ``sum``, or ``maximum``: the most that a pixel had in any frame.

        Raises
        ------
        ConfigError
            If the folder does not tell, or there is no such picture.
        """
        if kind not in WHOLE:
            raise ConfigError(f"unknown picture {kind!r}", hint=f"Use one of {', '.join(WHOLE)}.")
        totals, geometry = self.watched.totals(), self._layout().geometry
        image = None if totals is None else getattr(totals, WHOLE[kind]).image
        size = bin_side(geometry.shape)
        if image is None or image.shape != squares_in(geometry.shape, size):
            raise ConfigError(f"the folder does not hold the {kind} of the frames")
        view = DetectorView.of(geometry, size)
        mask = geometry.detector.full_mask
        picture = view.unbin(image, size, mask, maxima=kind == "maximum")
        return pack(picture.astype(np.float32))

    def profile(self) -> dict[str, Any]:
        """Return the mean background of the frames by scattering vector; empty if not known.

        With ``ice``: the rings of ice in it, None if none could be seen.
        """
        totals, layout = self.watched.totals(), self._opened()[1]
        if totals is None or layout is None:
            return {"q": [], "mean": [], "ice": None}
        profile, rings = totals.profile, Rings.of(layout.geometry)
        if len(rings.q) != len(profile.mean):
            return {"q": [], "mean": [], "ice": None}
        ice = ice_rings(rings.q, profile.mean, rings.n_pixels * profile.n_frames)
        told = None if ice is None else [dataclasses.asdict(ring) for ring in ice]
        return plain({"q": rings.q, "mean": profile.mean, "ice": told})

    def mask(self) -> Packed:
        """Return 1 where pixels were ignored in every frame, and 0 elsewhere."""
        return pack(self._layout().geometry.detector.full_mask.astype(np.uint8))

    def pixels(self) -> Packed:
        """Return which stored pixel each pixel of the picture shows."""
        pixels = self._layout().pixels
        if pixels is None:
            raise ConfigError("the picture is the frame as it is stored")
        return pack(pixels)

    def go(self, goal: str, number: int, decision: Decision) -> int | None:
        """Return the frame to go to from a frame, by `hitfinder.monitor.walk.goal_frame`."""
        table, decided = self.watched.decided(decision)
        return goal_frame(goal, number, table, decided.hit)

    def close(self) -> None:
        """Close the files of the frames."""
        if self._frames is not None:
            self._frames[1].close()

    def _check(self, number: int) -> None:
        if not 0 <= number < len(self.watched.table):
            last = len(self.watched.table) - 1
            raise ConfigError(f"the run has no frame {number}, the last is {last}")

    def _layout(self) -> Layout:
        layout = self._opened()[1]
        if layout is None:
            raise SourceError("missing-file", "nothing tells where the pixels are")
        return layout

    def _opened(self) -> tuple[RunFrames, Layout | None]:
        """Return the frames and their layout, opened at first need and whenever the run changes."""
        with self._opening:
            run = self.watched.run
            before = self._frames
            if before is not None and before[0] is run and not before[1].waits:
                return before[1], before[2]
            self.close()
            frames = RunFrames(run, len(self.watched.table))
            layout = None if frames.geometry is None else Layout(frames.geometry)
            self._frames = run, frames, layout
            return frames, layout


def _counted(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a verdict needs of a summary."""
    return {
        "frames": told["processed"],
        "hits": told["hits"],
        "false_hits": told["false_hits"],
        "peaks_per_hit": told["peaks_per_hit"],
        "resolution_a": told["resolution_a"],
    }
