"""The likelihood finder: one frame in, its peaks and its score out."""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.finding import background, peaks, score
from hitfinder.finding import texture as local
from hitfinder.finding.background import compilable
from hitfinder.finding.candidates import CandidateSearch
from hitfinder.finding.crowded import crowded_rings
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.result import FrameResult, Proposal
from hitfinder.finding.rings import Rings
from hitfinder.finding.settings import FinderOptions, FinderSettings
from hitfinder.geometry.geometry import Geometry

_DENSE = 0.1
_SATURATED = 0.01
_ROW_STEP = 4
_INNER_RINGS = 24
_MAX_CANDIDATES = 40_000
_MAX_PEAKS = 5_000
_COUNT_LIMIT = 1 << 24
_LOG_P_CANDIDATE = math.log(2e-5)
_LOG_P_BRIGHT = math.log(1e-4)
_LOG_P_FAINT = math.log(1e-2)
_SLACK = 3.0
_RESOLUTION_SHARE = 95.0


class LikelihoodFinder:
    """Finds peaks in the frames of one geometry. Not to be shared between threads.

    Parameters
    ----------
    geometry : Geometry
        Detector, mask, camera length and beam.
    settings : FinderSettings, optional
        What to call a peak and a hit.
    **changes
        Single settings, such as ``false_hits=0.001``.

    Raises
    ------
    ConfigError
        If there is no such setting, or its value is impossible.

    Examples
    --------
    >>> import hitfinder as hf
    >>> import numpy as np
    >>> geometry = hf.Geometry.flat((96, 96), 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    >>> find = hf.LikelihoodFinder(geometry, false_hits=0.001)
    >>> frame = np.random.default_rng(0).poisson(0.02, (96, 96))
    >>> frame[[20, 40, 70], [30, 80, 25]] += 25
    >>> found = find(frame)
    >>> found.hit, sorted(found.peaks["fs"].astype(int).tolist())
    (True, [25, 30, 80])
    """

    def __init__(
        self,
        geometry: Geometry,
        settings: FinderSettings | None = None,
        **changes: Unpack[FinderOptions],
    ) -> None:
        if not isinstance(geometry, Geometry):
            raise ValueError(f"geometry must be a Geometry, got {type(geometry).__name__}")
        self.geometry = geometry
        self.settings = config.override(settings or FinderSettings(), **changes)
        self.rings = Rings.of(geometry)
        self._points = local.control_points(self.rings.index < 0)
        self._patches = (
            local.patches(self._points, self.rings.index),
            local.patches(self._points, self.rings.position),
            local.patches(self._points, self.rings.weight),
        )
        self._search = CandidateSearch(self.rings, _LOG_P_CANDIDATE, _MAX_CANDIDATES)
        self._sampled = _RowSample.of(self.rings)
        n_rings, (n_ss, n_fs) = self.rings.q.size, geometry.shape
        self._work = np.empty((n_ss, n_fs), np.int32)
        self._histogram, self._sums = background.new_histograms(n_rings)

    def __call__(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Find the peaks of one frame and score it.

        Parameters
        ----------
        frame : ndarray, shape of the geometry
            Photon counts, of any real type. Negative and NaN pixels, and those at the top of an
            integer type, count as masked; so do saturated pixels where they are over 1 % of the
            frame, since they then tell nothing of single peaks.
        mask : ndarray of bool, optional
            Further pixels to ignore in this frame.

        Raises
        ------
        ValueError
            If the frame or the mask has another shape than the geometry.
        """
        proposed = self.propose(frame, mask)
        found, log_expected = proposed.peaks, proposed.log_expected
        value = score.frame_score(log_expected)
        n_kept = score.keep_at_false_discovery_rate(log_expected, self.settings.false_peaks)
        return self.result(proposed, found[:n_kept], value)

    def propose(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> Proposal:
        """Find everything that may be a peak, down to `score.CHANCE_LIMIT` chance peaks.

        Parameters and errors are those of a call.
        """
        photons, lost, n_lit = self._load(frame, mask)
        n_read = int(self.rings.n_pixels.sum()) - lost
        if not n_read:
            return self._nothing()
        rate = self._background(lost, n_lit)
        means = rate * self.rings.weight_sum / np.maximum(self.rings.n_pixels, 1)
        chance = score.chance_peaks(means, self.rings.n_pixels)
        found, texture = self._peaks(rate, chance)
        ring = self.rings.index[found["ss"].astype(int), found["fs"].astype(int)]
        crowded = crowded_rings(ring, self.rings.q.size)
        found = found[~crowded[ring] | (ring < 0)]
        log_expected = score.expected_beyond(found["log_p"].astype(float), chance)
        n_chance = min(score.CHANCE_LIMIT, float(chance[0]))
        return Proposal(
            peaks=found,
            log_expected=log_expected,
            photons=photons,
            rate=rate,
            profile=means,
            counts=self._work,
            n_chance=n_chance,
            crowded=crowded,
            texture=texture,
            n_read=n_read,
        )

    def _nothing(self) -> Proposal:
        """Return what a frame without a pixel to read says."""
        unknown = np.full(self.rings.q.size, np.nan)
        return Proposal(
            peaks=np.empty(0, PEAK_DTYPE),
            log_expected=np.empty(0),
            photons=0,
            rate=unknown,
            profile=unknown,
            counts=self._work,
            n_chance=0.0,
            crowded=np.zeros(self.rings.q.size, bool),
            texture=0.0,
            n_read=0,
        )

    def result(self, proposed: Proposal, kept: NDArray[np.void], value: float) -> FrameResult:
        """Put together what is said of a frame.

        Parameters
        ----------
        proposed : Proposal
            From `propose`.
        kept : ndarray of PEAK_DTYPE
            The peaks among those proposed, most significant first; their resolution is filled in.
        value : float
            Score of the frame.
        """
        kept["resolution_a"] = self.geometry.resolution_a(kept["fs"], kept["ss"])
        enough = value >= self.settings.least_score and len(kept) >= self.settings.min_peaks
        resolutions = kept["resolution_a"]
        mean = self.rings.mean(proposed.profile) if proposed.n_read else np.nan
        return FrameResult(
            score=value,
            hit=bool(enough and proposed.n_read),
            peaks=kept,
            photons=proposed.photons,
            background_per_pixel=mean,
            resolution_a=float(np.percentile(resolutions, 100 - _RESOLUTION_SHARE))
            if len(kept)
            else np.nan,
            profile=proposed.profile,
            counts=proposed.counts,
        )

    def counts_and_background(
        self, frame: NDArray, mask: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return a frame's counts and the background rate of its rings; see a call.

        Returns
        -------
        counts : ndarray of int32, shape of the geometry
            Counts, -1 where there is no reading; overwritten by the next call.
        rate : ndarray, shape (n_rings,)
            Background per pixel at weight 1 (`Rings.weight`), in photons.
        """
        _, lost, n_lit = self._load(frame, mask)
        return self._work, self._background(lost, n_lit)

    def _load(self, frame: NDArray, mask: NDArray[np.bool_] | None) -> tuple[int, int, int]:
        """Fill the working copy; return photons, pixels lost beyond the mask, pixels lit."""
        frame = np.asarray(frame)
        if frame.shape != self.geometry.shape:
            raise ValueError(f"frame shape {frame.shape} is not the geometry's {self._work.shape}")
        saturation = self.geometry.detector.saturation
        limit = min(_COUNT_LIMIT, saturation or _COUNT_LIMIT)
        bad: float | int = -1
        if frame.dtype.kind in "iu":
            bad = np.iinfo(frame.dtype).max
            limit = min(limit, bad)
        elif frame.dtype.kind == "f":
            frame = np.rint(compilable(frame))
        else:
            raise ValueError(f"frames of type {frame.dtype} are not counts")
        kind = frame.dtype.type
        ring = self.rings.index
        if mask is not None:
            mask = np.asarray(mask) != 0
            if mask.shape != ring.shape:
                raise ValueError(f"mask shape {mask.shape} is not the geometry's {ring.shape}")
            ring = np.where(mask, np.int16(-1), ring)
        photons, n_bad, n_lit, n_full = background.load_frame(
            frame, ring, kind(bad), kind(limit), self._work
        )
        n_good = max(self.rings.n_pixels.sum(), 1)
        if n_full > _SATURATED * n_good:
            n_bad += n_full
            self._work[self._work >= int(limit)] = -1
        n_masked = self.rings.index.size - self.rings.n_pixels.sum()
        return int(photons), int(n_bad - n_masked), int(n_lit)

    def _background(self, lost: int, n_lit: int) -> NDArray[np.float64]:
        """Background rate of each ring at weight 1."""
        rings, dense = self.rings, n_lit > _DENSE * self.rings.n_pixels.sum()
        rows = self._sampled.rows if dense else np.arange(self._work.shape[0])
        n_pixels, weight = rings.n_pixels, rings.weight_sum
        if dense:
            n_pixels, weight = self._sampled.n_pixels, self._sampled.weight_sum
        if lost:
            unread = (self._work[rows] < 0) & (rings.index[rows] >= 0)
            at = rings.index[rows][unread]
            n_pixels = n_pixels - np.bincount(at, minlength=n_pixels.size)
            lost_weight = rings.weight[rows][unread]
            weight = weight - np.bincount(at, weights=lost_weight, minlength=n_pixels.size)
        self._histogram[:] = 0
        self._sums[:] = 0
        background.fill_histograms(self._work, rings.index, rows, self._histogram, self._sums)
        counts, exposure, rate = np.empty((3, n_pixels.size))
        background.ring_rates(self._histogram, self._sums, n_pixels, weight, counts, exposure)
        background.smooth_rates(counts, exposure, rate)
        return rate

    def _peaks(
        self, rate: NDArray[np.float64], chance: NDArray[np.float64]
    ) -> tuple[NDArray[np.void], float]:
        """All peaks that take part in the score, most significant first, and the texture."""
        rings, maps = self.rings, (self.rings.position, self.rings.weight)
        weight_range = rings.weight_range
        found = self._search.find(self._work, rate)
        bright = critical_counts(rate * weight_range[1], _LOG_P_BRIGHT)
        faint = critical_counts(rate * weight_range[1], _LOG_P_FAINT)
        variance = local.texture_variance(self._points, self._work, *self._patches, rate, bright)
        log_p_max = float(np.interp(-score.CHANCE_LIMIT, -chance, score.LEVELS))
        tested = np.empty(len(found))
        peaks.test_candidates(found, log_p_max + _SLACK, self._work, *maps, rate, tested)
        order = np.argsort(tested, kind="stable")[: np.count_nonzero(tested)]
        measures = np.zeros((min(len(order), _MAX_PEAKS), peaks.N_MEASURES))
        n = peaks.collect_peaks(
            found[order],
            log_p_max,
            variance,
            self._work,
            rings.index,
            *maps,
            rate,
            bright,
            faint,
            measures,
        )
        return _as_peaks(measures[:n]), float(variance)


@dataclasses.dataclass(frozen=True, eq=False)
class _RowSample:
    """A part of the rows, enough for the background of a bright frame, and their pixels."""

    rows: NDArray[np.intp]
    n_pixels: NDArray[np.int64]
    weight_sum: NDArray[np.float64]

    @staticmethod
    def of(rings: Rings) -> _RowSample:
        """Take every fourth row, and all rows that cross the innermost rings, which are small."""
        inner = np.flatnonzero(rings.n_pixels)[:_INNER_RINGS]
        near = np.isin(rings.index, inner).any(axis=1)
        rows = np.union1d(np.flatnonzero(near), np.arange(0, rings.index.shape[0], _ROW_STEP))
        index, weight = rings.index[rows], rings.weight[rows]
        good = index >= 0
        n = rings.q.size
        return _RowSample(
            rows,
            np.bincount(index[good], minlength=n),
            np.bincount(index[good], weights=weight[good], minlength=n).astype(np.float64),
        )


def _as_peaks(measures: NDArray[np.float64]) -> NDArray[np.void]:
    """Name the columns that `collect_peaks` writes, most significant first."""
    names = ("fs", "ss", "photons", "background", "log_p", "n_pixels", "maximum", "snr")
    out = peaks.peak_table(**dict(zip(names, measures.T, strict=True)))
    return out[np.argsort(out["log_p"], kind="stable")]
