"""What a frame's score rests on: things that would each make it a hit, and what is left without.

One bright pixel, or a straight track, is what a cosmic ray or a radioactive nucleus leaves in a
detector; the spot of a crystal is never that where the point spread says otherwise, and has others
beside it. No frame tells by itself how sharp spots are and how often rays come: a run does
(`hitfinder.results.doubts`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hitfinder.finding.joined import connected, lit_pixels
from hitfinder.finding.result import Proposal, Support
from hitfinder.finding.rings import Rings
from hitfinder.finding.sharp import counts_at, is_sharp
from hitfinder.finding.texture import expected
from hitfinder.geometry.geometry import Geometry

PIXEL, TRACK, SPOT = "one-pixel", "track", "spot"
"""Kinds of things: a pixel or two bright alone; a straight track that is not along a radius; all
else, which may be a Bragg peak wherever spots spread over pixels."""

MOST_THINGS = 30
"""Peaks that would each make a frame a hit; a frame with more rests on no single thing."""

BRIGHT = 2.0
"""Times the log probability that is needed from which a thing is bright: if it were a Bragg peak,
it would show light beside it, and other peaks besides."""

_APART_PX, _BESIDE_PX = 6.0, 20.0
"""Peaks so near to one another are one thing; what is so near to a thing may be of the same ray."""

_CLUSTER_PX, _WIDEST_PX, _WIDEST_SHARE = 30.0, 60.0, 0.01
"""Things so near to one another, and all within so much, are taken for what one ray leaves; on a
small detector, where spots are near to one another too, all within that share of its pixels."""

_LEAST_LOG = -1e6
_LOG_NEEDED = math.log(0.01)
"""Log of the chance peaks of a blank frame as good as one that makes a frame a hit, whatever the
score that a user asks of hits."""

_LONGEST_PX, _ASIDE_PX = 60.0, 2.0
"""What is so near to the middle of a track, and so little off its line, is a piece of it."""

_FEW_PIXELS, _LONG_PX, _THIN_PX, _RADIAL = 3, 5.0, 0.7, math.cos(math.radians(20))


@dataclasses.dataclass(frozen=True, eq=False)
class Things:
    """The things of a frame that would each make it a hit, as far as they are in doubt.

    Attributes
    ----------
    kind : str
        Of the strongest thing in doubt; empty if there is none.
    at, spots_at : ndarray, shape (n, 2)
        Positions (fs, ss) of the peaks of the things in doubt, the strongest first, and of those
        of all spots.
    n_alone, n_bright, n_spots : int
        Those that are bright alone, of these the bright ones, and those that are spots.
    strength : float
        Log probability of the strongest in units of that which is needed.
    nearer : float
        Share of the pixels that are nearer to the beam than the strongest is, of all things if
        none is in doubt.
    n_seen, n_sharp : int
        Bright peaks of the frame, and those without light beside them.
    """

    kind: str
    at: NDArray[np.float64]
    spots_at: NDArray[np.float64]
    n_alone: int
    n_bright: int
    n_spots: int
    strength: float
    nearer: float
    n_seen: int
    n_sharp: int

    def apart(self, peaks: NDArray[np.void], spots: bool = False) -> NDArray[np.bool_]:
        """Say which peaks do not belong to the things in doubt, nor, if asked for, to spots."""
        things = np.concatenate([self.at, self.spots_at]) if spots else self.at
        if not len(things) or not len(peaks):
            return np.ones(len(peaks), bool)
        places = np.stack([peaks["fs"], peaks["ss"]], 1)
        return np.asarray(cKDTree(things).query(places)[0] > _BESIDE_PX)

    def support(self, peaks: NDArray[np.void], score: Callable[[NDArray], float]) -> Support:
        """Return what is said of the frame.

        Parameters
        ----------
        peaks : ndarray of PEAK_DTYPE
            Everything that may be a peak.
        score : callable
            Returns the score of a frame that holds only some of them, given which.
        """
        bare = without = score(self.apart(peaks))
        if self.n_spots and self.kind != SPOT:
            bare = score(self.apart(peaks, spots=True))
        fs, ss = self.at[0] if len(self.at) else (0.0, 0.0)
        return Support(
            kind=self.kind, n_alone=self.n_alone, n_bright=self.n_bright, strength=self.strength,
            score=without, fs=float(fs), ss=float(ss), nearer=self.nearer,
            n_seen=self.n_seen, n_sharp=self.n_sharp, n_spots=self.n_spots, bare_score=bare,
        )  # fmt: skip


def may_rest_on_one(proposed: Proposal) -> bool:
    """Whether a frame has a peak that alone would make it a hit."""
    return bool((proposed.log_expected <= _LOG_NEEDED).any())


def things_in_doubt(proposed: Proposal, rings: Rings, geometry: Geometry) -> Things:
    """Find what the score of a frame may rest on.

    In doubt are all things that are bright alone, and the only thing there is, whatever it is.

    Parameters
    ----------
    proposed : Proposal
        From a `hitfinder.finding.likelihood.LikelihoodFinder`, before its next frame.
    rings, geometry
        Of that finder.
    """
    strong = np.flatnonzero(proposed.log_expected <= _LOG_NEEDED)
    found = proposed.peaks[strong]
    # The logarithms of what is all but impossible are not finite.
    log_p, log_expected = (
        np.maximum(v, _LEAST_LOG) for v in (found["log_p"], proposed.log_expected[strong])
    )
    strength = log_p / np.minimum(log_p - log_expected + _LOG_NEEDED, -1.0)
    pixel, sharp = np.empty((len(found), 2), np.int64), np.zeros(len(found), bool)
    maps = (rings.position, rings.weight)
    _sharp_peaks(found["ss"], found["fs"], proposed.counts, *maps, proposed.rate, pixel, sharp)
    bright = strength >= BRIGHT
    seen, n_sharp = int(bright.sum()), int((bright & sharp).sum())
    places = np.stack([found["fs"], found["ss"]], 1)
    chosen: list[NDArray[np.intp]] = []
    kinds: list[str] = []
    if 0 < len(found) <= MOST_THINGS:
        chosen = _grouped(places, _APART_PX)
        shapes = [_shape_of(pixel[k], sharp[k], proposed, rings, geometry) for k in chosen]
        chosen, kinds = _joined(chosen, shapes, places, float(rings.n_pixels.sum()))
    alone = [k for k, kind in enumerate(kinds) if kind != SPOT]
    spots = [k for k, kind in enumerate(kinds) if kind == SPOT]
    doubted = alone or ([0] if len(kinds) == 1 else [])
    doubted.sort(key=lambda k: -strength[chosen[k]].max())
    # Peaks are in the order of their significance.
    strongest = doubted or sorted(range(len(chosen)), key=lambda k: chosen[k][0])
    return Things(
        kind=kinds[doubted[0]] if doubted else "",
        at=np.concatenate([np.empty((0, 2)), *(places[chosen[k]] for k in doubted)]),
        spots_at=np.concatenate([np.empty((0, 2)), *(places[chosen[k]] for k in spots)]),
        n_spots=len(spots),
        n_alone=len(alone),
        n_bright=sum(bool(bright[chosen[k]].any()) for k in alone),
        strength=float(strength[chosen[doubted[0]]].max()) if doubted else 0.0,
        nearer=_nearer(pixel[chosen[strongest[0]][0]], rings) if strongest else 0.0,
        n_seen=seen,
        n_sharp=n_sharp,
    )


def _nearer(pixel: NDArray[np.int64], rings: Rings) -> float:
    """Share of the unmasked pixels that are in rings nearer to the beam than a pixel's own."""
    ring = rings.index[tuple(pixel)]
    return float(rings.n_pixels[: max(ring, 0)].sum() / max(rings.n_pixels.sum(), 1))


