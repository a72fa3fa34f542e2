"""What a run is worth: to be kept, looked at or discarded, by stated rules, with the reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from scipy import special

from hitfinder.metrics.classification import wilson_interval
from hitfinder.report.numbers import number

Word = Literal["keep", "look", "discard"]

FEW_FRAMES = 50
"""From fewer frames nothing is concluded."""

CHANCE = 0.01
"""Hits are more than chance gives if frames without a crystal give as many so rarely."""

MOSTLY_FALSE = 0.5
"""Share of the hits that blank frames may give by the stated false-hit share."""

NEARLY_ALL = 0.98
"""Hit rate from which nearly every frame is a hit."""

FEW_PEAKS = 5
"""Peaks that indexing with a known cell needs (docs/indexing.md)."""

COARSE_A = 10.0
"""Resolution that half of the hits should surpass, in Å."""

SUSPECT = 0.5
"""Share of the hits that may rest on static places, or on doubtful peaks alone."""

SATURATED = 0.1
"""Share of the hits that may hold a peak with a saturated pixel."""

OF_ICE = ON_LINE = 0.1
"""Shares of the hits that may have most of their peaks on rings of ice, or on one line."""

ASIDE = 0.1
"""Frames that would be hits but for peaks of ice or on a line, as a share of these and the hits."""

UNREAD = 0.1
"""Share of the frames that may have no result."""

LOW_INDEX_RATE = 0.1
"""Frames that should be indexed, as a share of the hits."""

_STRICTLY = 0.95


@dataclasses.dataclass(frozen=True)
class IndexRate:
    """What indexing found.

    Attributes
    ----------
    searched, indexed : int
        Frames that were to be indexed, and those that were.
    by_chance : float
        Frames of as many without that crystal that would count as indexed.
    against : tuple of str
        What the indexed peaks say against the geometry that was used, or the cell.
    """

    searched: int
    indexed: int
    by_chance: float
    against: tuple[str, ...] = ()

    @classmethod
    def told(cls, account: Mapping[str, Any]) -> IndexRate:
        """Return what JSON has written down."""
        return cls(**{**account, "against": tuple(account.get("against", ()))})

    @property
    def more_than_chance(self) -> bool:
        """Whether the lower end of the 95 % interval of the indexed is above chance."""
        low, _ = wilson_interval(self.indexed, self.searched, _STRICTLY)
        return self.indexed > 0 and float(low) * self.searched > self.by_chance


_OF_HITS = (
    "doubtful_hits",
    "static_hits",
    "saturated_hits",
    "ice_hits",
    "line_hits",
    "aside_for_ice",
    "aside_for_lines",
)
"""What `Evidence` counts by which frames are hits."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; None where something is not known.

    Attributes
    ----------
    frames, hits : int
        Frames with results, and hits among them.
    unread : int
        Frames that could not be processed.
    false_hits : float, optional
        Stated share of frames without a crystal that are called hits.
    peaks_per_hit : float, optional
        Peaks in the median hit.
    resolution_a : float, optional
        Resolution of the median hit, in Å.
    doubtful_hits : int
        Hits all of whose peaks are likelier false than true.
    static_hits : int
        Hits most of whose peaks lie on places that do not move.
    saturated_hits : int
        Hits with a peak whose brightest pixel is saturated.
    geometry : tuple of str
        What speaks against the photon energy, camera length or beam centre that was used.
    index : IndexRate, optional
        What indexing found.
    ice_hits : int
        Hits most of whose peaks lie on rings of ice, where these hold more than there is beside
        them.
    line_hits : int
        Hits most of whose peaks lie on one line.
    aside_for_ice, aside_for_lines : int
        Frames with scores of hits that are none since ice or a line explains their peaks.
    """

    frames: int
    hits: int
    unread: int = 0
    false_hits: float | None = None
    peaks_per_hit: float | None = None
    resolution_a: float | None = None
    doubtful_hits: int = 0
    static_hits: int = 0
    saturated_hits: int = 0
    geometry: tuple[str, ...] = ()
    index: IndexRate | None = None
    ice_hits: int = 0
    line_hits: int = 0
    aside_for_ice: int = 0
    aside_for_lines: int = 0

    @classmethod
    def told(cls, account: Mapping[str, Any]) -> Evidence:
        """Return evidence as `dataclasses.asdict` and JSON have written it down."""
        index = account.get("index")
        return cls(
            **{
                **account,
                "geometry": tuple(account.get("geometry", ())),
                "index": None if index is None else IndexRate.told(index),
            }
        )

    def of_other_hits(self) -> Evidence:
        """Return what holds whichever frames are hits: none of them is counted as doubtful."""
        none: dict[str, Any] = dict.fromkeys(_OF_HITS, 0)
        return dataclasses.replace(self, **none)

    @property
    def hits_more_than_chance(self) -> bool:
        """Whether frames without a crystal would hardly give as many hits."""
        if not self.hits or self.false_hits is None:
            return bool(self.hits)
        chance = special.bdtrc(self.hits - 1, self.frames, self.false_hits)
        return bool(chance < CHANCE)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to do with a run, and why.

    Attributes
    ----------
    word : str
        ``keep``, ``look`` (a person should, before the run is used or thrown away) or ``discard``.
    reasons : tuple of str
        What decided first, then what else was found.
    """

    word: Word
    reasons: tuple[str, ...]

    @property
    def line(self) -> str:
        """The verdict and its reasons in one line."""
        return f"{self.word}: {'; '.join(self.reasons)}"

    def told(self, evidence: Evidence) -> dict[str, Any]:
        """Return what ``run.json`` says: the verdict and the `evidence` that it rests on."""
        return {
            "line": self.line,
            "word": self.word,
            "reasons": list(self.reasons),
            "evidence": dataclasses.asdict(evidence),
        }


