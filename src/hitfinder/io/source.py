"""The one contract every source of frames keeps, whatever the file format."""

from __future__ import annotations

import abc
import dataclasses
import operator
from collections.abc import Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.geometry.detector import Panel
from hitfinder.io.contents import Contents
from hitfinder.io.shuffled import Frame


def whole_number(text: str) -> int | None:
    """Return the number that a text of up to 15 digits stands for; None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


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

    @property
    def group(self) -> str:
        """Name of the group that holds the frame, for files with a group for each; else empty."""
        return self.event.partition("//")[0].lstrip("/")

    @property
    def index(self) -> int:
        """Number of the frame in its file, or in its group; 0 if it is the only one."""
        return whole_number(self.event.partition("//")[2]) or 0


@dataclasses.dataclass(frozen=True)
class MaskKey:
    """What a frame's mask is known by: frames of equal keys have the same mask.

    Parameters
    ----------
    file : str
        File that keeps it.
    group : str
        Group of the file, where each frame has one.
    index : int, optional
        Number of the frame, where each has a mask of its own.
    content : bytes
        Digest of the mask as it is stored: masks of equal digests are equal. Empty where nobody
        has looked. It does not tell keys apart.
    """

    file: str
    group: str = ""
    index: int | None = None
    content: bytes = dataclasses.field(default=b"", compare=False)


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
        Pixel edge, in m; along fs where edges differ.
    pixel_height_m : float, optional
        Pixel edge along ss, in m, where it differs.
    panels : tuple of Panel
        Where the file places the detector's modules, unless they are one flat detector across the
        beam; they are at `camera_length_m`.
    mask : ndarray of bool, optional
        True where a pixel is to be ignored, shape of a frame; where frames have their own, that
        of the first.
    saturation : float, optional
        Counts at and above which a pixel is saturated. Never more than 2^bits − 1, which a
        detector stores both in pixels that its mask names and in saturated ones: the mask tells
        which is which.
    underload : float, optional
        Counts below which a pixel has no value in that frame, whatever the mask says: 0 where a
        format marks such pixels by negative counts.
    detector : str
        The file's own description of the detector.
    notes : tuple of str
        What the user should know of these values, such as that some are missing.
    """

    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    beam_center: tuple[float, float] | None = None
    pixel_size_m: float | None = None
    pixel_height_m: float | None = None
    panels: tuple[Panel, ...] = ()
    mask: NDArray[np.bool_] | None = None
    saturation: float | None = None
    underload: float | None = None
    detector: str = ""
    notes: tuple[str, ...] = ()