def _grouped(places: NDArray[np.float64], apart_px: float) -> list[NDArray[np.intp]]:
    """Put peaks that are close to one another together: a track may be several."""
    squared = ((places[:, None] - places[None]) ** 2).sum(2)
    return connected(squared <= apart_px**2)


class _Shape(NamedTuple):
    """Kind of a thing; middle and direction (fs, ss) of a track."""

    kind: str
    middle: NDArray[np.float64] = np.zeros(2)
    direction: NDArray[np.float64] = np.zeros(2)


def _joined(
    things: list[NDArray[np.intp]],
    shapes: list[_Shape],
    places: NDArray[np.float64],
    n_pixels: float,
) -> tuple[list[NDArray[np.intp]], list[str]]:
    """Put together what one ray may have left, and name the kinds of the things that there are.

    A long, faint track is found in pieces that lie on its line; a slow electron turns often.
    """
    n = len(things)
    one = np.zeros((n, n), bool)
    widest_px = min(_WIDEST_PX, math.sqrt(_WIDEST_SHARE * n_pixels))
    first = np.array([thing[0] for thing in things])
    for cluster in _grouped(places, _CLUSTER_PX * widest_px / _WIDEST_PX):
        if len(cluster) > 1 and np.ptp(places[cluster], axis=0).max() <= widest_px:
            is_near = np.zeros(len(places), bool)
            is_near[cluster] = True
            own = is_near[first]
            one[own] |= own
    for k, (kind, middle, direction) in enumerate(shapes):
        for other in range(n) if kind == TRACK else ():
            apart = places[things[other]] - middle
            aside = np.abs(apart @ [-direction[1], direction[0]])
            one[k, other] |= (
                aside.max() <= _ASIDE_PX and np.abs(apart @ direction).min() <= _LONGEST_PX
            )
    out: list[NDArray[np.intp]] = []
    kinds: list[str] = []
    for parts in connected(one):
        among = {shapes[k].kind for k in parts}
        out.append(np.sort(np.concatenate([things[k] for k in parts])))
        kinds.append(TRACK if TRACK in among else SPOT if SPOT in among else PIXEL)
    return out, kinds


