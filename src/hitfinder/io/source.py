"""The one contract every source of frames keeps, whatever the file format."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class FrameRef:
    """Where one frame is kept.

    Parameters
    ----------
    file : str
        Path of the file as the user named it (of the master file, not of a linked one).
    event : str
        ``//index`` within the file, as in a CrystFEL list; empty for a single-frame file.
    """

    file: str
    event: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Metadata:
    """What a file says about its frames; None where it says nothing.

    Parameters
    ----------
    photon_energy_ev : float, optional
        Photon energy, in eV.
    camera_length_m : float, optional
        Sample-to-detector distance, in m.
    beam_center : tuple of float, optional
        Beam centre (fs, ss), in pixels, corner convention.
    pixel_size_m : float, optional
        Pixel edge, in m.
    mask : ndarray of bool, optional
        True where a pixel is to be ignored, shape of a frame.
    saturation : float, optional
        Counts at and above which a pixel is saturated.
    detector : str
        The file's own description of the detector.
    """

    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    beam_center: tuple[float, float] | None = None
    pixel_size_m: float | None = None
    mask: NDArray[np.bool_] | None = None
    saturation: float | None = None
    detector: str = ""


class FrameSource(abc.ABC):
    """A sequence of frames of one shape, read one at a time.

    A source is cheap to open, can be pickled before it has read anything (file handles are
    opened on first use, in the process that uses them), and never keeps frames in memory. A file
    that cannot be opened at all stands in a source as one frame whose `read` raises, so that every
    input has its row in the frame table.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns (ss, fs) of every frame.
    dtype : numpy.dtype
        Type of the stored counts.
    """

    shape: tuple[int, int]
    dtype: np.dtype

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of frames."""

    @abc.abstractmethod
    def read(self, index: int, out: NDArray | None = None) -> NDArray:
        """Read one frame.

        Parameters
        ----------
        index : int
            Frame number, from 0.
        out : ndarray, optional
            Buffer of the source's `shape` and `dtype` to read into and return.

        Returns
        -------
        ndarray
            The frame, shape `shape`; `out` if given.

        Raises
        ------
        SourceError
            If this frame cannot be read; other frames may still be readable.
        IndexError
            If there is no such frame.
        """

    @abc.abstractmethod
    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""

    @property
    def metadata(self) -> Metadata:
        """What the files say about the frames."""
        return Metadata()

    def close(self) -> None:  # noqa: B027 - a source without handles has nothing to close
        """Close what is open; reading opens it again."""

    def __getitem__(self, index: int) -> NDArray:
        if index < 0:
            index += len(self)
        return self.read(index)

    def __iter__(self) -> Iterator[NDArray]:
        return (self.read(i) for i in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