class FrameSource(abc.ABC):
    """A sequence of frames of one shape, read one at a time.

    A source is cheap to open, can be pickled before it has read anything (file handles are
    opened on first use, in the process that uses them), and never keeps frames in memory. A file
    that cannot be opened at all stands in a source as one frame whose `read` raises, so that every
    input has its row in the frame table. A source is read by one thread at a time.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns (ss, fs) of every frame; (0, 0) if no frame is readable and no file says.
    dtype : numpy.dtype
        Type of the stored counts, in the byte order of the machine.
    reader : str
        Name of the reader that opened the file; empty for arrays and what could not be opened.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    reader: str = ""

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

    def open_frame(self, index: int, out: NDArray | None = None) -> Frame:
        """Return one frame, which may stay packed until its counts are needed.

        Parameters and errors are those of `read`; that the counts are damaged may come out when
        they are needed.

        Returns
        -------
        ndarray or ShuffledFrame
            The frame, or what unpacks it into `out`.
        """
        return self.read(index, out)

    @abc.abstractmethod
    def ref(self, index: int) -> FrameRef:
        """Return where frame `index` is kept."""

    @property
    def metadata(self) -> Metadata:
        """What the files say about the frames: of several files, the first readable one."""
        return Metadata()

    def frame_metadata(self, index: int) -> Metadata:
        """Return what the files say about one frame, where frames differ.

        Its `mask` is always None; see `mask_of`.
        """
        return dataclasses.replace(self.metadata, mask=None)

    def said_of_frames(self, name: str) -> NDArray[np.float64]:
        """Return what `frame_metadata` says of every frame.

        Parameters
        ----------
        name : str
            A number of `Metadata`.

        Returns
        -------
        ndarray, shape (n_frames,)
            NaN where the files say nothing.
        """
        said = (getattr(self.frame_metadata(index), name) for index in range(len(self)))
        return np.array([*said], np.float64)

    def mask_key(self, index: int) -> MaskKey | None:
        """Return what tells the mask of a frame from others.

        None if the file keeps none beside the counts, which may themselves mark pixels without
        a value, or if the frame cannot be read.
        """
        return MaskKey(self.ref(0).file)

    def mask_of(self, index: int) -> NDArray[np.bool_] | None:
        """Return a frame's mask, shape of a frame; None if its file has none.

        Raises
        ------
        SourceError
            If it cannot be read.
        """
        return self.metadata.mask

    @property
    def members(self) -> tuple[FrameSource, ...]:
        """The sources this one is made of that have readable frames of its shape."""
        return (self,)

    @property
    def beam_centers(self) -> dict[str, tuple[float, float]]:
        """The beam centre (fs, ss) that each file states, by file."""
        said = {m.ref(0).file: m.frame_metadata(0).beam_center for m in self.members}
        return {file: center for file, center in said.items() if center is not None}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is odd about the files, though their frames can be read."""
        return ()

    @property
    def n_readable(self) -> int:
        """Number of frames that are not known to be unreadable."""
        return len(self)

    def readable(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which of some frames are not known to be unreadable.

        Parameters
        ----------
        indices : ndarray of int, shape (n,)
            Frame numbers.
        """
        return np.full(len(indices), self.n_readable > 0)

    @property
    def problems(self) -> tuple[SourceError, ...]:
        """What is known to be wrong before any frame is read, each problem once."""
        return ()

    @property
    def contents(self) -> Contents:
        """Format, compression and linked files."""
        return Contents(format=type(self).__name__)

    @property
    def digest(self) -> str:
        """What tells counts in memory from others; empty for counts in files."""
        return ""

    def index_of(self, event: str) -> int:
        """Return the number of the frame that an event of a CrystFEL list names.

        Parameters
        ----------
        event : str
            As in `FrameRef.event`.

        Raises
        ------
        SourceError
            If there is no such frame.
        """
        wanted = event.removeprefix("/") if not event.startswith("//") else event
        for index in range(len(self)):
            if self.ref(index).event == wanted:
                return index
        file = self.ref(0).file if len(self) else ""
        raise SourceError("no-frames", f"there is no frame {event!r}", file)

    def h5_location(self, index: int) -> tuple[str, str, int] | None:
        """Return the HDF5 dataset that holds a frame, links and virtual datasets followed.

        Returns
        -------
        tuple of (str, str, int) or None
            Absolute path of the file, path of the dataset in it, and index along its first axis
            (the dataset is 3-D), or -1 if the dataset is 2-D: the frame itself. None if the frame
            cannot be read, is in no HDF5 file, or is not one plain slice of a dataset.
        """
        return None

    def packed(self, index: int) -> bytes | None:
        """Return a frame as HDF5's bitshuffle filter packs it with LZ4.

        Returns
        -------
        bytes or None
            None if the frame is not at hand in this form.
        """
        return None

    def buffer(self, out: NDArray | None) -> NDArray:
        """Return the array to read into: `out`, once checked, or a new one.

        Raises
        ------
        ValueError
            If `out` has not the shape and type of a frame.
        """
        if out is None:
            return np.empty(self.shape, self.dtype)
        if out.shape != self.shape or out.dtype != self.dtype:
            is_, must = (out.shape, out.dtype), (self.shape, self.dtype)
            raise ValueError(f"buffer is {is_}, frames are {must}")
        return out

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"<{type(self).__name__}: {len(self)} frames of {shape}, {self.dtype}>"

    def check(self, index: int) -> None:
        """Raise IndexError if there is no frame `index`."""
        if not 0 <= index < len(self):
            raise IndexError(f"there is no frame {index}: there are {len(self)}, from 0 on")

    def close(self) -> None:  # noqa: B027 - a source without handles has nothing to close
        """Close what is open; reading opens it again."""

    def __getitem__(self, index: int | slice) -> NDArray:
        """Return one frame, or the frames of a slice as one array, as NumPy would."""
        if isinstance(index, slice):
            numbers = range(*index.indices(len(self)))
            stack = np.empty((len(numbers), *self.shape), self.dtype)
            for frame, number in zip(stack, numbers, strict=True):
                self.read(number, out=frame)
            return stack
        number = operator.index(index)
        return self.read(number + len(self) if number < 0 else number)

    def __iter__(self) -> Iterator[NDArray]:
        return (self.read(i) for i in range(len(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
