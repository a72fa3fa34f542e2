"""Orientations for CrystFEL: ``indexamajig --indexing=file --fromfile-input-file=FILE.sol``."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.crystal.lattice import Lattice
from hitfinder.errors import OutputError
from hitfinder.io.lst import format_line
from hitfinder.io.source import FrameRef

LONGEST_NAME = 255
"""Bytes of a file name beyond which CrystFEL takes no solution for it."""

_PER_NM = 10.0


def write_solutions(
    path: str | os.PathLike[str],
    lattice: Lattice,
    crystals: Iterable[tuple[FrameRef, NDArray[np.floating]]],
) -> None:
    """Write a CrystFEL solution file, whole or not at all.

    A line is a crystal: file, event, a*, b*, c* (nm⁻¹), the detector's shift (mm), and the
    lattice's code.

    Parameters
    ----------
    path : path-like
        The ``.sol`` file.
    lattice : Lattice
        Of all crystals.
    crystals : iterable of (FrameRef, ndarray of shape (3, 3))
        Frame, with the file as it will be named to indexamajig, and reciprocal axes as columns,
        in Å⁻¹.

    Raises
    ------
    OutputError
        If it cannot be written, or a file's name is too long for CrystFEL.
    """
    with (
        replacing(path) as part,
        open(part, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for ref, axes in crystals:
            if len(os.fsencode(ref.file)) > LONGEST_NAME:
                hint = "Move the run to a folder with a shorter path."
                raise OutputError("the name is too long for a CrystFEL solution", ref.file, hint)
            numbers = " ".join(f"{value:+.7f}" for value in _PER_NM * np.asarray(axes).T.ravel())
            file.write(f"{format_line(ref)} {numbers} 0 0 {lattice.code}\n")
