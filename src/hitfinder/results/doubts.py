"""Hits that rest on one bright pixel, a track or a place, or on ice: a second look, after a run.

A frame does not tell a cosmic ray in it from a crystal's only spot in sight
(`hitfinder.finding.support`). A run does: by how often there is one bright thing in a frame and
nothing else, by how sharp the spots of its crystals are, and by what comes back to the same place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hitfinder.finding.support import BRIGHT, SPOT
from hitfinder.results.chunk import OK, ChunkResult
from hitfinder.results.explained import RingPeaks, explained_by
from hitfinder.results.static_hits import Places, frames_on_static_places, places_of

STATIC = "static-place"
"""Why a hit is not believed that rests on a place on which other frames rest too."""

_NOTHING_ELSE, _HAVE_NOTHING = 1.0, 0.9
"""Score of a frame with nothing in it is lower than this, and in how many of them."""

_OUTSIDE = 0.3
"""Share of the pixels, nearest to the beam, among which the brightest spots of crystals are. Rays
hit all pixels alike."""

_ASTRAY = 0.15
"""Crystals whose only bright spot is out there, for each of which it is nearer. Of weak simulated
ones (benchmarks/rays.py) there are 3 for 26."""

_MANY, _FLAT, _OF_GOOD = 4, 1.8, 0.5
"""Things that a frame with a good crystal shows at least; how many of these have the strongest out
there for each that has it nearer, from which on places tell nothing; and that number of weak
crystals, as a part of that of good ones."""

_AT_MOST = 1.5
"""Rays, faint ones too, per one that is counted as bright, at most."""

_USUAL_GOOD = 3
"""Good crystals that are as if seen in any run, near to the beam."""

_KINDS = ("bright", "faint", "spot")
_USUAL, _USUAL_OF = {"bright": 0.05, "faint": 0.01, "spot": 0.002}, 10
"""Lone things that runs have in so many frames, if this one does not tell: those bright alone,
the faint ones of these, and what looks like a spot."""

_PART = 0.13
"""Part of the false hits that is allowed for the product of three chances, any of which may make it
small."""

_NEARNESS = 0.5
"""Power of the share of pixels nearer to the beam. It makes the product a likelihood ratio, of rays
to crystals whose brightest spot is among the nearest quarter of the pixels as often as not."""

_FAINT_SHARE = 0.15
"""Faint things per bright one, at least: they are less than twice as bright as they need be, and
rays are taken to be as many for each factor of brightness over two decades."""

_AS_STATED = 20
"""As many frames of the run tell as much of its scores as what these are said to be."""

_SIGMAS = 1.0
"""By so many standard deviations more rays are allowed for where several are to be in a frame:
their chance goes with a power of the rate."""

_MOST_ASKED = 4.0
"""Score of a hit up to which things alone must be as rare as it says. What rays are like is not
known well enough to tell rarer ones."""

_SPREADS, _FEWEST_SEEN = 0.02, 50
"""Spots spread over pixels if so few of so many bright ones are sharp."""


def decide_by_score(rows: NDArray[np.void], least_score: float, min_peaks: int) -> None:
    """Write into rows which frames are hits by their score, and what casts doubt on these.

    Parameters
    ----------
    rows : ndarray of `hitfinder.results.chunk.FRAME_DTYPE`
        Rows with score, peaks and support; ``hit`` and ``doubt`` are overwritten.
    least_score : float
        Score of a hit.
    min_peaks : int
        Peaks that a hit has at least.
    """
    # A frame without a pixel to read has no background, and is never a hit.
    read = (rows["status"] == OK) & ~np.isnan(rows["background_per_pixel"])
    rows["hit"] = read & (rows["score"] >= least_score) & (rows["n_peaks"] >= min_peaks)
    support = rows["support"]
    doubtful = rows["hit"] & (support["n_alone"] == 1) & (support["score"] < least_score)
    rows["doubt"] = np.where(doubtful, support["kind"], "")


@dataclasses.dataclass(frozen=True, eq=False)
class Doubts:
    """What a run says of its doubtful hits.

    Attributes
    ----------
    least_score : float
        Score of a hit: minus log10 of the share of frames without a crystal that may be hits.
    rate, faint_rate, spot_rate : float
        Things bright alone per frame without a crystal, the faint ones of them, and things there
        that look like spots.
    n_frames : int
        Frames from which these follow.
    n_seen, n_sharp : int
        Bright peaks of hits that rest on several, and those without light beside them.
    static : ndarray of int
        Numbers of the frames that rest on a place on which others rest too.
    blank_scores : ndarray, shape (n,)
        Scores of the frames that are no hits, rising.
    has_ice : bool
        Whether hits have more peaks on rings of ice than beside them.
    """

    least_score: float
    rate: float = 0.0
    faint_rate: float = 0.0
    spot_rate: float = 0.0
    n_frames: int = 1
    n_seen: int = 0
    n_sharp: int = 0
    static: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    blank_scores: NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.empty(0))
    has_ice: bool = False

    @staticmethod
    def of(
        chunks: Callable[[], Iterable[ChunkResult]],
        least_score: float,
        n_pixels: int,
        peaks: Callable[[], Places] | None = None,
    ) -> Doubts:
        """Learn from a run; the order of its chunks does not matter.

        Parameters
        ----------
        chunks : callable
            Returns the results, chunk by chunk.
        least_score : float
            Score of a hit.
        n_pixels : int
            Pixels of a frame that are not masked.
        peaks : callable, optional
            Returns the peaks of all frames, in parts. By default `chunks` hold them.
        """
        gathered = _Gathered()
        for chunk in chunks():
            gathered.add(chunk, least_score)
        bright, faint, spot = (gathered.rate(kind) for kind in _KINDS)
        # Faint ones are as many for each factor of brightness as those a little brighter.
        faint = max(faint, _FAINT_SHARE * bright)
        static = frames_on_static_places(
            gathered.single,
            gathered.hits,
            gathered.n_frames,
            peaks or (lambda: map(places_of, chunks())),
            n_pixels,
        )
        seen = gathered.n_seen, gathered.n_sharp
        frames = gathered.n_blank + _USUAL_OF
        return Doubts(
            least_score,
            bright + faint,
            faint,
            spot,
            frames,
            *seen,
            static,
            gathered.scores,
            gathered.rings.show_ice,
        )

    @property
    def spots_spread(self) -> bool:
        """Whether the spots of the run have light beside their brightest pixel."""
        return self.n_seen >= _FEWEST_SEEN and self.n_sharp <= _SPREADS * self.n_seen

    def decided(self, chunk: ChunkResult) -> ChunkResult:
        """Return a chunk in which hits that the run does not believe are none, and why."""
        rows, support = chunk.rows, chunk.rows["support"]
        asked = _PART * 10.0 ** -np.clip(self.least_score, 0.0, _MOST_ASKED)
        rests = rows["hit"] & (support["n_alone"] > 0) & (support["score"] < self.least_score)
        bare = rows["hit"] & (support["n_spots"] > 0) & (support["bare_score"] < self.least_score)
        dropped = rests & (self._alone(support) > asked)
        dropped |= bare & (self._with_spots(support) > asked)
        static = np.isin(chunk.frames, self.static)
        dropped |= rows["hit"] & static
        # Where things come that look like spots, a hit that rests on one is doubtful too.
        lone = bare & (support["kind"] == SPOT) & (self.spot_rate * self.n_frames >= 1)
        explained = explained_by(rows, self.has_ice)
        if not (dropped | lone | (explained != "")).any():
            return chunk
        rows = rows.copy()
        rows["doubt"][lone] = SPOT
        rows["doubt"][dropped] = np.where(support["kind"], support["kind"], SPOT)[dropped]
        rows["doubt"][static] = STATIC
        others = ~dropped & (explained != "")
        rows["doubt"][others] = explained[others]
        rows["hit"][dropped | others] = False
        return dataclasses.replace(chunk, rows=rows)

    def _chance(
        self, number: NDArray[np.integer], rate: NDArray[np.floating] | float
    ) -> NDArray[np.float64]:
        """Chance of so many rays or more in a frame."""
        rate = np.broadcast_to(rate, number.shape)
        most = rate + _SIGMAS * np.sqrt(rate / self.n_frames)
        chance = special.pdtrc(number - 1, np.where(number > 1, most, rate))
        return np.where(number > 0, chance, 1.0)

    def _share(self, score: NDArray[np.floating]) -> NDArray[np.float64]:
        """Share of blank frames that score so: what the score says, or more if the run shows more.

        Scores are made to be right for hits. Low ones may come more often than they say.
        """
        n = len(self.blank_scores)
        reach = n - np.searchsorted(self.blank_scores, score, side="left")
        stated = 10.0 ** -np.maximum(score, 0)
        return np.maximum(stated, (reach + _AS_STATED * stated) / (n + _AS_STATED))

    def _alone(self, support: NDArray[np.void]) -> NDArray[np.float64]:
        """Share of blank frames that are at least as good as each, by what is bright alone."""
        number, is_bright = support["n_alone"], support["n_bright"] > 0
        near = support["nearer"]
        if self.spots_spread:
            # What is bright and sharp says nothing of a crystal then.
            number, near = number - support["n_bright"], np.where(is_bright, 1.0, near)
            is_bright = np.zeros(len(support), bool)
        rate = np.where(is_bright | (number > 1), self.rate, self.faint_rate)
        return self._chance(number, rate) * near**_NEARNESS * self._share(support["score"])

    def _with_spots(self, support: NDArray[np.void]) -> NDArray[np.float64]:
        """Share of blank frames that are so by what is bright alone and what looks like a spot."""
        alone, spots = support["n_alone"], support["n_spots"]
        if self.spots_spread:
            alone = alone - support["n_bright"]
        chance = self._chance(alone, self.rate) * self._chance(spots, self.spot_rate)
        near = np.where(support["kind"] == SPOT, support["nearer"], 1.0)
        return chance * near**_NEARNESS * self._share(support["bare_score"])

    def told(self) -> dict[str, Any]:
        """Return an account in plain values."""
        return {
            "lone_things_per_blank_frame": round(self.rate, 5),
            "faint_ones_of_them": round(self.faint_rate, 5),
            "spot_like_things_per_blank_frame": round(self.spot_rate, 5),
            "bright_peaks_of_sure_hits": self.n_seen,
            "of_them_without_light_beside": self.n_sharp,
            "frames_on_static_places": len(self.static),
            "ice": self.has_ice,
        }


class _Gathered:
    """What the frames of a run rest on, counted."""

    def __init__(self) -> None:
        self._hits = [np.empty(0, np.int64)]
        self.n_seen = self.n_sharp = self.n_frames = 0
        self.rings = RingPeaks()
        self._lone = {kind: np.zeros(2, int) for kind in _KINDS}
        self._good = np.zeros(2, int)
        self._single = [np.empty((0, 3))]
        self._scores = [np.empty(0)]

    def add(self, chunk: ChunkResult, least_score: float) -> None:
        rows, support = chunk.rows, chunk.rows["support"]
        hit = rows["hit"]
        self.n_frames += len(rows)
        self._hits.append(chunk.frames[hit])
        self.rings.add(rows)
        blank = rows["score"][(rows["status"] == OK) & ~hit]
        self._scores.append(blank[~np.isnan(blank)])
        one = (support["n_alone"] == 1) | (support["kind"] == SPOT)
        lone = hit & one & (support["score"] < _NOTHING_ELSE)
        company = hit & ~lone
        is_spot, is_bright = support["kind"] == SPOT, support["n_bright"] > 0
        sides = support["nearer"] > _OUTSIDE, support["nearer"] <= _OUTSIDE
        faintest = is_bright & (support["strength"] < 2 * BRIGHT)
        kinds = is_bright, faintest, is_spot & (support["strength"] >= BRIGHT)
        for kind, some in zip(_KINDS, kinds, strict=True):
            self._lone[kind] += [int((lone & some & side).sum()) for side in sides]
        good = hit & (support["n_alone"] + support["n_spots"] >= _MANY)
        self._good += [int((good & side).sum()) for side in sides]
        sure = company & ((support["score"] >= least_score) | (support["n_alone"] > 1))
        sure |= company & (support["kind"] == "")
        self.n_seen += int(support["n_seen"][sure].sum())
        self.n_sharp += int(support["n_sharp"][sure].sum())
        single = hit & (support["kind"] != "") & (support["n_alone"] <= 1)
        single &= support["score"] < least_score
        found = (chunk.frames[single], support["fs"][single], support["ss"][single])
        self._single.append(np.stack(found, 1).astype(float))

    def rate(self, kind: str) -> float:
        """Return the things of a kind per frame without a crystal.

        Rays hit all pixels alike, and the brightest spots of crystals are near the beam: how many
        of those that are seen alone are rays follows from how many are on either side of a border.
        """
        outside, inside = self._lone[kind]
        usual, flatness = _USUAL[kind] / (self.n_blank + _USUAL_OF), self._flatness()
        if flatness > _FLAT:
            return usual
        # What looks like a spot is a crystal's unless the crystals of the run are unlike it.
        astray = max(_OF_GOOD * flatness, _ASTRAY) if kind == "spot" else _ASTRAY
        n = max(outside - astray * inside, 0.0) / (1 - _OUTSIDE - astray * _OUTSIDE)
        return float(n / _HAVE_NOTHING / (self.n_blank + _USUAL_OF)) + usual

    def _flatness(self) -> float:
        """Return good crystals whose strongest spot is far from the beam per one that has it near.

        Frames of several rays are left out, as many as there would be if all that is alone far
        from the beam were rays.
        """
        alone = self._lone["bright"] + self._lone["spot"]
        rate = _AT_MOST * alone[0] / (1 - _OUTSIDE) / _HAVE_NOTHING / (self.n_blank + _USUAL_OF)
        frames = (self.n_blank + alone.sum()) / special.pdtr(1, rate)
        rays = frames * special.pdtrc(_MANY - 1, rate)
        far, near = np.maximum(self._good - rays * np.array([1 - _OUTSIDE, _OUTSIDE]), 0.0)
        return float((far + _ASTRAY * _USUAL_GOOD) / (near + _USUAL_GOOD))

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores of the frames that are no hits, rising."""
        return np.sort(np.concatenate(self._scores))

    @property
    def n_blank(self) -> int:
        """Frames that are no hits."""
        return sum(map(len, self._scores))

    @property
    def hits(self) -> NDArray[np.int64]:
        """Numbers of the frames that are hits by their score."""
        return np.concatenate(self._hits)

    @property
    def single(self) -> NDArray[np.float64]:
        """Number of each frame that rests on one thing, and its position (fs, ss)."""
        single = np.concatenate(self._single)
        return single[np.argsort(single[:, 0], kind="stable")]
