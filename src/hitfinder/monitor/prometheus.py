"""What a run says of itself as Prometheus metrics, in its text format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_LEDGER = {
    "received": "Frames that came as messages with a number.",
    "duplicates": "Frames that came once more.",
    "passed_over": "Frames that came faster than they could be processed.",
    "damaged": "Frames that could not be unpacked.",
    "decoded": "Frames that could be unpacked.",
    "processed": "Frames that have results.",
    "failed": "Frames that were unpacked but have no results.",
    "written": "Frames that have their row on disk.",
}
_LEDGER_NOW = {
    "expected": "Frames that the header announced.",
    "waiting": "Frames that are not settled yet.",
    "not_received": "Frames that are missing, or still to come.",
}
_COUNTS = {
    "hits": "Frames that are hits; doubtful ones may be decided anew.",
    "peaks": "Bragg peaks.",
}
_HANDED = {
    "offered": "Hits offered to those who ask for them, by what became of them.",
    "published": "Hits for subscribers, by what became of them.",
}
_ALSO = {
    "subscribers": "Programs that have subscribed.",
    "missed_by_some": "Hits sent that not every subscriber got.",
}
_INDEX = {
    "searched": "Hits that were to be indexed.",
    "indexed": "Hits that were indexed.",
    "by_chance": "Hits that were indexed with their peaks turned at random.",
    "skipped": "Hits that came while all indexers were busy.",
}
_BEAM = {
    ("energy", "ev"): "Photon energy that water tells, in eV, by the frames it is from.",
    ("camera_length", "m"): "Camera length that water tells, in m, by the frames it is from.",
}


class RunMetrics(Collector):
    """The metrics of a run.

    Parameters
    ----------
    live : mapping
        What ``live.json`` says; empty for a run that is not live.
    frames : mapping
        Number of frames by status.
    hits : int
        Frames that are hits.
    state : str
        ``waiting``, ``running``, ``complete`` or ``interrupted``.
    """

    def __init__(
        self, live: Mapping[str, Any], frames: Mapping[str, int], hits: int, state: str
    ) -> None:
        self._live, self._frames, self._hits, self._state = live, frames, hits, state

    def text(self) -> bytes:
        """Return all of them in the text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        state = GaugeMetricFamily(
            "hitfinder_state", "1 for the state of the run.", labels=["state"]
        )
        state.add_metric([self._state], 1)
        yield state
        by_status = GaugeMetricFamily(
            "hitfinder_frames", "Frames with a row by status.", labels=["status"]
        )
        for status, n in sorted(self._frames.items()):
            by_status.add_metric([status], n)
        yield by_status
        yield GaugeMetricFamily("hitfinder_hits", _COUNTS["hits"], value=self._hits)
        if self._live:
            yield from self._of_live()

    def _of_live(self) -> Iterator[Metric]:
        ledger = self._live.get("ledger", {})
        for name, words in _LEDGER.items():
            if name in ledger:
                yield CounterMetricFamily(f"hitfinder_ledger_{name}", words, value=ledger[name])
        for name, words in _LEDGER_NOW.items():
            yield from _gauge(f"hitfinder_ledger_{name}", words, ledger.get(name))
        words = "Longest time from a frame's message to its result on disk."
        yield from _gauge("hitfinder_slowest_seconds", words, ledger.get("slowest_s"))
        for name, what in (("median", "0.5"), ("p99", "0.99")):
            words = f"Time from message to result, quantile {what} of the last frames."
            yield from _gauge(
                f"hitfinder_delay_{name}_seconds", words, self._live.get("delays_s", {}).get(name)
            )
        yield from _gauge(
            "hitfinder_peaks", _COUNTS["peaks"], self._live.get("counts", {}).get("peaks")
        )
        words = "Time at which the run last told of itself, in seconds since 1970."
        yield from _gauge("hitfinder_updated_timestamp_seconds", words, self._live.get("updated"))
        words = "Messages by what they were."
        yield _by_label("hitfinder_messages", words, "kind", self._live.get("messages", {}))
        for name, words in _HANDED.items():
            told = dict(self._live.get(name) or {})
            # What is no outcome, and hits that are among others.
            told.pop("hits", None)
            for also, what in _ALSO.items():
                yield from _gauge(f"hitfinder_{name}_{also}", what, told.pop(also, None))
            if told:
                yield _by_label(f"hitfinder_{name}_hits", words, "outcome", told)
        index = self._live.get("index_rate") or {}
        for name, words in _INDEX.items():
            if name in index:
                yield CounterMetricFamily(f"hitfinder_index_{name}", words, value=index[name])
        yield from self._of_beam()

    def _of_beam(self) -> Iterator[Metric]:
        for (name, unit), words in _BEAM.items():
            told = self._live.get(name) or {}
            value = GaugeMetricFamily(f"hitfinder_{name}_{unit}", words, labels=["frames"])
            sigma = GaugeMetricFamily(
                f"hitfinder_{name}_sigma_{unit}", "Its standard deviation.", labels=["frames"]
            )
            for when in ("run", "start", "recent"):
                one = told.get(when) or {}
                if _is_number(one.get(unit)):
                    value.add_metric([when], one[unit])
                    sigma.add_metric([when], one[f"sigma_{unit}"])
            yield from (value, sigma)
            yield from _gauge(
                f"hitfinder_{name}_set_{unit}", "The value that was set.", told.get(f"set_{unit}")
            )
        if "drift" in self._live:
            words = "Whether photon energy or camera length drifts."
            yield from _gauge("hitfinder_drifts", words, int(self._live["drift"]["drifts"]))


def _gauge(name: str, words: str, value: Any) -> Iterator[Metric]:
    """Yield a gauge, unless its value is not known."""
    if _is_number(value):
        yield GaugeMetricFamily(name, words, value=value)


def _by_label(name: str, words: str, label: str, counts: Mapping[str, Any]) -> Metric:
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, n in counts.items():
        if _is_number(n):
            family.add_metric([key], n)
    return family


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
