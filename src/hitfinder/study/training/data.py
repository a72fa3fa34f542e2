"""What a network is trained and tested on."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from hitfinder.errors import ConfigError
from hitfinder.study.dataset.integrity import require_sound
from hitfinder.study.dataset.layout import FOLDERS, OVERLAY
from hitfinder.study.dataset.select import Selection, select
from hitfinder.study.dataset.split import SPLIT, read_split, split, stratified
from hitfinder.study.dataset.torch import IMAGES, LABEL, FrameDataset, loader
from hitfinder.study.dataset.tree import Tree, open_tree
from hitfinder.study.networks.attribute import AttributeConfig
from hitfinder.study.networks.registry import network

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_WAIT_S = 300


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a tree.

    Parameters
    ----------
    train, test : Tree
        As the split says.
    validation : Tree, optional
        Set aside of the training part, for choosing when to stop and what to keep.
    """

    train: Tree
    test: Tree
    validation: Tree | None = None

    @property
    def watched(self) -> str:
        """Part whose loss decides on learning rate, stopping and what is kept."""
        return TEST if self.validation is None else VALIDATION

    def limited(self, n_frames: int, seed: int) -> Parts:
        """Return parts of at most `n_frames` frames each; 0 keeps all."""
        if not n_frames:
            return self
        watched = None if self.validation is None else limited(self.validation, n_frames, seed)
        few = [limited(tree, n_frames, seed) for tree in (self.train, self.test)]
        return Parts(few[0], few[1], watched)

    def others(self) -> dict[str, Tree]:
        """Return the parts that are not trained on, by name."""
        found = {} if self.validation is None else {VALIDATION: self.validation}
        return {**found, TEST: self.test}


def limited(tree: Tree, n_frames: int, seed: int) -> Tree:
    """Return about `n_frames` frames of a tree: both kinds of frame, settings evenly.

    Parameters
    ----------
    tree : Tree
        The frames.
    n_frames : int
        How many to keep; at least one with and one without peaks are kept.
    seed : int
        Fixes the choice.
    """
    if n_frames >= len(tree):
        return tree
    generator, settings = np.random.default_rng(seed), tree.settings
    chosen = []
    for kind in np.unique(tree.attributes.peak):
        own = generator.permutation(np.flatnonzero(tree.attributes.peak == kind))
        # The first of each setting, then the second of each, and so on.
        turn = np.empty(len(own), int)
        for name in np.unique(settings[own]):
            of_setting = settings[own] == name
            turn[of_setting] = np.arange(of_setting.sum())
        share = max(1, round(n_frames * len(own) / len(tree)))
        chosen.append(own[np.argsort(turn, kind="stable")][:share])
    return tree.take(np.sort(np.concatenate(chosen)))


def folders_for(config: AttributeConfig) -> list[str]:
    """Return the folders of a tree that a configuration needs."""
    wanted = {IMAGES[name] for name in images_for(config)} | {OVERLAY}
    return [folder for folder in FOLDERS if folder in wanted]


def images_for(config: AttributeConfig) -> list[str]:
    """Return the images that a sample must hold."""
    images: list[str] = [name for name in network(config.network).inputs if name in IMAGES]
    return [*images, LABEL] if config.attribute == "peak_location" else images


def open_parts(
    config: AttributeConfig,
    root: Any,
    selection: Selection,
    validation_fraction: float,
    seed: int,
) -> Parts:
    """Open the parts of a tree, splitting it 80/20 if that has not been done.

    Parameters
    ----------
    config : AttributeConfig
        Says which folders are needed.
    root : path-like
        The tree.
    selection : Selection
        Frames to use.
    validation_fraction : float
        Part of the training part to set aside; 0 watches the test part, as the report did.
    seed : int
        Fixes what is set aside.

    Raises
    ------
    SourceError, ConfigError
        If a frame cannot be found, a file or an attribute is not what the manifest says, or the
        split or the selection does not fit.
    """
    whole = open_tree(root, folders_for(config))
    check_targets(config, whole)
    chosen = select(whole, selection)
    require_sound(chosen)
    if not (whole.root / SPLIT).exists():
        _split_once(whole)
    parts = read_split(chosen)
    train, test = parts[TRAIN], parts[TEST]
    for name, part in parts.items():
        if not len(part):
            raise ConfigError(f"the {name} part of the selection is empty", str(root))
    if not 0 <= validation_fraction < 1:
        raise ConfigError(f"the validation part must be in 0..1, got {validation_fraction:g}")
    if validation_fraction == 0:
        return Parts(train, test)
    aside = stratified(train, validation_fraction, seed)
    if not aside.any():
        raise ConfigError("too few frames to set some aside for validation", str(root))
    return Parts(train.take(~aside), test, train.take(aside))


def _split_once(tree: Tree) -> None:
    """Split the tree in the first process; in the others wait until that has been done."""
    if getattr(rank_zero_only, "rank", 0) == 0:
        split(tree)
    for _ in range(SPLIT_WAIT_S):
        if (tree.root / SPLIT).exists():
            return
        time.sleep(1)


def check_targets(config: AttributeConfig, tree: Tree) -> None:
    """Raise ConfigError if the attribute is not known of every frame."""
    if config.attribute == "peak":
        missing = tree.attributes.peak < 0
    elif config.attribute == "peak_location":
        return
    else:
        missing = np.isnan(_values(config, tree))
    if missing.any():
        name = tree.frame_name(int(np.argmax(missing)))
        raise ConfigError(f"frame {name} has no {config.attribute}", str(tree.root))


def targets(config: AttributeConfig, tree: Tree) -> NDArray[np.int64] | None:
    """Return the class of each frame; None where the target is a label map.

    Raises
    ------
    ConfigError
        If a frame belongs to no class.
    """
    if config.attribute == "peak_location":
        return None
    if config.attribute == "peak":
        return tree.attributes.peak.astype(np.int64)
    return config.classes_of(_values(config, tree))


def _values(config: AttributeConfig, tree: Tree) -> NDArray[np.float64]:
    of = {"photon_energy": tree.attributes.photon_energy, "camera_length": tree.attributes.clen}
    return of[config.attribute]


def frames(config: AttributeConfig, tree: Tree) -> FrameDataset:
    """Return the samples of a part, with the targets of the configuration."""
    return FrameDataset(tree, images_for(config), targets(config, tree))


class PartsModule(lightning.LightningDataModule):
    """Loaders of the parts, for Lightning's trainer.

    Parameters
    ----------
    config : AttributeConfig
        With the batch size.
    parts : Parts
        The frames.
    workers : int
        Processes that read, for each loader.
    seed : int
        Fixes the order of the training frames.
    """

    def __init__(self, config: AttributeConfig, parts: Parts, workers: int, seed: int) -> None:
        super().__init__()
        self.config, self.parts, self.workers, self.seed = config, parts, workers, seed

    def _loader(self, tree: Tree, seed: int | None) -> DataLoader:
        assert self.trainer is not None
        return loader(
            frames(self.config, tree),
            self.config.batch_size,
            workers=self.workers,
            seed=seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def train_dataloader(self) -> DataLoader:
        """Return the training batches, shuffled by seed and epoch."""
        return self._loader(self.parts.train, self.seed)

    def val_dataloader(self) -> list[DataLoader]:
        """Return the batches of the other parts."""
        return [self._loader(tree, None) for tree in self.parts.others().values()]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Let the label map be the target where positions are learnt."""
        if self.config.attribute == "peak_location":
            batch["target"] = batch.pop(LABEL)
        return batch
