"""Pixels that a CrystFEL geometry file says are to be ignored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel.entries import BadRegion, MaskPlace, PanelEntry
from hitfinder.geometry.crystfel.stored import dataset_at, plane_of
from hitfinder.geometry.detector import Panel
from hitfinder.geometry.layout import FrameLayout, Slab, filled

Placed = Sequence[tuple[PanelEntry, Panel]]
"""Panels as a geometry file has them, and in the stored frame."""


def static_mask(
    layout: FrameLayout, placed: Placed, bad_regions: Sequence[BadRegion]
) -> NDArray[np.bool_]:
    """Mask of bad regions, panels that are left out (``no_index``) and panel edges.

    Returns
    -------
    ndarray of bool, shape of `layout`
        True where a pixel is to be ignored.
    """
    mask = np.zeros(layout.shape, bool)
    of_panel: dict[str | None, list[BadRegion]] = {}
    for region in bad_regions:
        of_panel.setdefault(None if region.in_lab else region.panel, []).append(region)
    for entry, panel in placed:
        view = mask[panel.slices]
        if entry.no_index:
            view[:] = True
        edge = entry.mask_edge_pixels
        if edge > 0:
            view[:edge] = view[-edge:] = True
            view[:, :edge] = view[:, -edge:] = True
        for region in (*of_panel.get(None, ()), *of_panel.get(entry.name, ())):
            if region.in_lab:
                _mask_lab_region(view, region, panel)
            else:
                _mask_data_region(view, region, entry)
    return mask


def _mask_data_region(view: NDArray[np.bool_], region: BadRegion, entry: PanelEntry) -> None:
    """Mask a region given in the coordinates of the panel's dataset, bounds included."""
    first = (region.low[0] - entry.min_fs, region.low[1] - entry.min_ss)
    last = (region.high[0] - entry.min_fs, region.high[1] - entry.min_ss)
    columns, rows = (
        slice(max(0, int(low)), max(0, int(high) + 1))
        for low, high in zip(first, last, strict=True)
    )
    view[rows, columns] = True


def _mask_lab_region(view: NDArray[np.bool_], region: BadRegion, panel: Panel) -> None:
    """Mask the pixels whose first corner lies within a region of the lab, as CrystFEL does."""
    ss, fs = np.ogrid[: panel.n_ss, : panel.n_fs]
    inside = np.ones(view.shape, bool)
    for axis, corner in enumerate((panel.corner_x, panel.corner_y)):
        at = corner + fs * panel.fs_vector[axis] + ss * panel.ss_vector[axis]
        inside &= (at > region.low[axis]) & (at < region.high[axis])
    view |= inside


def file_masks(layout: FrameLayout, placed: Placed, geom_path: str) -> NDArray[np.bool_] | None:
    """Mask from the files that the geometry file names; None if it names none.

    A relative name is looked for from the working directory, then from the geometry file's
    folder. HDF5 files are read at the given location; of any other format, the only image.

    Raises
    ------
    GeometryError
        If a file is missing or does not hold the panels' pixels.
    """

    def read(place: MaskPlace, slab: Slab) -> NDArray[Any]:
        path = _find_file(place, geom_path)
        import h5py

        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as h5file:
                return plane_of(h5file, place.location, slab, 0)
        return _plain_image(path, slab)

    return _joined(layout, placed, lambda place: place.file is not None, read)


def data_masks(
    layout: FrameLayout, placed: Placed, h5file: Any, index: int, group: str
) -> NDArray[np.bool_] | None:
    """Mask kept in the data file beside frame `index`; None if the geometry file names none."""

    def read(place: MaskPlace, slab: Slab) -> NDArray[Any]:
        return plane_of(h5file, filled(place.location, group), slab, index)

    return _joined(layout, placed, lambda place: place.file is None, read)


def frames_have_masks(
    layout: FrameLayout, panels: Sequence[PanelEntry], h5file: Any, group: str
) -> bool:
    """Whether a mask that is kept beside the data is one for each frame."""
    for slab in layout.slabs:
        for place in {place for entry in panels for place in entry.masks}:
            if place.file is None and slab.frame_axis is not None:
                stored = dataset_at(h5file, filled(place.location, group)).shape
                if len(stored) == len(slab.dims) and stored[slab.frame_axis] > 1:
                    return True
    return False


def _joined(
    layout: FrameLayout,
    placed: Placed,
    wanted: Callable[[MaskPlace], bool],
    read: Callable[[MaskPlace, Slab], NDArray[Any]],
) -> NDArray[np.bool_] | None:
    mask = np.zeros(layout.shape, bool)
    slabs = {(slab.data_path, slab.dims): slab for slab in layout.slabs}
    planes: dict[tuple[MaskPlace, Slab], NDArray[np.bool_]] = {}
    for entry, panel in placed:
        slab = slabs[entry.slab_key]
        for place in entry.masks:
            if not wanted(place):
                continue
            if (place, slab) not in planes:
                planes[place, slab] = place.bad(read(place, slab))
            rows = slice(entry.min_ss, entry.max_ss + 1)
            columns = slice(entry.min_fs, entry.max_fs + 1)
            mask[panel.slices] |= planes[place, slab][rows, columns]
    return mask if planes else None


def _find_file(place: MaskPlace, geom_path: str) -> Path:
    path = Path(place.file or "")
    for candidate in (path, Path(geom_path).parent / path):
        if candidate.is_file():
            return candidate
    raise GeometryError(
        f"mask file {str(path)!r} does not exist",
        geom_path,
        "a relative name counts from the working directory or from the geometry file's folder",
    )


def _plain_image(path: Path, slab: Slab) -> NDArray[Any]:
    import fabio

    try:
        with fabio.open(str(path)) as image:
            data = np.asarray(image.data)
    except Exception as error:
        raise GeometryError(f"cannot be read as a mask ({error})", str(path)) from error
    if data.ndim != 2 or data.shape[0] < slab.n_ss or data.shape[1] < slab.n_fs:
        what = f"mask shape {data.shape} does not hold {slab.n_ss} x {slab.n_fs} pixels"
        raise GeometryError(what, str(path))
    return data
