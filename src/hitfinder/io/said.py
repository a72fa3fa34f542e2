"""What an HDF5 file says of its frames, beside the frames themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.io import metadata
from hitfinder.io.alike import Alike
from hitfinder.io.entries import ENTRIES
from hitfinder.io.handles import POOL, open_error
from hitfinder.io.links import NOT_THERE
from hitfinder.io.masks import StoredMask, find_mask
from hitfinder.io.nexus import Fields
from hitfinder.io.source import Metadata


class StoredFrames(NamedTuple):
    """What is known of the frames of a file: type of the counts, number, shape, path."""

    dtype: np.dtype
    n_frames: int
    shape: tuple[int, int]
    path: str


class FileSays(NamedTuple):
    """What a file says: of all frames, its mask and what is odd about it, what cannot be read.

    `beam` has photon energies and camera lengths, one value of each or many.
    """

    scalars: Metadata
    mask: StoredMask | None
    odd: list[str]
    broken: dict[str, SourceError]
    beam: dict[str, NDArray[np.float64]]


def read_said(path: str, frames: StoredFrames, linked: Sequence[str]) -> FileSays:
    """Find out what a file says of its frames.

    The mask itself is not read: it would take memory for each of many files.

    Parameters
    ----------
    path : str
        The file.
    frames : StoredFrames
        Its frames.
    linked : sequence of str
        The data files that it links.
    """
    names = sorted({os.path.basename(file) for file in linked})
    try:
        with POOL.visit():
            file = POOL.file(path)
            known = _ALIKE.find(path, frames, names)
            if known is not None:
                return known
            said = _read(POOL.made_of(path, Fields), frames)
            if file.swmr_mode:
                said.odd.append(f"{path}: another program is writing this file")
            if not said.odd and not said.broken:  # which name the file
                _ALIKE.learn(file, frames, names, said)
            return said
    except SourceError as error:
        return FileSays(Metadata(), None, [], {"": error}, {})
    except NOT_THERE as error:
        return FileSays(Metadata(), None, [], {"": open_error(error, path)}, {})


def _read(known: Fields, frames: StoredFrames) -> FileSays:
    one = not ("," in frames.path or "%" in frames.path)
    fields = known.of_frames(frames.path) if one else known.renewed()
    said = metadata.read_metadata(fields, frames.dtype, frames.n_frames, frames.shape)
    beside = frames.path.rpartition("/")[0] if one else ""
    mask, odd = find_mask(fields, frames.shape, frames.n_frames, beside)
    # Of the same fields, as finding groups in a file takes long.
    beam = {} if frames.path.startswith(ENTRIES) else metadata.read_beam(fields)
    return FileSays(said, mask, odd, fields.broken, beam)


def _read_anew(file: h5py.File, frames: StoredFrames) -> FileSays:
    return _read(Fields(file), frames)


_ALIKE: Alike[FileSays] = Alike(_read_anew)
"""What files said that this process has read."""