def judge(evidence: Evidence) -> Verdict:
    """Decide what a run is worth.

    A run is kept if its hits, or the frames in which a crystal was indexed, are more than frames
    without a crystal give, and discarded otherwise. Whatever casts doubt on either, by the rules
    of this module, has a person look.

    Parameters
    ----------
    evidence : Evidence
        What the results say.

    Returns
    -------
    Verdict
        The same for the same evidence.
    """
    doubts = [*_about_frames(evidence)]
    word: Word = "discard"
    if evidence.hits_more_than_chance:
        word = "keep"
        doubts += [*_about_hits(evidence), *_about_index(evidence)]
    elif evidence.index is not None and evidence.index.more_than_chance:
        word = "keep"
    if doubts or not evidence.frames:
        word = "look"
    return Verdict(word, (*doubts, *_facts(evidence)))


def _about_frames(evidence: Evidence) -> Iterator[str]:
    """Yield what casts doubt on any conclusion."""
    if evidence.frames < FEW_FRAMES:
        yield f"only {_frames(evidence.frames)} processed, and fewer than {FEW_FRAMES} tell little"
    if evidence.unread > UNREAD * (evidence.frames + evidence.unread):
        yield f"{_frames(evidence.unread)} could not be processed"
    yield from evidence.geometry
    for aside, what in (
        (evidence.aside_for_ice, "on the rings of ice: grains of ice are in the beam"),
        (evidence.aside_for_lines, "on one line: a streak through the beam, or a failing read-out"),
    ):
        if aside > ASIDE * (evidence.hits + aside):
            yield f"{_frames(aside)} that would be hits, and are not counted, have peaks {what}"


def _about_hits(evidence: Evidence) -> Iterator[str]:
    """Yield what casts doubt on hits that are more than chance gives."""
    hits, false = evidence.hits, evidence.false_hits
    if false is not None and false * evidence.frames > MOSTLY_FALSE * hits:
        yield f"blank frames alone would give about {number(false * evidence.frames, 2)} hits"
    if hits > NEARLY_ALL * evidence.frames:
        yield (
            "nearly every frame is a hit: a very good run, or something that does not move, or a "
            "wrong mask"
        )
    if evidence.static_hits > SUSPECT * hits:
        yield f"{_of_hits(evidence.static_hits, hits)} rest on places that do not move"
    if evidence.ice_hits > OF_ICE * hits:
        yield (
            f"{_of_hits(evidence.ice_hits, hits)} have most of their peaks on the rings of ice: "
            "they may be of ice, not of the sample"
        )
    if evidence.line_hits > ON_LINE * hits:
        yield (
            f"{_of_hits(evidence.line_hits, hits)} have most of their peaks on one line, as a "
            "streak through the beam or a row that is read out badly gives them"
        )
    if evidence.doubtful_hits > SUSPECT * hits:
        yield f"{_of_hits(evidence.doubtful_hits, hits)} have doubtful peaks only"
    if evidence.saturated_hits > SATURATED * hits:
        yield (
            f"{_of_hits(evidence.saturated_hits, hits)} have saturated peaks, whose photons are "
            "cut off"
        )
    if evidence.peaks_per_hit is not None and evidence.peaks_per_hit < FEW_PEAKS:
        yield f"too few peaks to index half of the hits, which takes about {FEW_PEAKS}"
    if evidence.resolution_a is not None and evidence.resolution_a > COARSE_A:
        yield f"half of the hits do not reach {COARSE_A:.3g} Å"


def _about_index(evidence: Evidence) -> Iterator[str]:
    """Yield what casts doubt on the unit cell, or on the hits that it is to index."""
    index = evidence.index
    if index is None or not index.searched:
        return
    if not index.more_than_chance:
        yield "no more are indexed than by chance: is this the right cell, and the right geometry?"
    elif index.indexed < LOW_INDEX_RATE * min(index.searched, evidence.hits):
        yield f"fewer than {100 * LOW_INDEX_RATE:.3g} % of the hits are indexed"
    yield from index.against


def _facts(evidence: Evidence) -> Iterator[str]:
    """Yield what the results come to."""
    if not evidence.frames:
        yield "no frame was processed"
        return
    yield _hit_rate(evidence)
    if evidence.hits and not evidence.hits_more_than_chance:
        yield "which is no more than frames without a crystal give"
    if evidence.peaks_per_hit is not None:
        reach = evidence.resolution_a
        to = f", to {number(reach, 2)} Å" if reach is not None else ""
        yield f"{number(evidence.peaks_per_hit)} peaks in the median hit{to}"
    if (index := evidence.index) is not None and index.searched:
        share = 100 * index.indexed / index.searched
        yield (
            f"{number(index.indexed)} of {number(index.searched)} searched frames indexed "
            f"({share:.3g} %; by chance {number(index.by_chance, 2)})"
        )


def _hit_rate(evidence: Evidence) -> str:
    """Hits, their share with its counting error, and the share that blank frames give."""
    n, hits, false = evidence.frames, evidence.hits, evidence.false_hits
    low, high = (100 * float(end) for end in wilson_interval(hits, n, 0.68))
    by_chance = "" if false is None else f"; blank frames give {number(100 * false, 2)} %"
    are = "is a hit" if hits == 1 else "are hits"
    rate = f"{100 * hits / n:.3g} %, 68 % interval {number(low, 2)} to {number(high, 2)} %"
    return f"{number(hits)} of {_frames(n)} {are} ({rate}{by_chance})"


def _frames(n: int) -> str:
    return "1 frame" if n == 1 else f"{number(n)} frames"


def _of_hits(n: int, hits: int) -> str:
    return f"{number(n)} of {number(hits)} hits"
