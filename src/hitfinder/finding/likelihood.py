"""The likelihood finder: one frame in, its peaks and its score out."""

from __future__ import annotations

import math
from typing import NamedTuple, Unpack

import numpy as np
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.finding import peaks, score
from hitfinder.finding.candidates import CandidateSearch
from hitfinder.finding.controls import ControlPoints, texture_variance
from hitfinder.finding.counting import FrameCounter
from hitfinder.finding.crowded import crowded_rings
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.poisson import critical_counts
from hitfinder.finding.readings import Readings
from hitfinder.finding.result import FrameResult, Proposal
from hitfinder.finding.rings import Rings
from hitfinder.finding.selection import select_by_significance
from hitfinder.finding.settings import FinderOptions, FinderSettings
from hitfinder.finding.support import Things, may_rest_on_one, things_in_doubt
from hitfinder.finding.unite import unite
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.shuffled import Frame

MOST_PEAKS = 10_000
"""Peaks looked at in a frame, the most significant."""

_LOG_P_CANDIDATE = math.log(2e-5)
_LOG_P_BRIGHT = math.log(1e-4)
_LOG_P_FAINT = math.log(1e-2)
_SLACK = 3.0
_NONE_LIT = np.empty(0, np.int32), np.empty(0, np.int64)
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

    takes_packed = True

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
        self._points = ControlPoints.of(self.rings)
        self._search = CandidateSearch(self.rings, _LOG_P_CANDIDATE)
        self._counter = FrameCounter(self.rings, geometry.detector)
        self._owner = np.zeros(geometry.shape, np.int32)

    def __call__(self, frame: Frame, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Find the peaks of one frame and score it.

        Parameters
        ----------
        frame : ndarray or ShuffledFrame, shape of the geometry
            Photon counts, of any real type. Negative and NaN pixels, and those at the top of an
            integer type, count as masked; so do saturated pixels where they are over 1 % of the
            frame, since they then tell nothing of single peaks. Numbers that are not whole may have
            Gaussian noise around an offset, as `hitfinder.experiment.zeropeak` measures it.
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
        kept = select_by_significance(log_expected, self.settings)
        result = self.result(proposed, found[kept], value)
        if not self.is_looked_at_again(proposed, value):
            return result
        things = self.things(proposed)
        support = things.support(found, lambda some: score.frame_score(log_expected[some]))
        return result.resting_on(support, self.settings.least_score)

    def is_looked_at_again(self, proposed: Proposal, value: float) -> bool:
        """Whether it is asked what a score rests on: also where another threshold makes a hit."""
        return value >= self.settings.least_score or may_rest_on_one(proposed)

    def things(self, proposed: Proposal) -> Things:
        """Find what the score of a frame may rest on, before the next one is searched."""
        return things_in_doubt(proposed, self.rings, self.geometry)

    def propose(self, frame: Frame, mask: NDArray[np.bool_] | None = None) -> Proposal:
        """Find everything that may be a peak, down to `score.CHANCE_LIMIT` chance peaks.

        Parameters and errors are those of a call.
        """
        read, rate = self._counter.count(frame, mask)
        if not read.n_read:
            return self._nothing(read)
        means = rate * self.rings.weight_sum / np.maximum(self.rings.n_pixels, 1)
        chance = score.chance_peaks(means, self.rings.n_pixels)
        every = self._peaks(read, rate, chance)
        ring = self._ring_of(every.peaks["fs"], every.peaks["ss"])
        keep = ~every.crowded[ring] | (ring < 0)
        found, of_kept = every.peaks[keep], keep[every.piece_of]
        log_expected = score.expected_beyond(found["log_p"].astype(float), chance)
        n_chance = min(score.CHANCE_LIMIT, float(chance[0]))
        inside = score.chance_inside(means, self.rings.n_pixels, _least_significance(chance))
        return Proposal(
            peaks=found,
            log_expected=log_expected,
            photons=read.photons,
            rate=rate,
            profile=means,
            counts=read.counts,
            n_chance=n_chance,
            inside=inside[ring[keep]],
            crowded=every.crowded,
            texture=every.texture,
            n_read=read.n_read,
            peaks_left_out=every.left_out,
            lit=read.lit,
            squares=read.squares,
            pieces=every.pieces[of_kept],
            piece_of=(np.cumsum(keep) - 1)[every.piece_of[of_kept]],
        )

    def _nothing(self, read: Readings) -> Proposal:
        """Return what a frame without a pixel to read says."""
        unknown = np.full(self.rings.q.size, np.nan)
        return Proposal(
            peaks=np.empty(0, PEAK_DTYPE),
            log_expected=np.empty(0),
            photons=0,
            rate=unknown,
            profile=unknown,
            counts=read.counts,
            n_chance=0.0,
            inside=np.empty(0),
            crowded=np.zeros(self.rings.q.size, bool),
            texture=0.0,
            n_read=0,
            peaks_left_out=False,
            pieces=np.empty(0, PEAK_DTYPE),
            piece_of=np.empty(0, np.intp),
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
            lit=proposed.lit,
            squares=proposed.squares,
            peaks_left_out=proposed.peaks_left_out,
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
        read, rate = self._counter.count(frame, mask)
        return read.counts, rate

    def _peaks(
        self,
        read: Readings,
        rate: NDArray[np.float64],
        chance: NDArray[np.float64],
    ) -> _Found:
        """All peaks that take part in the score, and what goes with them."""
        rings, maps = self.rings, (self.rings.position, self.rings.weight)
        weight_range, counts = rings.weight_range, read.counts
        found, dropped = self._search.find(counts, rate, read.lit)
        bright = critical_counts(rate * weight_range[1], _LOG_P_BRIGHT)
        faint = critical_counts(rate * weight_range[1], _LOG_P_FAINT)
        # Pixels without a reading are not among those that are lit.
        by_lit = (read.lit.at, read.lit.rows) if read.lit and not read.lost else _NONE_LIT
        points = self._points
        variance = texture_variance(
            *(points.at, points.first, points.parts),
            *(counts, rings.index, *maps, rate, bright, *by_lit),
        )
        log_p_max = _least_significance(chance)
        tested = np.empty(len(found))
        peaks.test_candidates(found, log_p_max + _SLACK, counts, *maps, rate, tested)
        order = np.argsort(tested, kind="stable")[: np.count_nonzero(tested)]
        most = min(len(order), MOST_PEAKS)
        measures, boxes = np.zeros((most, peaks.N_MEASURES)), np.zeros((most, 4), np.int64)
        self._counter.note(boxes)
        n = peaks.collect_peaks(
            found[order],
            log_p_max,
            variance,
            counts,
            rings.index,
            *maps,
            rate,
            bright,
            faint,
            read.values,
            self._owner,
            measures,
            boxes,
        )
        # Pieces crowd a ring; what they are pieces of may not.
        crowded = crowded_rings(self._ring_of(*measures[:n, :2].T), rings.q.size)
        pieces, piece_of = _as_peaks(measures[:n], read), np.empty(n, np.int64)
        left = unite(measures[:n], boxes[:n].copy(), self._owner, counts, *maps, rate, piece_of)
        together = _as_peaks(measures[:left], read)
        order = np.argsort(together["log_p"], kind="stable")
        several = np.flatnonzero(np.bincount(piece_of, minlength=left)[piece_of] > 1)
        return _Found(
            peaks=together[order],
            pieces=pieces[several],
            piece_of=np.argsort(order)[piece_of[several]],
            crowded=crowded,
            texture=float(variance),
            left_out=dropped or n == MOST_PEAKS,
        )

    def _ring_of(self, fs: NDArray[np.floating], ss: NDArray[np.floating]) -> NDArray[np.int16]:
        """Ring of each position, -1 where masked."""
        return self.rings.index[ss.astype(int), fs.astype(int)]


def _least_significance(chance: NDArray[np.float64]) -> float:
    """Log probability that peaks which take part in the score have at most."""
    return float(np.interp(-score.CHANCE_LIMIT, -chance, score.LEVELS))


def _as_peaks(measures: NDArray[np.float64], read: Readings) -> NDArray[np.void]:
    """Name the columns that `collect_peaks` writes."""
    names = ("fs", "ss", "photons", "background", "log_p", "n_pixels", "maximum", "snr")
    out = peaks.peak_table(**dict(zip(names, measures.T[:8], strict=True)))
    if read.analog is not None:
        noise = out["n_pixels"] * read.analog.sigma_at(out["fs"], out["ss"]) ** 2
        variance = np.maximum(out["photons"] + out["background"], 1) + noise
        out["snr"] = out["photons"] / np.sqrt(variance)
    return out


class _Found(NamedTuple):
    """Peaks of a frame, most significant first; see `Proposal`."""

    peaks: NDArray[np.void]
    pieces: NDArray[np.void]
    piece_of: NDArray[np.intp]
    crowded: NDArray[np.bool_]
    texture: float
    left_out: bool