def _shape_of(
    pixels: NDArray[np.int64],
    sharp: NDArray[np.bool_],
    proposed: Proposal,
    rings: Rings,
    geometry: Geometry,
) -> _Shape:
    """Name the kind of a thing, given the brightest pixels of its peaks and if these are sharp."""
    rows, columns = lit_pixels(pixels[0], proposed, rings)
    if len(rows) <= _FEW_PIXELS:
        # Two peaks close together are two spots, or two pixels of one.
        is_one = sharp.all() and np.ptp(pixels, axis=0).max() <= _FEW_PIXELS
        return _Shape(PIXEL if is_one else SPOT)
    at = np.stack([columns, rows], 1).astype(float)
    variances, axes = np.linalg.eigh(np.cov(at.T))
    along = (at - at.mean(0)) @ axes[:, 1]
    length = np.ptp(along) + 1
    if length < _LONG_PX and sharp.all():
        return _Shape(PIXEL)
    if length < _LONG_PX or variances[0] > _THIN_PX**2:
        return _Shape(SPOT)
    ends = [int(np.argmin(along)), int(np.argmax(along))]
    first, last = np.stack(geometry.pixels.at(rows[ends], columns[ends]), 1)
    direction, radius = last - first, (first + last) / 2
    product = np.linalg.norm(direction) * np.linalg.norm(radius)
    if abs(direction @ radius) >= _RADIAL * product:
        return _Shape(SPOT)
    return _Shape(TRACK, at.mean(0) + 0.5, axes[:, 1])


@njit(cache=True, nogil=True)
def _sharp_peaks(ss, fs, work, position, weight, rate, pixel, sharp):  # type: ignore[no-untyped-def]
    """Write the brightest pixel (ss, fs) within one of each position, and whether it is sharp."""
    for p in range(ss.size):
        row, column = int(ss[p]), int(fs[p])
        most = -np.inf
        for i in range(row - 1, row + 2):
            for j in range(column - 1, column + 2):
                n = counts_at(work, i, j)
                if n < 0:
                    continue
                above = n - expected(i, j, position, weight, rate)
                if above > most:
                    most = above
                    pixel[p, 0], pixel[p, 1] = i, j
        if most == -np.inf:
            pixel[p, 0], pixel[p, 1] = row, column
            continue
        i, j = pixel[p, 0], pixel[p, 1]
        sharp[p] = is_sharp(i, j, work, position, weight, rate)
