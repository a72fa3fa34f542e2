"""The network finder: the likelihood finder proposes, the locator judges."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import sha256
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.result import FrameResult, Proposal
from hitfinder.finding.selection import select_by_probability
from hitfinder.finding.settings import FinderOptions, FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.shuffled import Frame
from hitfinder.network.channels import (
    CHANNELS,
    OUTPUTS,
    SIZE,
    channels,
    radial_direction,
    root_of_window,
)
from hitfinder.network.close import close_pairs
from hitfinder.network.crops import crops_of
from hitfinder.network.evidence import (
    ChanceCandidates,
    frame_evidence,
    peak_probabilities,
    ratios_and_chance,
    strength_bins,
)
from hitfinder.network.folder import INFO
from hitfinder.network.model import load
from hitfinder.network.onnx import INPUT

log = logging.getLogger(__name__)

_BATCH = 512
_FARTHEST_PX = 4.0
_SAME_PX = 2.0
_INSIDE = 1e-3


class NetworkFinder:
    """Finds peaks in the frames of one geometry with a trained network, on the CPU.

    The likelihood finder proposes candidates, of which `hitfinder.finding.score.CHANCE_LIMIT`
    are chance; the locator gives each the odds of being a Bragg peak, its position and photons. A
    peak that is not proposed is lost: it has less significance than twenty chance peaks of a blank
    frame have. Not to be shared between threads.

    Parameters
    ----------
    geometry : Geometry
        Detector, mask, camera length and beam.
    settings : FinderSettings, optional
        What to call a peak and a hit, and which model to use.
    **changes
        Single settings, such as ``false_hits=0.001``.

    Raises
    ------
    hitfinder.network.folder.ModelError
        If the model cannot be used.
    ConfigError
        If there is no such setting, or its value is impossible.

    Examples
    --------
    >>> import hitfinder as hf
    >>> import numpy as np
    >>> geometry = hf.Geometry.flat((96, 96), 75e-6, camera_length_m=0.05, photon_energy_ev=6000)
    >>> find = hf.NetworkFinder(geometry)
    >>> frame = np.random.default_rng(0).poisson(0.02, (96, 96))
    >>> frame[[20, 40, 70], [30, 80, 25]] += 25
    >>> found = find(frame)
    >>> found.hit, len(found.peaks), bool(found.peaks["probability"].min() > 0.9)
    (True, 3, True)
    """

    takes_packed = True

    def __init__(
        self,
        geometry: Geometry,
        settings: FinderSettings | None = None,
        **changes: Unpack[FinderOptions],
    ) -> None:
        self.finder = LikelihoodFinder(geometry, settings, **changes)
        self.model = load(self.finder.settings.model)
        assert self.model.path is not None
        self.fingerprint = sha256(self.model.path / INFO)
        self._session = self.model.session()
        self._maps = np.empty((_BATCH, len(CHANNELS), SIZE, SIZE), np.float32)

    @property
    def geometry(self) -> Geometry:
        """Geometry of the frames."""
        return self.finder.geometry

    @property
    def settings(self) -> FinderSettings:
        """What is called a peak and a hit."""
        return self.finder.settings

    def __call__(self, frame: Frame, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Find the peaks of one frame and judge it.

        Parameters and errors are those of a `LikelihoodFinder`. Peaks have a probability; the
        result has a hit probability, where hits and blank frames are taken to be equally likely
        beforehand.
        """
        proposed = self.finder.propose(frame, mask)
        if not proposed.n_read:
            return self.finder.result(proposed, proposed.peaks, 0.0)
        background = self.finder.rings.mean(proposed.profile)
        calibration = self.model.calibration
        peaks, logit, inside = self._judged(proposed)
        keep = distinct(peaks)
        peaks, logit, inside = peaks[keep], logit[keep], inside[keep]
        ratio, chance = self._ratios(proposed, logit)
        evidence = frame_evidence(ratio, chance.n)
        log_odds = calibration.hit_log_odds(evidence)
        usual = calibration.log_usual_strengths(background)
        strength = strength_bins(peaks["log_p"])
        probability = peak_probabilities(ratio, chance, log_odds, strength, usual, inside)
        peaks["probability"] = calibration.peak_probability(probability)
        value = -calibration.log_blank_share(evidence, background) / math.log(10)
        expected = calibration.log_chance(logit, background, chance.n)
        is_hit = value >= self.settings.least_score
        kept = select_by_probability(
            peaks["probability"].astype(float), expected, is_hit, self.settings
        )
        result = self.finder.result(proposed, peaks[kept], value)
        result = dataclasses.replace(result, hit_probability=1 / (1 + math.exp(-log_odds)))
        if not self.finder.is_looked_at_again(proposed, value):
            return result
        things = self.finder.things(proposed)

        def score(some: NDArray[np.bool_]) -> float:
            ratio, chance = self._ratios(proposed, logit[some])
            left = frame_evidence(ratio, chance.n)
            return -calibration.log_blank_share(left, background) / math.log(10)

        return result.resting_on(things.support(peaks, score), self.settings.least_score)

    def _ratios(
        self, proposed: Proposal, logit: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], ChanceCandidates]:
        """Return log likelihood ratios of candidates of a frame, and its chance candidates."""
        return ratios_and_chance(
            self.model.calibration,
            logit,
            self.finder.rings.mean(proposed.profile),
            proposed.texture,
            proposed.n_read,
            proposed.n_chance,
        )

    def _judged(
        self, proposed: Proposal
    ) -> tuple[NDArray[np.void], NDArray[np.float32], NDArray[np.float64]]:
        """Return the candidates as the network sees them, likeliest first.

        Returns
        -------
        peaks : ndarray of PEAK_DTYPE
            The candidates.
        logit : ndarray
            What the network says of each.
        inside : ndarray
            Of each, see `Proposal.inside`.
        """
        peaks = proposed.peaks.copy()
        logit, d_fs, d_ss, _, root, log_sigma = self._answers(proposed)
        if len(proposed.pieces):
            # Of a streak longer than the network sees, a piece may look more like a peak.
            pieces = dataclasses.replace(proposed, peaks=proposed.pieces)
            np.maximum.at(logit, proposed.piece_of, self._answers(pieces)[0])
        i, j = peaks["ss"].astype(int), peaks["fs"].astype(int)
        near = np.hypot(d_fs, d_ss) < _FARTHEST_PX
        n_ss, n_fs = self.geometry.shape
        peaks["fs"][near] = np.clip(j + 0.5 + d_fs, 0, n_fs - _INSIDE)[near]
        peaks["ss"][near] = np.clip(i + 0.5 + d_ss, 0, n_ss - _INSIDE)[near]
        peaks["photons"] = root**2
        peaks["photons_sigma"] = 2 * root * np.exp(log_sigma)
        order = np.argsort(-logit, kind="stable")
        return peaks[order], logit[order], proposed.inside[order]

    def _answers(self, proposed: Proposal) -> NDArray[np.float32]:
        """Return what the network says of each candidate: `OUTPUTS`, the root being of photons."""
        peaks = proposed.peaks
        counts, background = crops_of(proposed, self.finder.rings)
        i, j = peaks["ss"].astype(int), peaks["fs"].astype(int)
        direction = radial_direction(*self.geometry.pixels.at(i, j))
        texture = np.full(len(peaks), proposed.texture, np.float32)
        answers = [np.empty((0, len(OUTPUTS)), np.float32)]
        for start in range(0, len(peaks), _BATCH):
            part = slice(start, start + _BATCH)
            maps = self._maps[: len(counts[part])]
            channels(counts[part], background[part], direction[part], texture[part], maps)
            answers.append(self._session.run(None, {INPUT: maps})[0][:, :, 0, 0])
        logit, d_fs, d_ss, log_px, root, log_sigma = np.concatenate(answers).T
        root = np.maximum(root + root_of_window(counts, background), 0)
        return np.stack([logit, d_fs, d_ss, log_px, root, log_sigma])


def distinct(peaks: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say which peaks are not where the network has put a likelier one.

    Parameters
    ----------
    peaks : ndarray of PEAK_DTYPE
        Likeliest first.

    Returns
    -------
    ndarray of bool, shape of `peaks`
    """
    keep = np.ones(len(peaks), bool)
    for one, other in sorted(close_pairs(peaks["fs"], peaks["ss"], _SAME_PX).tolist()):
        keep[other] &= not keep[one]
    return keep
