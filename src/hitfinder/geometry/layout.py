"""How the 2-D stored frame is put together from the datasets of an HDF5 file."""

from __future__ import annotations

import dataclasses
from typing import Literal

from hitfinder.errors import GeometryError

Dim = int | Literal["%", "ss", "fs"]
"""One axis of a dataset: a fixed index, the frame (``%``), or a pixel axis."""

MOST_PIXELS = 1 << 27
"""Pixels beyond which a frame's stated size is taken for an error; the largest detectors have some
2·10⁷."""


def check_frame_size(shape: tuple[int, int], where: str) -> None:
    """Refuse a size that no frame has, before memory is asked for.

    Raises
    ------
    GeometryError
        If there are more than `MOST_PIXELS`.
    """
    if shape[0] * shape[1] > MOST_PIXELS:
        what = f"{shape[0]:.6g} x {shape[1]:.6g} pixels are more than any frame has"
        raise GeometryError(what, where)


def filled(path: str, group: str) -> str:
    """Put the names of a frame's groups in place of each ``%`` of a path.

    Parameters
    ----------
    path : str
        HDF5 path.
    group : str
        Names separated by slashes, as a CrystFEL event has them before its ``//``. Left over
        names count for nothing, a ``%`` without a name stays.
    """
    pieces, names = path.split("%"), group.split("/") if group else []
    fillers = [*names[: len(pieces) - 1], *["%"] * (len(pieces) - 1 - len(names))]
    return pieces[0] + "".join(a + b for a, b in zip(fillers, pieces[1:], strict=True))


@dataclasses.dataclass(frozen=True)
class Slab:
    """A rectangle of the stored frame that is kept in one dataset at one set of fixed indices.

    Parameters
    ----------
    data_path : str or None
        HDF5 path of the dataset; None where the geometry file names none. A ``%`` in it stands
        for the name of the frame's group.
    dims : tuple of int or str
        The dataset's axes, outermost first: ``"%"`` is the frame, ``"ss"`` and ``"fs"`` the pixel
        axes, a number the fixed index of a module. Without ``"%"`` the dataset holds one frame.
    ss_start : int
        First row of the stored frame that the slab fills; its first column is 0.
    n_ss, n_fs : int
        Rows and columns the slab fills: rows 0..n_ss-1 and columns 0..n_fs-1 of the dataset's
        pixel axes.
    """

    data_path: str | None
    dims: tuple[Dim, ...]
    ss_start: int
    n_ss: int
    n_fs: int

    def __post_init__(self) -> None:
        for axis, least in (("%", 0), ("ss", 1), ("fs", 1)):
            count = self.dims.count(axis)
            if not least <= count <= 1:
                what = f"dimensions {self.dims} name {axis!r} {count} times"
                raise GeometryError(what, hint="each of ss and fs is needed once, % at most once")

    @property
    def frame_axis(self) -> int | None:
        """Axis of the dataset that counts frames, or None if it holds one frame."""
        return self.dims.index("%") if "%" in self.dims else None

    @property
    def transposed(self) -> bool:
        """Whether the dataset has fs outside ss, so that what is read must be transposed."""
        return self.dims.index("fs") < self.dims.index("ss")

    def selection(self, index: int) -> tuple[int | slice, ...]:
        """Return what to index the dataset with to get this slab of frame `index`.

        The result is 2-D, shape (n_ss, n_fs), or (n_fs, n_ss) if `transposed`.
        """
        chosen: dict[Dim, int | slice] = {
            "%": index,
            "ss": slice(0, self.n_ss),
            "fs": slice(0, self.n_fs),
        }
        return tuple(dim if isinstance(dim, int) else chosen[dim] for dim in self.dims)


@dataclasses.dataclass(frozen=True)
class FrameLayout:
    """The slabs that make up a stored frame, stacked along ss.

    A file that keeps its modules apart, as (frame, module, ss, fs) or as a dataset for each
    module, gives the 2-D frame of shape (n_modules * ss, fs): modules follow one another along
    ss, datasets in the order in which the geometry file first names them, modules of one dataset
    by their index. Columns beyond a narrower module are on no panel, hence masked.

    Parameters
    ----------
    slabs : tuple of Slab
        In the order in which they fill the frame.
    """

    slabs: tuple[Slab, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the stored frame."""
        return sum(slab.n_ss for slab in self.slabs), max(slab.n_fs for slab in self.slabs)

    @property
    def is_plain(self) -> bool:
        """Whether the frame is one dataset's ss and fs axes as they stand.

        Then the dataset may be larger than the panels reach, and its own size is the frame's.
        """
        slab = self.slabs[0]
        fixed = any(isinstance(dim, int) for dim in slab.dims)
        return len(self.slabs) == 1 and not fixed and not slab.transposed

    @property
    def data_paths(self) -> tuple[str, ...]:
        """The datasets named, each once, in the order of the slabs."""
        return tuple(dict.fromkeys(s.data_path for s in self.slabs if s.data_path is not None))
