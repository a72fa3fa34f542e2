"""Frames of a tree for PyTorch: read one by one from the files, never held as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hitfinder.dataset.layout import LABELS, OVERLAY, PEAKS
from hitfinder.dataset.tree import Tree

FRAME, SIGNAL, LABEL = "frame", "signal", "label"
IMAGES = {FRAME: OVERLAY, SIGNAL: PEAKS, LABEL: LABELS}
"""What a sample can hold, and the folder it is read from."""


class FrameDataset(Dataset[dict[str, Any]]):
    """Samples of a tree.

    A sample holds the images asked for as Tensors of shape (1, rows, columns) and of the type
    they are stored in, which is what travels between processes; ``target`` if targets are given;
    ``clen`` and ``photon_energy``; and ``index``, its number in the tree.

    Parameters
    ----------
    tree : Tree
        The frames.
    images : sequence of str
        Of ``frame``, ``signal`` (Bragg photons alone) and ``label`` (label map).
    targets : ndarray, shape (n,), optional
        What is to be learnt of each frame.
    """

    def __init__(
        self, tree: Tree, images: Sequence[str] = (FRAME,), targets: NDArray | None = None
    ) -> None:
        if targets is not None and len(targets) != len(tree):
            raise ValueError(f"{len(targets)} targets for {len(tree)} frames")
        self.tree, self.images, self.targets = tree, tuple(images), targets

    def __len__(self) -> int:
        return len(self.tree)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample: dict[str, Any] = {"index": index}
        for name in self.images:
            sample[name] = torch.from_numpy(self.tree.read(IMAGES[name], index))[None]
        if self.targets is not None:
            sample["target"] = torch.tensor(self.targets[index])
        # In double precision a class value is found again exactly.
        sample["clen"] = float(self.tree.attributes.clen[index])
        sample["photon_energy"] = float(self.tree.attributes.photon_energy[index])
        return sample


class EpochSampler(Sampler[int]):
    """An order of the frames that depends on the seed and the epoch alone.

    Training that is resumed therefore sees the frames in the order it would have seen them.

    Parameters
    ----------
    n : int
        Frames.
    seed : int or None
        Shuffles; None keeps the order.
    rank, world_size : int
        Which share of the frames to take, of how many; shares are of equal size, filled up from
        the beginning.
    """

    def __init__(self, n: int, seed: int | None, rank: int = 0, world_size: int = 1) -> None:
        self.n, self.seed, self.rank, self.world_size = n, seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is given."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n // self.world_size)

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.n)
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
        order = np.resize(order, len(self) * self.world_size)
        return iter(order[self.rank :: self.world_size].tolist())


def loader(
    dataset: FrameDataset,
    batch_size: int,
    *,
    workers: int = 0,
    seed: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[dict[str, Tensor]]:
    """Return a loader of batches.

    Parameters
    ----------
    dataset : FrameDataset
        The frames.
    batch_size : int
        Frames in a batch.
    workers : int
        Processes that read; 0 reads in this one.
    seed : int, optional
        Shuffles, anew each epoch.
    rank, world_size : int
        Share of the frames, for several devices.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), seed, rank, world_size),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own generator, so that starting workers draws nothing from the global one.
        generator=torch.Generator(),
    )
