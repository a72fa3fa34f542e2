"""What a locator's answers are worth: measured on simulated frames that it was not trained on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEGAPIXEL = 1e6
"""Pixels of the frame that chance candidates are counted for."""

_SMOOTH, _ROUGH = 1e-5, 1e-3

STRENGTHS = np.arange(2.125, 10.0, 0.25)
"""Middles of the bins of a peak's strength, the logarithm of minus its log chance probability."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Tables over the mean background of a frame.

    Parameters
    ----------
    log_background : ndarray, shape (n,)
        Natural log of the background (photons per pixel) at which the tables are given, rising.
    log_odds : ndarray, shape (n,)
        Log odds of true to false candidates that the logits contain.
    logits : ndarray, shape (m,)
        Logits at which chance is tabulated, rising.
    log_share : ndarray, shape (n, m)
        Log of the share of chance candidates with at least this logit.
    log_count : ndarray, shape (2, n)
        Log of the chance candidates in a frame of a million pixels, on a smooth and on a rough
        background.
    evidence : ndarray, shape (k,)
        Frame evidence at which blanks are tabulated, rising.
    log_blanks : ndarray, shape (n, k)
        Log of the share of blank frames with at least this evidence.
    log_usual : ndarray, shape (n, j)
        Log of the share of peaks of each strength, see `STRENGTHS`.
    size_power : float
        Power of the number of pixels with which chance candidates grow. Below 1, as what passes
        for a peak near the beam or along a shadow does not grow with the detector.
    hit_evidence, log_hit_odds : ndarray, shape (h,)
        Log odds of a hit at some evidence, rising; hits and blanks equally likely beforehand.
    peak_gain, peak_offset : float
        Log odds of a peak are those the evidence gives times the gain plus the offset.
    """

    log_background: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    logits: NDArray[np.float64]
    log_share: NDArray[np.float64]
    log_count: NDArray[np.float64]
    evidence: NDArray[np.float64]
    log_blanks: NDArray[np.float64]
    log_usual: NDArray[np.float64]
    size_power: float
    hit_evidence: NDArray[np.float64]
    log_hit_odds: NDArray[np.float64]
    peak_gain: float = 1.0
    peak_offset: float = 0.0

    def log_ratio(self, logit: NDArray[np.floating], background: float) -> NDArray[np.float64]:
        """Log likelihood ratio of candidates, peak over chance.

        Parameters
        ----------
        logit : ndarray
            The locator's.
        background : float
            Mean background of the frame, in photons per pixel.
        """
        at = _log(background)
        return np.asarray(logit, float) - np.interp(at, self.log_background, self.log_odds)

    def chance_count(self, background: float, texture: float, n_pixels: int) -> float:
        """Return how many chance candidates a frame has that is as deeply searched as these were.

        Parameters
        ----------
        background : float
            Mean background of the frame, in photons per pixel.
        texture : float
            Its variance about the rings' averages, relative to them.
        n_pixels : int
            Pixels with a reading.
        """
        at = _log(background)
        smooth, rough = (np.interp(at, self.log_background, row) for row in self.log_count)
        part = float(roughness(np.array(texture)))
        log_count = (1 - part) * smooth + part * rough
        return float(np.exp(log_count + self.size_power * np.log(n_pixels / MEGAPIXEL)))

    def log_usual_strengths(self, background: float) -> NDArray[np.float64]:
        """Log of the usual share of peaks of each strength."""
        return _between(self.log_background, self.log_usual, _log(background))

    def log_chance(
        self, logit: NDArray[np.floating], background: float, n_chance: float
    ) -> NDArray[np.float64]:
        """Log of the chance candidates expected in the frame with at least these logits.

        Beyond the table it falls as a likelihood ratio's tail must, in proportion to exp(-logit).

        Parameters
        ----------
        logit, background
            As for `log_ratio`.
        n_chance : float
            Chance candidates of the frame, see `hitfinder.network.evidence.ChanceCandidates`.
        """
        row = _between(self.log_background, self.log_share, _log(background))
        return np.log(max(n_chance, 1e-9)) + _tail(np.asarray(logit, float), self.logits, row)

    def log_blank_share(self, evidence: float, background: float) -> float:
        """Log of the share of blank frames that look at least as much like hits."""
        row = _between(self.log_background, self.log_blanks, _log(background))
        return min(0.0, float(_tail(np.array([evidence]), self.evidence, row)[0]))

    def hit_log_odds(self, evidence: float) -> float:
        """Log odds of a hit, hits and blanks equally likely beforehand."""
        return float(np.interp(evidence, self.hit_evidence, self.log_hit_odds))

    def peak_probability(self, probability: NDArray[np.floating]) -> NDArray[np.float64]:
        """Correct the probabilities of peaks that the evidence gives."""
        log_odds = self.peak_gain * log_odds_of(probability) + self.peak_offset
        return 1 / (1 + np.exp(-log_odds))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain lists."""
        out: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            out[field.name] = np.round(value, 4).tolist()
        return out

    @staticmethod
    def from_json(given: dict[str, Any]) -> Calibration:
        """Read what `to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is absent, no number, or of the wrong shape.
        """
        if not isinstance(given, dict):
            raise ValueError(f"'calibration' must be a table, got {given!r}")
        numbers = ("size_power", "peak_gain", "peak_offset")
        fields: dict[str, Any] = {}
        for name in (field.name for field in dataclasses.fields(Calibration)):
            value = np.asarray(given[name], float)
            if not np.isfinite(value).all() or (value.ndim == 0) != (name in numbers):
                raise ValueError(f"calibration: {name!r} must be finite numbers")
            fields[name] = float(value) if name in numbers else value
        made = Calibration(**fields)
        n = made.log_background.size
        shapes = {
            "log_odds": (n,),
            "log_share": (n, made.logits.size),
            "log_count": (2, n),
            "log_blanks": (n, made.evidence.size),
            "log_usual": (n, STRENGTHS.size),
            "log_hit_odds": (made.hit_evidence.size,),
        }
        for name, shape in shapes.items():
            if getattr(made, name).shape != shape:
                raise ValueError(f"calibration: {name!r} has not the shape {shape}")
        for name in ("log_background", "logits", "evidence", "hit_evidence"):
            grid = getattr(made, name)
            if grid.size < 2 or not (np.diff(grid) > 0).all():
                raise ValueError(f"calibration: {name!r} must be two or more rising numbers")
        return made


