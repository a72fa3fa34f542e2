"""The study's networks as a finder: is there a peak, and if so at which energy, length and places.

Registered as ``study``; its options name a trained network for each attribute.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.finding.peaks import peak_table
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.study.networks.attribute import ATTRIBUTES
from hitfinder.study.networks.trained import INFO, load
from hitfinder.study.pipeline import Predictor, StudyAnswer, StudyPipeline

DEVICE = "device"
_RESOLUTION_SHARE = 95.0
_LEAST, _MOST = 1e-30, 1 - 1e-7
"""Probabilities are kept off 0 and 1, where single precision rounds them to."""


class StudyFinder:
    """Judges frames of one geometry by the study's networks.

    The score of a frame is log10 of its odds to hold peaks over the odds at the threshold of the
    binary network. Pixels without a reading are zero to the networks, as gaps are in the frames
    that they learn from. Frames of networks that were trained on binned ones are binned alike.

    Parameters
    ----------
    geometry : Geometry
        Detector, mask, and the camera length and photon energy for networks that are told them.
    settings : FinderSettings
        Its options name the networks. Of the others `hit_threshold` and `min_peaks` count.

    Raises
    ------
    ConfigError
        If networks are missing or do not fit one another or the frames.
    hitfinder.study.networks.trained.ModelError
        If one cannot be used.
    """

    OPTIONS: ClassVar = {
        "peak": "folder of the trained network that tells peaks from none; needed",
        "photon_energy": "folder of one for the photon energy",
        "camera_length": "folder of one for the camera length",
        "peak_location": "folder of one for the places of the peaks",
        DEVICE: "cpu, cuda, cuda:1, ..., or auto",
    }

    def __init__(self, geometry: Geometry, settings: FinderSettings | None = None) -> None:
        settings = settings or FinderSettings(finder="study")
        for module in ("torch", "safetensors"):
            if importlib.util.find_spec(module) is None:
                hint = "Install it with: pip install 'hitfinder[train]'"
                raise ConfigError(f"the study's networks need {module}", hint=hint)
        paths = {name: settings.options[name] for name in ATTRIBUTES if name in settings.options}
        if "peak" not in paths:
            hint = "Name its folder: --finder-option peak=DIR."
            raise ConfigError("the study's finder needs a network for 'peak'", hint=hint)
        if settings.min_peaks and "peak_location" not in paths:
            raise ConfigError("min_peaks needs a network for peak_location")
        device = settings.options.get(DEVICE, "auto")
        predictors: dict[str, Predictor] = {}
        for name, path in paths.items():
            predictors[name] = Predictor(load(path), device)
            if predictors[name].config.attribute != name:
                raise ConfigError(f"this is no network for {name}", path)
        self._factor = _bin_factor(geometry.shape, predictors["peak"].trained.frame_shape)
        for predictor in predictors.values():
            predictor.check_shape([n // self._factor for n in geometry.shape])
        self._pipeline = StudyPipeline(
            predictors, geometry.camera_length_m, geometry.photon_energy_ev
        )
        self.geometry, self.settings = geometry, settings
        self.least_score = settings.hit_threshold or 0.0
        self.fingerprint = _digest(paths.values())
        self._mask = geometry.detector.full_mask
        self._offset = _log_odds(self._pipeline.predictors["peak"].threshold)

    def __call__(self, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Judge one frame.

        Parameters
        ----------
        frame : ndarray, shape of the geometry
            Photon counts, of any real type.
        mask : ndarray of bool, optional
            Further pixels to ignore.

        Raises
        ------
        ValueError
            If the frame or the mask has another shape than the geometry.
        """
        for what, array in (("frame", frame), ("mask", mask)):
            if array is not None and array.shape != self.geometry.shape:
                raise ValueError(
                    f"{what} shape {array.shape} is not the geometry's {self.geometry.shape}"
                )
        unread = self._mask | _without_reading(frame)
        if mask is not None:
            unread |= mask
        counts = np.where(unread, 0, frame).astype(np.float32)
        photons = int(counts.sum(dtype=np.float64))
        # A pixel of a coarser detector has a reading if all its parts have one.
        unread = np.logical_or.reduce(_by_bins(unread, self._factor), axis=(1, 3))
        if unread.all():
            return FrameResult(0.0, False, peak_table([], []))
        counts = np.where(unread, 0, _by_bins(counts, self._factor).sum(axis=(1, 3)))
        least = 1 / (1 + 10 ** -(self.least_score + self._offset))
        probability, answers = self._pipeline.judge(counts[None], least)
        score = _log_odds(float(probability[0])) - self._offset
        return self._result(score, photons, float(probability[0]), answers[0])

    def _result(
        self, score: float, photons: int, probability: float, answer: StudyAnswer | None
    ) -> FrameResult:
        if answer is None:
            return FrameResult(
                score, False, peak_table([], []), photons, hit_probability=probability
            )
        order = np.argsort(-answer.peak_probability, kind="stable")
        fs, ss = self._factor * answer.peaks[order].T
        resolution = self.geometry.resolution_a(fs, ss)
        return FrameResult(
            score,
            len(fs) >= self.settings.min_peaks,
            peak_table(fs, ss, resolution_a=resolution, probability=answer.peak_probability[order]),
            photons,
            resolution_a=float(np.percentile(resolution, 100 - _RESOLUTION_SHARE))
            if len(fs)
            else math.nan,
            hit_probability=probability,
            photon_energy_ev=answer.photon_energy_ev,
            camera_length_m=answer.camera_length_m,
        )


def _bin_factor(shape: tuple[int, ...], learnt: tuple[int, ...]) -> int:
    """Return by what frames are binned to have the shape that was learnt; 1 if nothing does it."""
    factor = shape[0] // learnt[0]
    return factor if factor and tuple(n // factor for n in shape) == learnt else 1


def _by_bins(values: NDArray, factor: int) -> NDArray:
    """Return the pixels of each bin on axes 1 and 3; those that fill no whole bin are left out."""
    rows, columns = (n // factor for n in values.shape)
    whole = values[: rows * factor, : columns * factor]
    return whole.reshape(rows, factor, columns, factor)


def _log_odds(probability: float) -> float:
    """Return log10 of the odds."""
    kept = min(max(probability, _LEAST), _MOST)
    return math.log10(kept) - math.log10(1 - kept)


def _without_reading(frame: NDArray) -> NDArray[np.bool_]:
    """Say which pixels have no reading: negative, NaN, or at the top of an integer type."""
    if frame.dtype.kind == "f":
        return ~(frame >= 0)
    unread = frame == np.iinfo(frame.dtype).max
    return unread | (frame < 0) if frame.dtype.kind == "i" else unread


def _digest(networks: Iterable[str]) -> str:
    """Return what tells trained networks from others: their files hold the hashes of the rest."""
    digest = hashlib.sha256()
    for path in networks:
        digest.update((Path(path) / INFO).read_bytes())
    return digest.hexdigest()
