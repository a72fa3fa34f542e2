"""What a source of frames is made of, for people to read."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LinkedFile:
    """A file that holds frames of another one.

    Parameters
    ----------
    path : str
        The file.
    frames : int
        Frames taken from it, or that it should have held.
    status : str
        ``ok``, or the status of the error that its frames give.
    """

    path: str
    frames: int
    status: str = "ok"


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a source is made of, for people to read.

    Parameters
    ----------
    format : str
        Name of the file format.
    dataset : str
        HDF5 path the frames were found at; empty for other formats.
    compression : str
        How the counts are packed; empty if they are not, or if no file is readable.
    linked_files : tuple of LinkedFile
        The files that hold the frames, where they are not in the file that was named.
    """

    format: str
    dataset: str = ""
    compression: str = ""
    linked_files: tuple[LinkedFile, ...] = ()
