"""Write HDF5 files of frames, each whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import h5py
import hdf5plugin
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.io.newfile import new_hdf5
from hitfinder.study.dataset.framefile import (
    ATTRIBUTE_NAMES,
    PER_FRAME,
    SPOT_FIELDS,
    SPOTS,
    Attributes,
    Spots,
)
from hitfinder.study.dataset.layout import DATA_PATH


class FrameFileWriter:
    """Write a file of frames one by one; it appears when it is finished, and only then.

    Used as a context manager: leaving it by an exception leaves no file.

    Parameters
    ----------
    path : path-like
        File to write, in an existing folder.
    single : bool
        Store the one frame as the report does: 2-D, its attributes as HDF5 attributes.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """

    def __init__(self, path: str | Path, *, single: bool = False) -> None:
        self.path = Path(path)
        self.single = single
        self.n_frames = 0
        self._dataset: h5py.Dataset | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(replacing(self.path))
            self._file = stack.enter_context(new_hdf5(part, str(self.path)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.__exit__(*exc_info)

    def append(self, frame: NDArray) -> None:
        """Add one frame of counts, shape (rows, columns); all must be of one shape and type."""
        if self.single and self.n_frames:
            raise ValueError("a single-frame file holds one frame")
        if self._dataset is None:
            self._dataset = self._create(frame)
        if not self.single:
            self._dataset.resize(self.n_frames + 1, axis=0)
            self._dataset[self.n_frames] = frame
        self.n_frames += 1

    def _create(self, frame: NDArray) -> h5py.Dataset:
        options = hdf5plugin.Bitshuffle(cname="lz4")
        if self.single:
            return self._file.create_dataset(DATA_PATH, data=frame, chunks=frame.shape, **options)
        return self._file.create_dataset(
            DATA_PATH,
            (0, *frame.shape),
            frame.dtype,
            chunks=(1, *frame.shape),
            maxshape=(None, *frame.shape),
            **options,
        )

    def describe(
        self,
        attributes: Attributes,
        spots: Spots | None = None,
        extra: Mapping[str, NDArray] | None = None,
    ) -> None:
        """Add what is known of the frames, once all are there.

        Parameters
        ----------
        attributes : Attributes
            Of each frame.
        spots : Spots, optional
            True spots.
        extra : mapping of ndarray, shape (n,)
            Further numbers for each frame, by name.

        Raises
        ------
        ValueError
            If there are more or fewer frames than attributes.
        """
        if self.n_frames != len(attributes):
            raise ValueError(f"{self.n_frames} frames with attributes for {len(attributes)}")
        per_frame = {name: getattr(attributes, name) for name in ATTRIBUTE_NAMES}
        for name, values in {**per_frame, **(extra or {})}.items():
            if self.single:
                value = values[0]
                self._file.attrs[name] = bool(value) if name == "peak" else value
            else:
                self._file.create_dataset(f"{PER_FRAME}/{name}", data=values)
        for name in SPOT_FIELDS if spots is not None else ():
            self._file.create_dataset(f"{SPOTS}/{name}", data=getattr(spots, name))
