"""How many pulses an experiment needs: hits, indexed frames and completeness against pulses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hitfinder.errors import ConfigError
from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import Executor
from hitfinder.executors.processes import available_cores
from hitfinder.finding.settings import FinderSettings
from hitfinder.metrics.classification import wilson_interval
from hitfinder.progress import Advance, counting
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.suite.trial import Trial, attempt_pulses

N_TRIED = 100
"""Pulses that are tried if nobody says how many."""

PULSES = (1_000, 10_000, 100_000, 1_000_000)
CONFIDENCE = 0.68


@dataclasses.dataclass(frozen=True)
class Rate:
    """A share of pulses with its 68 % interval (Wilson)."""

    value: float
    low: float
    high: float

    @staticmethod
    def of(n: int, total: int) -> Rate:
        """Return the rate of `n` out of `total`."""
        low, high = wilson_interval(n, total, CONFIDENCE)
        return Rate(n / total, float(low), float(high))

    def times(self, factor: float, offset: float = 0.0) -> Rate:
        """Return the rate scaled and shifted."""
        return Rate(*(offset + factor * end for end in dataclasses.astuple(self)))

    def expected(self, pulses: float) -> Rate:
        """Return how many pulses of so many this happens to, with the error of that number.

        The rate's own uncertainty and the counting error of the pulses (binomial) are added in
        quadrature.
        """
        mean = self.value * pulses
        counting = math.sqrt(max(mean * (1 - self.value), 0.0))
        down = math.hypot(mean - self.low * pulses, counting)
        up = math.hypot(self.high * pulses - mean, counting)
        return Rate(mean, max(0.0, mean - down), min(float(pulses), mean + up))

    def pulses_for(self, wanted: float) -> Rate:
        """Return how many pulses give so many; infinite where the rate is 0."""
        ends = (self.value, self.high, self.low)
        return Rate(*(wanted / end if end > 0 else math.inf for end in ends))


@dataclasses.dataclass(frozen=True, eq=False)
class PulsePlan:
    """What an experiment gives for so many pulses, by a trial of some.

    Attributes
    ----------
    settings : SimulationSettings
        The experiment.
    trial : Trial
        The pulses that were tried; each met a crystal.
    false_hits : float
        Stated share of pulses without a crystal that are called hits.
    resolution_a : float
        To which completeness is meant, in Å.
    """

    settings: SimulationSettings
    trial: Trial
    false_hits: float
    resolution_a: float

    @property
    def crystal_share(self) -> float:
        """Share of the pulses that meet a crystal."""
        return 1 - self.settings.blank_fraction

    @property
    def found(self) -> Rate:
        """Share of pulses with a crystal that are hits."""
        return self._share([o.hit for o in self.trial.outcomes])

    @property
    def solved(self) -> Rate:
        """Share of pulses with a crystal that are indexed rightly."""
        return self._share([o.right for o in self.trial.outcomes])

    def _share(self, flags: Sequence[bool]) -> Rate:
        return Rate.of(sum(flags), len(flags))

    @property
    def hits(self) -> Rate:
        """Hits per pulse, those of pulses without a crystal included."""
        return self.found.times(self.crystal_share, (1 - self.crystal_share) * self.false_hits)

    @property
    def indexed(self) -> Rate:
        """Frames indexed rightly, per pulse."""
        return self.solved.times(self.crystal_share)

    def peaks_per_hit(self) -> tuple[float, float, float]:
        """Return the median of the peaks in a hit, and the quartiles; NaN without hits."""
        peaks = [o.n_peaks for o in self.trial.outcomes if o.hit]
        if not peaks:
            return (math.nan,) * 3
        low, middle, high = np.percentile(peaks, [25, 50, 75])
        return float(middle), float(low), float(high)

    @property
    def _per_frame(self) -> NDArray[np.float64]:
        """Times that an indexed frame records a unique reflection; shape of `Shells.unique`."""
        recorded = np.mean([o.recorded for o in self.trial.outcomes], axis=0)
        shells = self.trial.shells
        return np.outer(shells.equivalents, recorded / np.maximum(shells.points, 1))

    @property
    def _within(self) -> NDArray[np.int64]:
        """Unique reflections within the resolution; shape of `Shells.unique`."""
        shells = self.trial.shells
        inside = shells.edges[1:] <= 1.001 / self.resolution_a
        inside[0] = True
        return np.where(inside, shells.unique, 0)

    def completeness(self, frames: float) -> float:
        """Return the share of unique reflections that so many indexed frames record.

        Crystals lie at random, so that a reflection which a frame records k times on average is
        missed by N frames with the probability exp(-N k). All reflections of a shell are recorded
        equally often; a unique one as often as it has equivalents.
        """
        seen = -np.expm1(-frames * self._per_frame)
        return float((self._within * seen).sum() / max(self._within.sum(), 1))

    def multiplicity(self, frames: float) -> float:
        """Return how often so many indexed frames record a unique reflection, on average."""
        times = frames * (self._within * self._per_frame).sum()
        return float(times / max(self._within.sum(), 1))

    def frames_for(self, completeness: float) -> float:
        """Return the indexed frames that a completeness takes; infinite if none do."""
        if self.completeness(1e12) < completeness:
            return math.inf
        return float(brentq(lambda n: self.completeness(n) - completeness, 0, 1e12, xtol=0.1))

    def told(self, pulses: Sequence[int], indexed: float, completeness: float) -> dict[str, Any]:
        """Return the plan in plain values.

        Parameters
        ----------
        pulses : sequence of int
            For which to say what they give.
        indexed, completeness : float
            Indexed frames, and completeness, for which to say how many pulses they take.
        """
        outcomes = self.trial.outcomes
        middle, low, high = self.peaks_per_hit()
        frames = self.frames_for(completeness)
        told = {
            "tried": {
                "pulses": len(outcomes),
                "hits": sum(o.hit for o in outcomes),
                "indexed": sum(o.indexed for o in outcomes),
                "indexed_rightly": sum(o.right for o in outcomes),
                "photons_per_pulse": float(np.median([o.photons for o in outcomes])),
            },
            "share_of_pulses_with_crystal": self.crystal_share,
            "false_hits": self.false_hits,
            "hits_of_pulses_with_crystal": _plain(self.found),
            "indexed_of_pulses_with_crystal": _plain(self.solved),
            "peaks_per_hit": {"median": middle, "quartiles": [low, high]},
            "resolution_a": self.resolution_a,
            "pulses": [self._row(n) for n in pulses],
            "needed": {
                "indexed_frames": {"wanted": indexed, "pulses": self._needed(indexed)},
                "completeness": {
                    "wanted": completeness,
                    "indexed_frames": frames,
                    "pulses": self._needed(frames),
                },
            },
        }
        return _finite(told)

    def _row(self, pulses: int) -> dict[str, Any]:
        indexed = self.indexed.expected(pulses)
        return {
            "pulses": pulses,
            "hits": _plain(self.hits.expected(pulses)),
            "indexed": _plain(indexed),
            "completeness": self.completeness(indexed.value),
            "multiplicity": self.multiplicity(indexed.value),
        }

    def _needed(self, frames: float) -> dict[str, float]:
        return _plain(self.indexed.pulses_for(frames))


def _plain(rate: Rate) -> dict[str, float]:
    return dataclasses.asdict(rate)


def _finite(told: Any) -> Any:
    """Return plain values with None for what is infinite or unknown, as JSON has no word for it."""
    if isinstance(told, Mapping):
        return {key: _finite(value) for key, value in told.items()}
    if isinstance(told, list):
        return [_finite(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told


def plan(
    settings: SimulationSettings,
    n: int = N_TRIED,
    *,
    finder: FinderSettings | None = None,
    resolution_a: float | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    show: Callable[[str, int], AbstractContextManager[Advance]] = counting,
) -> PulsePlan:
    """Try an experiment out, to tell how many pulses it needs.

    Pulses that meet a crystal are simulated, and searched and indexed as real frames are. What
    many pulses give is extrapolated from the shares that are hits and are indexed.

    Parameters
    ----------
    settings : SimulationSettings
        The experiment.
    n : int
        Pulses to try.
    finder : FinderSettings, optional
        How peaks are found; as a run would by default.
    resolution_a : float, optional
        To which completeness is meant, in Å; by default that of the median hit, or the finest of
        the structure if there is no hit.
    workers : int, optional
        Processes; as many as there are cores if not given.
    executor : Executor, optional
        Has the frames tried, instead of so many workers.
    show : callable
        As `hitfinder.progress.counting`, which is the default.

    Raises
    ------
    HitfinderError
        If a setting is impossible, or names what cannot be used.
    """
    if n < 1:
        raise ConfigError(f"the number of pulses to try must be at least 1, got {n}")
    chosen = finder or FinderSettings()
    most = available_cores() if workers is None else workers
    with executor or executor_for(min(most, n)) as used, show("trying", n) as advance:
        trial = attempt_pulses(settings, n, chosen, used, advance)
    finest = float(1 / trial.shells.edges[-1])
    if resolution_a is None:
        reached = [o.resolution_a for o in trial.outcomes if o.hit and o.resolution_a > 0]
        resolution_a = max(float(np.median(reached)), finest) if reached else finest
    elif resolution_a < finest * 0.999:
        raise ConfigError(
            f"reflections are simulated to {finest:.3g} Å only, {resolution_a:g} Å is finer",
            "--resolution-a",
            "Give --set crystal.d_min_a too.",
        )
    return PulsePlan(settings, trial, 10**-chosen.least_score, resolution_a)
