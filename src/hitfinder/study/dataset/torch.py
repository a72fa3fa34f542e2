"""Frames of a tree for PyTorch: read one by one from the files, never held as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from hitfinder.errors import HitfinderError
from hitfinder.study.dataset.layout import LABELS, OVERLAY, PEAKS
from hitfinder.study.dataset.tree import Tree

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
        return {name: values[0] for name, values in self.batch([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Any] | HitfinderError:
        """Return a batch, its frames read straight to where they are needed.

        A loader's process thus writes each pixel once, into the memory it shares. There an error
        is returned instead of raised, for `FrameLoader` to raise: PyTorch would wrap it.
        """
        try:
            return self.batch(indices)
        except HitfinderError as error:
            if get_worker_info() is None:
                raise
            return error

    def batch(self, indices: list[int]) -> dict[str, Any]:
        """Return the samples of these numbers as one."""
        batch: dict[str, Any] = {"index": torch.tensor(indices)}
        for name in self.images:
            batch[name] = self._images(IMAGES[name], indices)
        if self.targets is not None:
            batch["target"] = torch.from_numpy(self.targets[indices])
        attributes = self.tree.attributes
        batch["clen"] = torch.from_numpy(attributes.clen[indices])
        batch["photon_energy"] = torch.from_numpy(attributes.photon_energy[indices])
        return batch

    def _images(self, folder: str, indices: list[int]) -> Tensor:
        types = [self.tree.sets[self.tree.set_index[i]].files[folder].dtype for i in indices]
        dtype = np.result_type(*types)
        images = _empty((len(indices), 1, *self.tree.shape), dtype)
        for out, index, own in zip(images.numpy()[:, 0], indices, types, strict=True):
            if own == dtype:
                self.tree.read(folder, index, out)
            else:
                out[...] = self.tree.read(folder, index)
        return images


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> Tensor:
    """Return an array to fill: in a loader's process in memory that it shares with its parent."""
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    if get_worker_info() is None:
        return torch.empty(shape, dtype=kind)
    size = int(np.prod(shape)) * dtype.itemsize
    storage = torch.UntypedStorage._new_shared(size)
    strides = torch.empty(shape, dtype=kind, device="meta").stride()
    return torch.empty(0, dtype=kind).set_(storage, 0, shape, strides)


def _as_it_is(batch: Any) -> Any:
    return batch


class FrameLoader(DataLoader[dict[str, Tensor]]):
    """A loader that raises its processes' errors as they were."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, HitfinderError):
                raise batch
            yield batch


@contextlib.contextmanager
def readers_watched(hint: str) -> Iterator[None]:
    """Tell in words that a loader's process died in the block, which may be noticed anywhere in it.

    Parameters
    ----------
    hint : str
        What to do then.

    Raises
    ------
    HitfinderError
        If one did.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise HitfinderError("a process that reads frames died", hint=hint) from error


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
) -> FrameLoader:
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
    return FrameLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(len(dataset), seed, rank, world_size),
        num_workers=workers,
        collate_fn=_as_it_is,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Its own generator, so that starting workers draws nothing from the global one.
        generator=torch.Generator(),
    )
