"""Hits that rest on one bright pixel, a track or a place: a second look at the end of a run.

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
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hitfinder.finding.static.alike import stay_a_while
from hitfinder.finding.support import BRIGHT
from hitfinder.results.chunk import OK, ChunkResult

STATIC = "static-place"
"""Why a hit is not believed that rests on a place on which other frames rest too."""

_NOTHING_ELSE, _HAVE_NOTHING = 1.0, 0.9
"""Score of a frame with nothing in it is lower than this, and in how many of them."""

_OUTSIDE = 0.3
"""Share of the pixels, nearest to the beam, among which the brightest spots of crystals are. Rays
hit all pixels alike."""

_ALONE = 0.1
"""Crystals of which one bright spot is seen out there and nothing else, per crystal that shows more
besides a spot there."""

_USUAL, _USUAL_FAINT, _USUAL_OF = 0.05, 0.01, 10
"""Lone things, bright and faint, that runs have in so many frames, if this one does not tell."""

_BRIGHT_PART, _FAINT_PART, _SEVERAL_PART = 0.07, 0.3, 0.25
"""Parts of the false hits that are allowed for bright things alone, faint ones, and several. That
of the first is small, as its two chances are multiplied: either may make their product small."""

_MOST_ASKED = 4.0
"""Score of a hit up to which things alone must be as rare as it says. What rays are like is not
known well enough to tell rarer ones."""

_SPREADS, _FEWEST_SEEN = 0.02, 50
"""Spots spread over pixels if so few of so many bright ones are sharp."""

_SAME_PX, _CROWDED, _FALSE_PLACES = 1.0, 10.0, 0.05
"""Distance of what is one place; how much more frequent spots are where they are most frequent;
places of a run that chance may bring twice."""


Places = Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Peaks in parts: the frame of each, and its position (fs, ss)."""


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
    rate, faint_rate : float
        Things bright alone per frame without a crystal, and the faint ones of them.
    n_seen, n_sharp : int
        Bright peaks of hits that rest on several, and those without light beside them.
    static : ndarray of int
        Numbers of the frames that rest on a place on which others rest too.
    """

    least_score: float
    rate: float = 0.0
    faint_rate: float = 0.0
    n_seen: int = 0
    n_sharp: int = 0
    static: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

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
        crystals = _ALONE * gathered.n_company_outside
        share = _HAVE_NOTHING * (1 - _OUTSIDE)
        bright, faint = (
            (max(n - crystals, 0.0) / share + usual) / (gathered.n_blank + _USUAL_OF)
            for n, usual in ((gathered.n_outside, _USUAL), (gathered.n_faintest, _USUAL_FAINT))
        )
        static = _static(gathered, peaks or (lambda: map(places_of, chunks())), n_pixels)
        # Faint ones are taken to be as many, for each factor of brightness, as bright ones.
        return Doubts(least_score, bright + faint, faint, gathered.n_seen, gathered.n_sharp, static)

    @property
    def spots_spread(self) -> bool:
        """Whether the spots of the run have light beside their brightest pixel."""
        return self.n_seen >= _FEWEST_SEEN and self.n_sharp <= _SPREADS * self.n_seen

    def decided(self, chunk: ChunkResult) -> ChunkResult:
        """Return a chunk in which hits that the run does not believe are none, and why."""
        rows, support = chunk.rows, chunk.rows["support"]
        doubted = rows["hit"] & (support["n_alone"] > 0)
        doubted &= support["score"] < self.least_score
        number, is_bright = support["n_alone"], support["n_bright"] > 0
        rate = np.where(is_bright, self.rate, self.faint_rate)
        part = np.where(is_bright, _BRIGHT_PART, _FAINT_PART)
        near = np.where(is_bright & (number == 1), support["nearer"], 1.0)
        part = np.where(number > 1, _SEVERAL_PART, part)
        if self.spots_spread:
            # What is bright and sharp says nothing of a crystal then.
            number = number - support["n_bright"]
            rate, near = np.full(len(rows), self.faint_rate), np.ones(len(rows))
            part = np.where(number > 0, _FAINT_PART, 1.0)
        chance = stats.poisson.sf(number - 1, rate) * near
        chance *= 10.0 ** -np.maximum(support["score"], 0)
        unlikely = chance <= part * 10.0 ** -np.clip(self.least_score, 0.0, _MOST_ASKED)
        static = np.isin(chunk.frames, self.static)
        dropped = (doubted & ~unlikely) | (rows["hit"] & static)
        if not dropped.any():
            return chunk
        rows = rows.copy()
        rows["doubt"][dropped] = support["kind"][dropped]
        rows["doubt"][static] = STATIC
        rows["hit"][dropped] = False
        return dataclasses.replace(chunk, rows=rows)

    def told(self) -> dict[str, Any]:
        """Return an account in plain values."""
        return {
            "lone_things_per_blank_frame": round(self.rate, 5),
            "faint_ones_of_them": round(self.faint_rate, 5),
            "bright_peaks_of_sure_hits": self.n_seen,
            "of_them_without_light_beside": self.n_sharp,
            "frames_on_static_places": len(self.static),
        }


class _Gathered:
    """What the frames of a run rest on, counted."""

    def __init__(self) -> None:
        self._hits = [np.empty(0, np.int64)]
        self.n_blank = self.n_outside = self.n_faintest = self.n_company_outside = 0
        self.n_seen = self.n_sharp = self.n_frames = 0
        self._single = [np.empty((0, 3))]

    def add(self, chunk: ChunkResult, least_score: float) -> None:
        rows, support = chunk.rows, chunk.rows["support"]
        hit = rows["hit"]
        self.n_frames += len(rows)
        self._hits.append(chunk.frames[hit])
        self.n_blank += int(((rows["status"] == OK) & ~hit).sum())
        lone = hit & (support["n_alone"] == 1) & (support["score"] < _NOTHING_ELSE)
        outside = hit & (support["nearer"] > _OUTSIDE) & (support["n_bright"] > 0)
        self.n_outside += int((lone & outside).sum())
        self.n_faintest += int((lone & outside & (support["strength"] < 2 * BRIGHT)).sum())
        company = hit & ~lone
        self.n_company_outside += int((company & outside).sum())
        sure = company & ((support["score"] >= least_score) | (support["n_alone"] > 1))
        sure |= company & (support["kind"] == "")
        self.n_seen += int(support["n_seen"][sure].sum())
        self.n_sharp += int(support["n_sharp"][sure].sum())
        single = hit & (support["kind"] != "") & (support["n_alone"] <= 1)
        single &= support["score"] < least_score
        found = (chunk.frames[single], support["fs"][single], support["ss"][single])
        self._single.append(np.stack(found, 1).astype(float))

    @property
    def hits(self) -> NDArray[np.int64]:
        """Numbers of the frames that are hits by their score."""
        return np.concatenate(self._hits)

    @property
    def single(self) -> NDArray[np.float64]:
        """Number of each frame that rests on one thing, and its position (fs, ss)."""
        single = np.concatenate(self._single)
        return single[np.argsort(single[:, 0], kind="stable")]


def places_of(chunk: ChunkResult) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the frame of each peak of a chunk, and its position (fs, ss)."""
    at = np.stack([chunk.peaks["fs"], chunk.peaks["ss"]], 1)
    return chunk.frame_of_peak, at.astype(float)


