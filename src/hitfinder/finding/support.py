"""What a frame's score rests on: things that would each make it a hit, and what is left without.

One bright pixel, or a straight track, is what a cosmic ray or a radioactive nucleus leaves in a
detector; the spot of a crystal is never that where the point spread says otherwise, and has others
beside it. No frame tells by itself how sharp spots are and how often rays come: a run does
(`hitfinder.results.doubts`).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hitfinder.finding.poisson import critical_counts
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

_APART_PX = 6.0
_LEAST_LOG = -1e6
_LOG_NEEDED = math.log(0.01)
"""Log of the chance peaks of a blank frame as good as one that makes a frame a hit, whatever the
score that a user asks of hits."""

_REACH = 24
_LOG_P_LIT = math.log(1e-3)
_FEW_PIXELS, _LONG_PX, _THIN_PX, _RADIAL = 3, 5.0, 0.7, math.cos(math.radians(20))


@dataclasses.dataclass(frozen=True, eq=False)
class Things:
    """The things of a frame that would each make it a hit, as far as they are in doubt.

    Attributes
    ----------
    kind : str
        Of the strongest thing in doubt; empty if there is none.
    at : ndarray, shape (n, 2)
        Positions (fs, ss) of the peaks of the things in doubt, the strongest first.
    n_alone, n_bright : int
        Those that are bright alone, and of these the bright ones.
    strength : float
        Log probability of the strongest in units of that which is needed.
    nearer : float
        Share of the pixels that are nearer to the beam than the strongest is.
    n_seen, n_sharp : int
        Bright peaks of the frame, and those without light beside them.
    """

    kind: str
    at: NDArray[np.float64]
    n_alone: int
    n_bright: int
    strength: float
    nearer: float
    n_seen: int
    n_sharp: int

    def apart(self, peaks: NDArray[np.void]) -> NDArray[np.bool_]:
        """Say which peaks do not belong to the things in doubt."""
        if not len(self.at) or not len(peaks):
            return np.ones(len(peaks), bool)
        places = np.stack([peaks["fs"], peaks["ss"]], 1)
        return np.asarray(cKDTree(self.at).query(places)[0] > _APART_PX)

    def support(self, score: float) -> Support:
        """Return what is said of the frame, given its score without the things in doubt."""
        fs, ss = self.at[0] if len(self.at) else (0.0, 0.0)
        return Support(
            kind=self.kind, n_alone=self.n_alone, n_bright=self.n_bright, strength=self.strength,
            score=score, fs=float(fs), ss=float(ss), nearer=self.nearer,
            n_seen=self.n_seen, n_sharp=self.n_sharp,
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
        for thing in _grouped(places):
            kind = _kind_of(pixel[thing], sharp[thing], proposed, rings, geometry)
            chosen, kinds = [*chosen, thing], [*kinds, kind]
    alone = [k for k, kind in enumerate(kinds) if kind != SPOT]
    doubted = alone or ([0] if len(kinds) == 1 else [])
    doubted.sort(key=lambda k: -strength[chosen[k]].max())
    return Things(
        kind=kinds[doubted[0]] if doubted else "",
        at=np.concatenate([np.empty((0, 2)), *(places[chosen[k]] for k in doubted)]),
        n_alone=len(alone),
        n_bright=sum(bool(bright[chosen[k]].any()) for k in alone),
        strength=float(strength[chosen[doubted[0]]].max()) if doubted else 0.0,
        nearer=_nearer(pixel[chosen[doubted[0]][0]], rings) if doubted else 0.0,
        n_seen=seen,
        n_sharp=n_sharp,
    )


def _nearer(pixel: NDArray[np.int64], rings: Rings) -> float:
    """Share of the unmasked pixels that are in rings nearer to the beam than a pixel's own."""
    ring = rings.index[tuple(pixel)]
    return float(rings.n_pixels[: max(ring, 0)].sum() / max(rings.n_pixels.sum(), 1))


def _grouped(places: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Put peaks that are close to one another together: a track may be several."""
    n = len(places)
    pairs = cKDTree(places).query_pairs(_APART_PX, output_type="ndarray")
    near = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(n, n))
    label = connected_components(near, directed=False)[1]
    return [np.flatnonzero(label == k) for k in range(label.max(initial=-1) + 1)]


def _kind_of(
    pixels: NDArray[np.int64],
    sharp: NDArray[np.bool_],
    proposed: Proposal,
    rings: Rings,
    geometry: Geometry,
) -> str:
    """Name the kind of a thing, given the brightest pixels of its peaks and if these are sharp."""
    rows, columns = _lit_pixels(pixels[0], proposed, rings)
    if len(rows) <= _FEW_PIXELS:
        # Two peaks close together are two spots, or two pixels of one.
        return PIXEL if sharp.all() and np.ptp(pixels, axis=0).max() <= _FEW_PIXELS else SPOT
    at = np.stack([rows, columns], 1).astype(float)
    variances, axes = np.linalg.eigh(np.cov(at.T))
    along = (at - at.mean(0)) @ axes[:, 1]
    length = np.ptp(along) + 1
    if length < _LONG_PX and sharp.all():
        return PIXEL
    if length < _LONG_PX or variances[0] > _THIN_PX**2:
        return SPOT
    ends = [int(np.argmin(along)), int(np.argmax(along))]
    maps = geometry.pixels
    first, last = (np.array([m[rows[e], columns[e]] for m in (maps.x, maps.y)]) for e in ends)
    direction, radius = last - first, (first + last) / 2
    product = np.linalg.norm(direction) * np.linalg.norm(radius)
    return SPOT if abs(direction @ radius) >= _RADIAL * product else TRACK


def _lit_pixels(
    pixel: NDArray[np.int64], proposed: Proposal, rings: Rings
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pixels that chance does not light and that are joined to one, gaps of one too."""
    part = tuple(slice(max(int(k) - _REACH, 0), int(k) + _REACH + 1) for k in pixel)
    work, ring = proposed.counts[part], rings.index[part]
    counts = np.where(work < -1, -2 - work, work)
    means = proposed.rate[np.maximum(ring, 0)] * rings.weight[part]
    lit = (ring >= 0) & (counts > 0) & (counts >= critical_counts(means, _LOG_P_LIT))
    joined, _ = ndimage.label(ndimage.binary_dilation(lit), np.ones((3, 3)))
    own = joined[tuple(int(k) - s.start for k, s in zip(pixel, part, strict=True))]
    rows, columns = np.nonzero(lit & (joined == own))
    return rows + part[0].start, columns + part[1].start


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
