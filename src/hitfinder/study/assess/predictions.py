"""Predictions of a trained network for the frames of a tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.executors.contract import Executor
from hitfinder.metrics.matching import match_peaks
from hitfinder.study.assess.batches import predicted
from hitfinder.study.dataset.labels import peaks_of_map
from hitfinder.study.dataset.torch import FRAME, FrameDataset
from hitfinder.study.dataset.tree import Tree
from hitfinder.study.networks.registry import network
from hitfinder.study.pipeline import Predictor, peaks_of_heatmap
from hitfinder.study.training.data import check_targets, images_for, targets

LEAST_PHOTONS = 8.0
"""Photons of the faintest true peaks that count where the tree lists its spots."""

Progress = Callable[[int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Classified:
    """Predicted classes of frames.

    Attributes
    ----------
    truth : ndarray of int64, shape (n,)
        True class.
    probability : ndarray of float64, shape (n, n_classes)
        Predicted probability of each class.
    decided : ndarray of int64, shape (n,)
        Class decided for: by the threshold for peaks, else the most probable.
    """

    truth: NDArray[np.int64]
    probability: NDArray[np.float64]
    decided: NDArray[np.int64]

    @property
    def surprise(self) -> NDArray[np.float64]:
        """Minus the logarithm of the probability given to the truth, frame by frame."""
        given = self.probability[np.arange(len(self.truth)), self.truth]
        return -np.log(np.maximum(given, 1e-12))


@dataclasses.dataclass(frozen=True, eq=False)
class Located:
    """Predicted peak positions of frames.

    Attributes
    ----------
    matched, missed, false : ndarray of int64, shape (n,)
        True peaks found and missed, and found peaks that are none, frame by frame.
    distance_px : ndarray of float64
        Distance of each matched pair.
    tolerance_px : float
        Largest distance of a pair.
    """

    matched: NDArray[np.int64]
    missed: NDArray[np.int64]
    false: NDArray[np.int64]
    distance_px: NDArray[np.float64]
    tolerance_px: float

    @property
    def surprise(self) -> NDArray[np.float64]:
        """Peaks missed and found falsely, frame by frame."""
        return (self.missed + self.false).astype(float)


def _probabilities(predictor: Predictor, batch: Mapping[str, Any]) -> NDArray[np.float64]:
    return predictor.to_probabilities(predictor.logits(batch)).astype(np.float64)


def classify(
    predictor: Predictor,
    tree: Tree,
    *,
    workers: int = 0,
    executor: Executor | None = None,
    progress: Progress = lambda n: None,
) -> Classified:
    """Predict the class of every frame of a tree.

    Parameters
    ----------
    predictor : Predictor
        For peak, photon energy or camera length.
    tree : Tree
        The frames.
    workers : int
        Processes that read.
    executor : Executor, optional
        Has the frames read and predicted, instead of this process.
    progress : callable
        Told of frames done.

    Raises
    ------
    ConfigError
        If the frames have another shape, or one has no class.
    """
    predictor.check_shape(tree.shape)
    config = predictor.config
    check_targets(config, tree)
    truth = targets(config, tree)
    assert truth is not None
    parts = []
    images = [name for name in network(config.network).inputs if name != "parameters"]
    frames = FrameDataset(tree, images)
    for part in predicted(predictor, frames, config.batch_size, _probabilities, workers, executor):
        parts.append(part)
        progress(len(part))
    probability = np.concatenate(parts)
    if config.is_classified:
        return Classified(truth, probability, probability.argmax(axis=1))
    decided = (probability >= predictor.threshold).astype(np.int64)
    return Classified(truth, np.stack([1 - probability, probability], axis=1), decided)


def locate(
    predictor: Predictor,
    tree: Tree,
    tolerance_px: float = 3.0,
    *,
    threshold: float | None = None,
    workers: int = 0,
    executor: Executor | None = None,
    progress: Progress = lambda n: None,
) -> Located:
    """Find the peaks of every frame of a tree and match them to the true ones.

    True peaks are the spots that the tree lists with at least 8 expected photons; where it lists
    none, as in trees made elsewhere, the connected pixels of the label map.

    Parameters
    ----------
    predictor : Predictor
        For peak locations.
    tree : Tree
        The frames.
    tolerance_px : float
        Largest distance of a found peak from the true one, in pixels.
    threshold : float, optional
        Instead of the network's own.
    workers : int
        Processes that read.
    executor : Executor, optional
        Has the frames read and searched, instead of this process.
    progress : callable
        Told of frames done.
    """
    predictor.check_shape(tree.shape)
    cut = predictor.threshold if threshold is None else threshold
    judge = _PlacesJudge(SpotTable(tree), cut, tolerance_px)
    rows, distances = [], []
    # One frame at a time, as a map is as large as a frame, in single precision.
    frames = FrameDataset(tree, [i for i in images_for(predictor.config) if i != "label"])
    for row, distance in predicted(predictor, frames, 1, judge, workers, executor):
        rows.append(row)
        distances.append(distance)
        progress(1)
    counts = np.array(rows, np.int64).reshape(-1, 3).T
    matched, missed, false = counts
    near = np.concatenate([np.empty(0), *distances])
    return Located(matched, missed, false, near, tolerance_px)


class SpotTable:
    """True peaks of the frames of a tree, read file by file.

    Parameters
    ----------
    tree : Tree
        The frames.
    least_photons : float
        Expected photons of the faintest listed spots that count.
    """

    def __init__(self, tree: Tree, least_photons: float = LEAST_PHOTONS) -> None:
        if "peaks" not in tree.sets[0].files and "labels" not in tree.sets[0].files:
            raise ConfigError("true peaks need the folder peaks or labels", str(tree.root))
        self.tree, self.least = tree, least_photons
        self._files: dict[int, NDArray | None] = {}

    def of(self, index: int) -> NDArray[np.float64]:
        """Return the true peaks (fs, ss) of a frame, shape (n, 2)."""
        number = int(self.tree.set_index[index])
        if number not in self._files:
            part = self.tree.sets[number]
            spots = part.spots() if "peaks" in part.files else None
            self._files[number] = None
            if spots is not None:
                bright = spots.photons >= self.least
                listed = np.stack([spots.frame, spots.fs, spots.ss], axis=1)
                self._files[number] = listed[bright]
        listed_spots = self._files[number]
        if listed_spots is None:
            return peaks_of_map(self.tree.read("labels", index))[0]
        return listed_spots[listed_spots[:, 0] == self.tree.row[index], 1:]


@dataclasses.dataclass(frozen=True, eq=False)
class _PlacesJudge:
    """Finds the peaks of a batch of one frame, and matches them to the true ones."""

    spots: SpotTable
    threshold: float
    tolerance_px: float

    def __call__(
        self, predictor: Predictor, batch: Mapping[str, Any]
    ) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
        heatmap = predictor.to_probabilities(predictor.logits(batch))[0]
        found, _ = peaks_of_heatmap(heatmap, self.threshold)
        matches = match_peaks(found, self.spots.of(int(batch["index"][0])), self.tolerance_px)
        n = (len(matches.true), len(matches.missed), len(matches.false))
        return n, matches.distance


def images_of(tree: Tree, index: int) -> NDArray:
    """Return the frame with its background, for pictures."""
    return FrameDataset(tree, (FRAME,))[index][FRAME][0].numpy()