def _static(gathered: _Gathered, peaks: Callable[[], Places], n_pixels: int) -> NDArray[np.int64]:
    """Return the frames that rest on one place, on which others that share nothing rest too.

    Frames in a row may show a crystal that stays; one that hits with other peaks show more often
    never turns.
    """
    single = gathered.single
    none = np.empty(0, np.int64)
    if len(single) < 2:
        return none
    pairs = cKDTree(single[:, 1:]).query_pairs(_SAME_PX, output_type="ndarray")
    near = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(len(single),) * 2)
    n_places, place = connected_components(near, directed=False)
    times = np.bincount(place)
    usual = len(single) * np.pi * _SAME_PX**2 * _CROWDED / max(n_pixels, 1)
    often = (times >= 2) & (stats.poisson.sf(times - 2, usual) * len(single) <= _FALSE_PLACES)
    if not often.any():
        return none
    last = int(single[-1, 0]) + 1
    shape = (max(gathered.n_frames, last), n_places)
    shown = sparse.csc_array((np.ones(len(single)), (single[:, 0].astype(int), place)), shape=shape)
    often &= ~stay_a_while(shown)
    first = np.unique(place, return_index=True)[1]
    others = np.setdiff1d(gathered.hits, single[:, 0].astype(np.int64))
    often &= _with_others(peaks, single[first, 1:], others) < times
    return single[often[place], 0].astype(np.int64)


def _with_others(
    peaks: Callable[[], Places], places: NDArray[np.float64], hits: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Count the hits of some that have a peak at each place."""
    tree, times = cKDTree(places), np.zeros(len(places), np.int64)
    for owner, at in peaks():
        mine = np.isin(owner, hits)
        if not mine.any():
            continue
        distance, place = tree.query(at[mine], distance_upper_bound=_SAME_PX)
        known = np.isfinite(distance)
        seen = np.unique(np.stack([owner[mine][known], place[known]], 1), axis=0)
        times += np.bincount(seen[:, 1].astype(np.intp), minlength=len(places))
    return times
