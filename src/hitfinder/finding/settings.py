"""What a user may choose about finding peaks and hits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TypedDict


@dataclasses.dataclass(frozen=True)
class FinderSettings:
    """What the user may choose; the defaults suit every background and flux.

    Parameters
    ----------
    false_peaks : float
        False peaks allowed per blank frame; of the likelihood finder also their share in any frame.
    peak_probability : float
        Probability from which peaks are kept in a hit (network).
    fill_from, fill_to : int
        A hit that keeps `fill_from` peaks or more is filled up to `fill_to` with the likeliest of
        the others (network): an indexer does more with six peaks, one of them false, than with
        four. With a `fill_to` of 0 none is filled up.
    fill_share : float
        Least probability of the peaks that fill up, as a share of `peak_probability` (network).
    false_hits : float
        Share of blank frames that may be called hits.
    hit_threshold : float, optional
        Least score of a hit; by default minus log10 of `false_hits`.
    min_peaks : int
        Least number of peaks of a hit.
    finder : str
        Who judges candidates: a trained ``network``, their ``likelihood`` alone, another name of
        `hitfinder.finding.registry.FINDERS`, or ``module:Class``.
    model : str
        Trained model: name of one that comes with the package, or a folder.
    options : mapping of str to str
        What the finder takes besides; each finder has its own (`OPTIONS` of its class).
    """

    false_peaks: float = 0.02
    peak_probability: float = 0.3
    fill_from: int = 3
    fill_to: int = 6
    fill_share: float = 1 / 3
    false_hits: float = 0.01
    hit_threshold: float | None = None
    min_peaks: int = 0
    finder: str = "network"
    model: str = "low-flux"
    options: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("false_peaks", "peak_probability", "false_hits"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.hit_threshold is not None and not math.isfinite(self.hit_threshold):
            raise ValueError(f"hit_threshold must be finite, got {self.hit_threshold}")
        for name in ("min_peaks", "fill_from", "fill_to"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.fill_share <= 1:
            raise ValueError(f"fill_share must be between 0 and 1, got {self.fill_share}")

    @property
    def least_score(self) -> float:
        """Score a frame needs to be a hit."""
        return -math.log10(self.false_hits) if self.hit_threshold is None else self.hit_threshold


class FinderOptions(TypedDict, total=False):
    """The fields of `FinderSettings` as keyword arguments of a finder."""

    false_peaks: float
    peak_probability: float
    fill_from: int
    fill_to: int
    fill_share: float
    false_hits: float
    hit_threshold: float | None
    min_peaks: int
    model: str
    options: Mapping[str, str]