def roughness(texture: NDArray[np.floating]) -> NDArray[np.float64]:
    """Say how rough backgrounds are, from 0 (smooth) to 1 (rough).

    Parameters
    ----------
    texture : ndarray
        Variance about the rings' averages, relative to them.
    """
    texture = np.maximum(np.asarray(texture, float), _SMOOTH)
    return np.asarray(np.minimum(np.log(texture / _SMOOTH) / np.log(_ROUGH / _SMOOTH), 1.0))


def log_odds_of(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return log odds, of certainties large finite ones."""
    p = np.clip(np.asarray(probability, float), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))


def _log(background: float) -> float:
    return float(np.log(max(background, 1e-12))) if np.isfinite(background) else 0.0


def _between(
    at: NDArray[np.float64], rows: NDArray[np.float64], place: float
) -> NDArray[np.float64]:
    """Interpolate a table's rows."""
    where = np.interp(place, at, np.arange(at.size))
    low = min(int(where), at.size - 2)
    part = where - low
    return (1 - part) * rows[low] + part * rows[low + 1]


def _tail(
    value: NDArray[np.float64], grid: NDArray[np.float64], log_share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate the log of a tail, going on with slope -1 beyond the grid; all is above it."""
    inside = np.interp(value, grid, log_share, left=0.0)
    return inside - np.maximum(value - grid[-1], 0.0)
