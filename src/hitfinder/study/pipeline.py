"""The report's pipeline: is there a peak, and if so at which energy, camera length and places.

PyTorch is imported when a network is loaded, not with this module.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.errors import ConfigError
from hitfinder.network.training.devices import device_name
from hitfinder.study.dataset.labels import peaks_of_map
from hitfinder.study.networks.registry import network
from hitfinder.study.networks.trained import TrainedNetwork, load

if TYPE_CHECKING:
    import torch


class Predictor:
    """A trained network, ready to predict.

    Parameters
    ----------
    trained : TrainedNetwork
        From `hitfinder.study.networks.trained.load`.
    device : str
        ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes CUDA where there is any.

    Raises
    ------
    ModelError
        If the weights are damaged or not those of the network.
    ConfigError
        If there is no such device.
    """

    def __init__(self, trained: TrainedNetwork, device: str = "auto") -> None:
        import torch

        device = device_name(device)
        self.trained, self.config = trained, trained.config
        self.takes: tuple[str, ...] = network(trained.config.network).inputs
        try:
            self.device = torch.device(device)
            self.network = trained.network().to(self.device)
        except (AssertionError, RuntimeError) as error:
            raise ConfigError(f"device {device!r} cannot be used: {error}") from error

    def logits(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Return the network's output for a batch as the loaders give it."""
        import torch

        from hitfinder.study.networks.inputs import forward

        moved = {k: v.to(self.device) for k, v in batch.items() if isinstance(v, torch.Tensor)}
        with torch.inference_mode():
            return forward(self.network, self.takes, moved, self.config.input)

    def probabilities(
        self,
        frames: ArrayLike,
        camera_length_m: float | None = None,
        photon_energy_ev: float | None = None,
        signal: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Predict frames.

        Parameters
        ----------
        frames : array_like, shape (n, rows, columns)
            Counts.
        camera_length_m, photon_energy_ev : float, optional
            For networks that are told them.
        signal : array_like, shape of `frames`, optional
            Bragg photons alone, for the dual-input network.

        Returns
        -------
        ndarray of float32
            Shape (n,) for peak, (n, n_classes) for energy and camera length, and
            (n, rows, columns) for peak locations.

        Raises
        ------
        ConfigError
            If the frames have another shape than the network's, or it needs more than is given.
        """
        import torch

        counts = np.asarray(frames)
        self.check_shape(counts.shape[-2:])
        batch = {"frame": torch.from_numpy(counts)[:, None]}
        if "parameters" in self.takes:
            if camera_length_m is None or photon_energy_ev is None:
                name = self.config.network
                raise ConfigError(f"network {name!r} needs the camera length and photon energy")
            for key, value in (("clen", camera_length_m), ("photon_energy", photon_energy_ev)):
                batch[key] = torch.full((len(counts),), value)
        if "signal" in self.takes:
            if signal is None:
                raise ConfigError(
                    f"network {self.config.network!r} needs the clean signal as a second input, "
                    "which no real frame has"
                )
            batch["signal"] = torch.from_numpy(np.asarray(signal))[:, None]
        return self.to_probabilities(self.logits(batch))

    def to_probabilities(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Return probabilities of logits, shaped as by `probabilities`."""
        if self.config.is_classified:
            return logits.softmax(dim=1).cpu().numpy()
        return logits.sigmoid()[:, 0].cpu().numpy()

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raise ConfigError unless frames of this shape can be predicted."""
        wanted = self.trained.frame_shape
        if tuple(shape) != wanted:
            raise ConfigError(
                f"the frames have {shape[0]} x {shape[1]} pixels, the network was trained on "
                f"{wanted[0]} x {wanted[1]}",
                str(self.trained.path or ""),
            )

    @property
    def threshold(self) -> float:
        """Probability from which on there is a peak."""
        threshold = self.trained.threshold
        assert threshold is not None
        return threshold


@dataclasses.dataclass(frozen=True, eq=False)
class StudyAnswer:
    """What the pipeline says of a frame with peaks.

    Attributes
    ----------
    hit_probability : float
        Of the frame holding peaks.
    photon_energy_ev, camera_length_m : float
        Value of the most probable class; NaN where the pipeline has no network for it.
    peaks : ndarray of float64, shape (n, 2)
        Positions (fs, ss), in pixels, corner convention; none without a network for them.
    peak_probability : ndarray of float64, shape (n,)
        Largest probability in each peak.
    """

    hit_probability: float
    photon_energy_ev: float
    camera_length_m: float
    peaks: NDArray[np.float64]
    peak_probability: NDArray[np.float64]


class StudyPipeline:
    """The report's chain: the binary network first; where it finds peaks, the others.

    Parameters
    ----------
    predictors : dict of Predictor
        By attribute; ``peak`` is needed.
    camera_length_m, photon_energy_ev : float, optional
        What is known of the experiment, for networks that are told it.

    Raises
    ------
    ConfigError
        If there is no network for ``peak``, frame shapes differ, or a network needs what no
        real frame has.
    """

    def __init__(
        self,
        predictors: Mapping[str, Predictor],
        camera_length_m: float | None = None,
        photon_energy_ev: float | None = None,
    ) -> None:
        if "peak" not in predictors:
            raise ConfigError("a pipeline needs a network that tells peaks from none")
        shapes = {p.trained.frame_shape for p in predictors.values()}
        if len(shapes) > 1:
            raise ConfigError(f"the networks take frames of different shapes: {sorted(shapes)}")
        (self.shape,) = shapes
        self.predictors = dict(predictors)
        self._known = {"camera_length_m": camera_length_m, "photon_energy_ev": photon_energy_ev}
        blank = np.zeros((1, *self.shape), np.uint16)
        for predictor in self.predictors.values():
            if predictor.takes != ("frame",):
                predictor.probabilities(blank, **self._known)

    @staticmethod
    def load(
        paths: Sequence[str | Path],
        device: str = "auto",
        camera_length_m: float | None = None,
        photon_energy_ev: float | None = None,
    ) -> StudyPipeline:
        """Make a pipeline of networks, one for each attribute.

        Raises
        ------
        ModelError
            If one of them cannot be used.
        ConfigError
            If two are for the same attribute, or as for `StudyPipeline`.
        """
        predictors: dict[str, Predictor] = {}
        for path in paths:
            made = Predictor(load(path), device)
            name = made.config.attribute
            if name in predictors:
                raise ConfigError(f"two networks are for {name}", str(path))
            predictors[name] = made
        return StudyPipeline(predictors, camera_length_m, photon_energy_ev)

    def run(self, frame: ArrayLike) -> StudyAnswer | None:
        """Judge one frame of counts, shape (rows, columns): None if it holds no peaks."""
        return self.run_batch(np.asarray(frame)[None])[0]

    def run_batch(self, frames: ArrayLike) -> list[StudyAnswer | None]:
        """Judge frames of counts, shape (n, rows, columns), at once.

        Raises
        ------
        ConfigError
            If the frames have another shape than the networks'.
        """
        return self.judge(frames)[1]

    def judge(
        self, frames: ArrayLike, threshold: float | None = None
    ) -> tuple[NDArray[np.float32], list[StudyAnswer | None]]:
        """Judge frames of counts at once, and say how likely each holds peaks.

        Parameters
        ----------
        frames : array_like, shape (n, rows, columns)
            Counts.
        threshold : float, optional
            Probability from which on a frame holds peaks; by default the binary network's own.

        Returns
        -------
        probability : ndarray of float32, shape (n,)
            Of each frame holding peaks.
        answers : list
            A `StudyAnswer` for each frame, None for those without peaks.

        Raises
        ------
        ConfigError
            If the frames have another shape than the networks'.
        """
        counts, first = np.asarray(frames), self.predictors["peak"]
        probability = first.probabilities(counts, **self._known)
        least = first.threshold if threshold is None else threshold
        hit = np.flatnonzero(probability >= least)
        answers: list[StudyAnswer | None] = [None] * len(counts)
        if not len(hit):
            return probability, answers
        energy = self._values("photon_energy", counts[hit])
        length = self._values("camera_length", counts[hit])
        places = self._places(counts[hit])
        for n, index in enumerate(hit):
            answers[index] = StudyAnswer(
                float(probability[index]), float(energy[n]), float(length[n]), *places[n]
            )
        return probability, answers

    def _values(self, attribute: str, frames: NDArray) -> NDArray[np.float64]:
        predictor = self.predictors.get(attribute)
        if predictor is None:
            return np.full(len(frames), np.nan)
        best = predictor.probabilities(frames, **self._known).argmax(axis=1)
        return np.asarray(predictor.config.class_values)[best]

    def _places(self, frames: NDArray) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        predictor = self.predictors.get("peak_location")
        if predictor is None:
            return [(np.empty((0, 2)), np.empty(0))] * len(frames)
        # One frame at a time: a map is as large as a frame, in single precision.
        maps = (predictor.probabilities(frame[None], **self._known)[0] for frame in frames)
        return [peaks_of_heatmap(probability, predictor.threshold) for probability in maps]


def peaks_of_heatmap(
    probability: NDArray, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the peaks in a map of probabilities.

    Parameters
    ----------
    probability : ndarray, shape (rows, columns)
        Of a peak at each pixel.
    threshold : float
        Probability from which on a pixel belongs to a peak.

    Returns
    -------
    positions : ndarray of float64, shape (n, 2)
        Centroids (fs, ss) of the connected pixels, in pixels, corner convention.
    largest : ndarray of float64, shape (n,)
        Largest probability in each.
    """
    from scipy import ndimage

    from hitfinder.study.dataset.labels import NEIGHBOURS

    marked = probability >= threshold
    positions, _ = peaks_of_map(marked, probability)
    numbered, n = ndimage.label(marked, NEIGHBOURS)
    largest = ndimage.maximum(probability, numbered, np.arange(1, n + 1)) if n else np.empty(0)
    return positions, np.asarray(largest, float)
