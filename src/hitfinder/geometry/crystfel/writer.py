"""Writing CrystFEL geometry files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel.directives import Directives
from hitfinder.geometry.detector import Panel, Vector
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.layout import Dim

_MOST_REGIONS = 1000


def write_geom(path: str | os.PathLike[str], lines: Iterable[str]) -> None:
    """Write a CrystFEL geometry file.

    Parameters
    ----------
    path : path-like
        File to write.
    lines : iterable of str
        Its lines, from `geom_lines`.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(path) as part:
        part.write_text("\n".join(lines).strip() + "\n", encoding="utf-8")


def geom_lines(
    geometry: Geometry,
    *,
    data_path: str,
    dims: tuple[Dim, ...] = ("%", "ss", "fs"),
    mask_path: str | None = None,
    mask_file: str | None = None,
    mask_good: int = 0,
    mask_bad: int = 0xFFFF,
    peak_list: str | None = None,
    adu_per_photon: float = 1,
    clen: float | str | None = None,
    photon_energy: float | str | None = None,
    directives: Directives | None = None,
    comments: Iterable[str] = (),
) -> list[str]:
    """Describe a geometry as a CrystFEL geometry file does, for `write_geom`.

    Lengths and energies have no unit, as cfelpyutils wants it: CrystFEL takes such numbers as m and
    eV, and those at a path in the data file as mm and eV.

    Parameters
    ----------
    geometry : Geometry
        What to describe. Its mask is written as bad regions unless `mask_path` is given; its
        saturation, which counts photons, and its polarisation, for which CrystFEL has no word,
        are not written.
    data_path : str
        HDF5 path, or key of messages, of the frames.
    dims : tuple
        Axes of the dataset, outermost first.
    mask_path, mask_file : str, optional
        HDF5 path of a mask, and the file it is in if not the data file.
    mask_good, mask_bad : int
        Bits of the mask that a good pixel has set, and has not.
    peak_list : str, optional
        HDF5 group of a CXI peak list.
    adu_per_photon : float
        Stored counts per photon.
    clen : float or str, optional
        Camera length in m, or the HDF5 path of one in mm, or a key of messages and the unit, such
        as ``camera_length m``; the geometry's if not given.
    photon_energy : float or str, optional
        Photon energy in eV, or the HDF5 path of one in eV, or a key of messages and the unit; the
        geometry's if not given.
    directives : Directives, optional
        What to write besides.
    comments : iterable of str
        Lines to begin the file with.

    Raises
    ------
    GeometryError
        If a panel's name cannot be written, or the mask is too ragged for bad regions.
    ValueError
        If a number or path of the options cannot be meant.
    """
    if mask_file and not mask_path:
        raise ValueError("a mask file needs the path of the mask in it")
    lines = [f"; {line}".rstrip() for text in comments for line in text.splitlines()]
    lines += [
        "",
        f"photon_energy = {_number_or_path(photon_energy, geometry.photon_energy_ev)}",
        f"clen = {_number_or_path(clen, geometry.camera_length_m)}",
        f"adu_per_photon = {adu_per_photon:.15g}",
        "",
        f"data = {data_path}",
        *(f"dim{axis} = {dim}" for axis, dim in enumerate(dims)),
    ]
    if mask_path:
        lines += [f"mask = {mask_path}", f"mask_good = {mask_good:#x}", f"mask_bad = {mask_bad:#x}"]
        lines += [f"mask_file = {mask_file}"] if mask_file else []
    if peak_list:
        lines += [f"peak_list = {peak_list}", "peak_list_type = cxi"]
    directives = directives or Directives()
    lines += directives.lines
    for panel in geometry.detector:
        lines += ["", *_panel_lines(panel)]
        lines += [f"{panel.name}/{line}" for line in directives.panel_lines.get(panel.name, ())]
    if not mask_path and geometry.detector.mask is not None:
        lines += ["", *_region_lines(geometry)]
    return lines


def _number_or_path(given: float | str | None, default: float) -> str:
    if isinstance(given, str):
        if not re.fullmatch(r"/\S+|[a-z_]+ (m|eV)", given):
            raise ValueError(f"{given!r} is neither an HDF5 path nor a key with its unit")
        return given
    return f"{default if given is None else given:.15g}"


def _panel_lines(panel: Panel) -> Iterator[str]:
    name = panel.name
    if re.search(r"[\s/=;]", name) or re.match("bad|group|rigid_group", name) or not name:
        raise GeometryError(f"CrystFEL knows no panel called {name!r}", hint="rename the panel")
    yield f"{name}/min_fs = {panel.fs_start}"
    yield f"{name}/max_fs = {panel.fs_start + panel.n_fs - 1}"
    yield f"{name}/min_ss = {panel.ss_start}"
    yield f"{name}/max_ss = {panel.ss_start + panel.n_ss - 1}"
    yield f"{name}/fs = {_direction(panel.fs_vector)}"
    yield f"{name}/ss = {_direction(panel.ss_vector)}"
    yield f"{name}/corner_x = {panel.corner_x:.9f}"
    yield f"{name}/corner_y = {panel.corner_y:.9f}"
    yield f"{name}/res = {1 / panel.pixel_size_m:.15g}"
    if panel.coffset_m:
        yield f"{name}/coffset = {panel.coffset_m:.12f}"


def _direction(vector: Vector) -> str:
    # No exponents: CrystFEL reads digits, points and signs only.
    return " ".join(f"{value:+.12f}{axis}" for value, axis in zip(vector, "xyz", strict=True))


def _region_lines(geometry: Geometry) -> Iterator[str]:
    mask = geometry.detector.mask
    assert mask is not None
    count = 0
    for panel in geometry.detector:
        for top, bottom, left, right in rectangles(mask[panel.slices]):
            count += 1
            if count > _MOST_REGIONS:
                raise GeometryError(
                    f"the mask would take more than {_MOST_REGIONS} bad regions",
                    hint="store it in a file and give its path",
                )
            name = f"bad_{count}"
            yield f"{name}/panel = {panel.name}"
            yield f"{name}/min_fs = {panel.fs_start + left}"
            yield f"{name}/max_fs = {panel.fs_start + right - 1}"
            yield f"{name}/min_ss = {panel.ss_start + top}"
            yield f"{name}/max_ss = {panel.ss_start + bottom - 1}"


def rectangles(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Cover the true pixels of a mask with rectangles that do not overlap.

    Runs of masked pixels that begin and end at the same columns in successive rows make one
    rectangle.

    Yields
    ------
    tuple of int
        First row, row after the last, first column, column after the last.
    """
    growing: dict[tuple[int, int], int] = {}
    for row in range(len(mask) + 1):
        runs = _runs(mask[row]) if row < len(mask) else []
        for run in [run for run in growing if run not in runs]:
            yield growing.pop(run), row, *run
        for run in runs:
            growing.setdefault(run, row)


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    steps = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in zip(steps[::2], steps[1::2], strict=True)]
