"""Simulated crystals, searched in all pixels of their frames by what is known of them.

A frame counts as a hit if its best orientation is likelier than those of all but 1 % of the blanks,
by Gumbel's distribution fitted to the blanks, which are searched in the same way. It is indexed if
`hitfinder index` would call it so, and right if it is within 0.5° of the truth, up to the lattice's
symmetry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.indexing.known.chance import Chance
from hitfinder.job.indexing.by_pixels import is_sure
from hitfinder.job.indexing.pixels import Judge
from hitfinder.suite.condition import Condition
from hitfinder.suite.hits import FALSE_HITS, half_point
from hitfinder.suite.known_crystals import KNOWN, photons_over_usual, told
from hitfinder.suite.known_search import PixelSearcher, SearchedFrame
from hitfinder.suite.simulated import (
    Settings,
    SimulatedCondition,
    flux_condition,
    flux_settings,
    shot_text,
)

SCALES = {1: (0.001, 0.0003, 0.0001), 100: (0.003, 0.001, 0.0005), 2000: (0.01, 0.003, 0.0015)}
"""Factors on the Bragg photons of proteinase K about the one at which half of the hits are found,
by shots of water."""

HITS, BLANKS = 16, 30
"""Frames of each Bragg scale, and blanks."""

QUICK_HITS, QUICK_BLANKS = 2, 8

Progress = Callable[[int], object]


class KnownPart(Protocol):
    """A part of the suite on known crystals, which can be pickled."""

    @property
    def name(self) -> str:
        """Its name, by which it can be chosen."""

    @property
    def n_frames(self) -> int:
        """Frames that are searched."""

    def judged(self, progress: Progress) -> dict[str, Any]:
        """Search the frames and count, ready for JSON; `progress` is told of frames done."""


@dataclasses.dataclass(frozen=True, eq=False)
class SimulatedPart:
    """Frames of a crystal under one background, searched by one knowledge of it.

    Attributes
    ----------
    condition : Condition
        Its groups are Bragg scales.
    settings : mapping
        What differs from the preset ``report``.
    factors : StructureFactors
        |F|² of the crystal.
    known : str
        One of `hitfinder.suite.known_crystals.KNOWN`.
    """

    condition: Condition
    settings: Settings
    factors: StructureFactors
    known: str

    @property
    def name(self) -> str:
        """Name of the background and of what is known."""
        return f"{self.condition.name}-{self.known.replace(' ', '-')}"

    @property
    def n_frames(self) -> int:
        """Hits and blanks."""
        return self.condition.n_hits + self.condition.n_blanks

    def judged(self, progress: Progress) -> dict[str, Any]:
        """Search the blanks, which set the threshold, and the hits; count what is found.

        Parameters
        ----------
        progress : callable
            Told the number of frames done since the last call.

        Returns
        -------
        dict
            Counts by Bragg scale (``scales``), the scale at which half of the frames are hits
            (``half_scale``) and at which their true orientations would be (``half_scale_limit``),
            what chance reaches (``chance``), and the time of a frame.
        """
        c = self.condition
        maker = SimulatedCondition(c, self.settings, self.factors)
        searcher = PixelSearcher.of(*told(self.factors, self.known), maker.geometry())
        seconds: list[float] = []

        def searched(frame: NDArray[np.integer]) -> SearchedFrame:
            one = searcher(frame)
            seconds.append(one.seconds)
            progress(1)
            return one

        background = maker.expected_background()
        blanks = [searched(maker.blank(None, k)) for k in range(c.n_blanks)]
        chance = Chance.fitted([one.log_ratio for one in blanks])
        least = chance.least(FALSE_HITS)
        judge = Judge.learnt(searcher.crystal.lattice, [one.rated for one in blanks if one.rated])

        def looked(number: int) -> HitOutcome:
            frame, axes = maker.hit(None, number)[0], maker.axes(number)
            limit = true_ratio(frame, maker.expected_bragg(number), background) >= least
            one = searched(frame)
            indexed = bool(one.rated) and is_sure(judge.judged(number, one.rated), FALSE_HITS)
            return HitOutcome(
                one.log_ratio,
                one.log_ratio >= least,
                searcher.is_right(one.found, axes),
                indexed,
                indexed and searcher.is_right(one.rated, axes),
                limit,
            )

        groups = len(c.groups)
        outcomes = [[looked(k) for k in range(g, c.n_hits, groups)] for g in range(groups)]
        rows = {name: counted(ones) for name, ones in zip(c.groups, outcomes, strict=True)}
        return {
            "name": self.name,
            "title": f"{shot_text(c.shots)} of water",
            "frames": "simulated",
            "shots": c.shots,
            "known": self.known,
            "crystal": f"{self.factors.source}, {self.factors.cell}",
            "scales": rows,
            "half_scale": _half(rows, "hits"),
            "half_scale_limit": _half(rows, "limit"),
            "blanks": sorted(round(one.log_ratio, 1) for one in blanks),
            "chance": dataclasses.asdict(chance) | {"least": least},
            "seconds_a_frame": round(float(np.median(seconds)), 2),
        }


@dataclasses.dataclass(frozen=True)
class HitOutcome:
    """What became of a frame with a crystal.

    Attributes
    ----------
    log_ratio : float
        Of its best orientation.
    hit, right : bool
        Whether that is beyond all but 1 % of the blanks, and the true one.
    indexed, indexed_right : bool
        Whether `hitfinder index` calls it indexed, and in its true orientation.
    limit : bool
        Whether the true orientation, with the true background and footprints, is beyond all but
        1 % of the blanks.
    """

    log_ratio: float
    hit: bool
    right: bool
    indexed: bool
    indexed_right: bool
    limit: bool


def counted(outcomes: Sequence[HitOutcome]) -> dict[str, Any]:
    """Count the outcomes of the frames of a Bragg scale."""
    return {
        "of": len(outcomes),
        "hits": sum(one.hit for one in outcomes),
        "right": sum(one.right for one in outcomes),
        "hits_not_right": sum(one.hit and not one.right for one in outcomes),
        "indexed": sum(one.indexed for one in outcomes),
        "indexed_wrong": sum(one.indexed and not one.indexed_right for one in outcomes),
        "limit": sum(one.limit for one in outcomes),
        "ratios": [round(one.log_ratio, 1) for one in outcomes],
    }


def _half(rows: Mapping[str, Mapping[str, Any]], what: str) -> dict[str, float]:
    """Return the scale at which half of the frames are what is counted."""
    n_found = [row[what] for row in rows.values()]
    totals = [row["of"] for row in rows.values()]
    return dataclasses.asdict(half_point([float(name) for name in rows], n_found, totals))


def simulated_parts(
    factors: StructureFactors,
    hits: int = HITS,
    blanks: int = BLANKS,
    shots: Sequence[int] = tuple(SCALES),
    known: Sequence[str] = KNOWN,
) -> list[SimulatedPart]:
    """Return the parts with frames of a crystal, for every background and all that may be known.

    The photon energy is 6 keV and the camera length 0.15 m. Crystals that give more or fewer Bragg
    photons than proteinase K get scales that make up for it.

    Parameters
    ----------
    factors : StructureFactors
        |F|² of the crystal.
    hits, blanks : int
        Frames of each Bragg scale, and blanks.
    shots : sequence of int
        Backgrounds, of `SCALES`.
    known : sequence of str
        What searches are told, of `hitfinder.suite.known_crystals.KNOWN`.

    Raises
    ------
    ConfigError
        If no reflection of the crystal reaches the detector.
    """
    usual = SimulatedCondition(flux_condition(1), flux_settings(1))
    more = photons_over_usual(factors, usual.geometry())
    if not more > 0:
        what = "no reflection of the crystal reaches the detector of the suite"
        raise ConfigError(what, factors.source or str(factors.cell))
    return [
        SimulatedPart(_condition(n, more, hits, blanks), flux_settings(n), factors, one)
        for n in shots
        for one in known
    ]


def _condition(shots: int, more: float, hits: int, blanks: int) -> Condition:
    """Return the condition of a crystal that gives so many times as many photons as usual."""
    # Two digits are as exact as half of the hits will be.
    scales = tuple(float(f"{scale / more:.2g}") for scale in SCALES[shots])
    return dataclasses.replace(
        flux_condition(shots),
        name=f"known-{shots}",
        family="known",
        groups=tuple(f"{scale:g}" for scale in scales),
        n_hits=hits * len(scales),
        n_blanks=blanks,
        scales=scales,
    )


def true_ratio(
    frame: NDArray[np.integer], bragg: NDArray[np.floating], background: NDArray[np.floating]
) -> float:
    """Return the log likelihood ratio of a hit for its own crystal, of which everything is known.

    Parameters
    ----------
    frame : ndarray
        Counts.
    bragg, background : ndarray, shape of a frame
        Photons expected from the crystal and from all else.
    """
    ratio = frame * np.log1p(bragg / np.maximum(background, 1e-12)) - bragg
    return float(ratio[background > 0].sum())
