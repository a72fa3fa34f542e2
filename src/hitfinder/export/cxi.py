"""Hits as a CXI file with a peak list, as CrystFEL, OM and Cheetah know it."""

from __future__ import annotations

import dataclasses
import itertools
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import OutputError, SourceError
from hitfinder.export.hits import (
    DISTANCE,
    DISTANCE_MM,
    ENERGY_EV,
    ENERGY_J,
    ORIGIN,
    RESULT,
    Hit,
    Results,
)
from hitfinder.export.links import FrameLinks
from hitfinder.geometry.crystfel import Directives, geom_lines, write_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.newfile import new_hdf5
from hitfinder.io.source import FrameSource

DATA = "/entry_1/data_1/data"
MASK = "/entry_1/data_1/mask"
COPIES = "/entry_1/data_1/copies"

CXI_VERSION = 160
HITS_PER_WRITE = 256

SOURCES_AT_ONCE = 32
"""Linked datasets that are checked before the file is closed, with the files they are in."""


@dataclasses.dataclass(frozen=True)
class CxiSummary:
    """What a CXI file came to hold.

    Parameters
    ----------
    n_hits : int
        Frames.
    n_copied : int
        Frames whose counts are in the file itself.
    photon_energy_ev, camera_length_m : float or None
        Those of all frames, in eV and m; None if they differ between frames.
    """

    n_hits: int
    n_copied: int
    photon_energy_ev: float | None
    camera_length_m: float | None


def write_cxi(
    path: str | os.PathLike[str],
    source: FrameSource,
    geometry: Geometry,
    hits: Iterable[Hit],
    *,
    copy_frames: bool = False,
    mask_of: Callable[[int], NDArray[np.bool_] | None] | None = None,
    on_lost: Callable[[Hit, SourceError], None] | None = None,
) -> CxiSummary:
    """Write hits as a CXI file, whole or not at all.

    Frames stay where they are: the file shows them through a virtual dataset that leads to the
    very datasets that hold them, past master files and links. Frames that are in no HDF5 file, or
    put together from several datasets, are copied. Memory does not grow with the peaks.

    Parameters
    ----------
    path : path-like
        The ``.cxi`` file.
    source : FrameSource
        Where the frames are, with counts as they are stored.
    geometry : Geometry
        Mask, photon energy and camera length to record.
    hits : iterable of Hit
        The hits, taken one at a time, in the order in which they are to stand.
    copy_frames : bool
        Copy every frame.
    mask_of : callable, optional
        Given a frame's index in the source, its own mask beyond the geometry's, if any; each
        frame's mask is recorded then.
    on_lost : callable, optional
        Called with a hit whose frame cannot be read any more, and the reason; it is left out.

    Returns
    -------
    CxiSummary
        What was written.

    Raises
    ------
    OutputError
        If the file cannot be written, or shows other counts than the source gives.
    SourceError
        If a frame cannot be read, without `on_lost`.
    """
    if source.shape not in (geometry.shape, (0, 0)):
        what = f"frames of {source.shape} pixels do not fit a geometry of {geometry.shape}"
        raise OutputError(what, str(path))
    with replacing(path) as part:
        with new_hdf5(part, str(path)) as h5file:
            frames = _Frames(h5file, source, geometry.shape, Path(path).parent, copy_frames)
            masks = _Masks(h5file, geometry, mask_of)
            results = Results(h5file, geometry)
            for batch in _batches(hits):
                results.add(list(_kept(batch, frames, masks, on_lost)), source)
            frames.finish()
            _write_rest(h5file, geometry)
        _check(part, source, frames)
    return CxiSummary(
        len(frames.links),
        frames.n_copied,
        results.energies.value(geometry.photon_energy_ev),
        results.lengths.value(geometry.camera_length_m),
    )


def _kept(
    batch: Iterable[Hit],
    frames: _Frames,
    masks: _Masks,
    on_lost: Callable[[Hit, SourceError], None] | None,
) -> Iterator[Hit]:
    """Take in the frames and masks of hits; yield those that could be read."""
    for hit in batch:
        try:
            own = masks.of(hit.frame)
            frames.add(hit.frame)
        except SourceError as error:
            if on_lost is None:
                raise
            on_lost(hit, error)
            continue
        masks.add(own)
        yield hit


def write_cxi_geom(
    path: str | os.PathLike[str],
    geometry: Geometry,
    summary: CxiSummary,
    *,
    adu_per_photon: float = 1,
    directives: Directives | None = None,
    comments: Iterable[str] = (),
) -> None:
    """Write the geometry file that belongs to a CXI file of hits.

    Photon energy and camera length are written as numbers, or as the place in the CXI file where
    they differ between frames.

    Parameters
    ----------
    path : path-like
        The ``.geom`` file.
    geometry : Geometry
        As given to `write_cxi`.
    summary : CxiSummary
        What `write_cxi` returned.
    adu_per_photon : float
        Stored counts per photon.
    directives : Directives, optional
        What CrystFEL is to be told besides.
    comments : iterable of str
        Lines to begin the file with.

    Raises
    ------
    GeometryError, OutputError
        As for `hitfinder.geometry.crystfel.write_geom`.
    """
    write_geom(
        path,
        geom_lines(
            geometry,
            data_path=DATA,
            mask_path=MASK,
            mask_good=0,
            mask_bad=1,
            peak_list=RESULT,
            adu_per_photon=adu_per_photon,
            clen=DISTANCE_MM if summary.camera_length_m is None else summary.camera_length_m,
            photon_energy=(
                ENERGY_EV if summary.photon_energy_ev is None else summary.photon_energy_ev
            ),
            directives=directives,
            comments=comments,
        ),
    )


class _Frames:
    """The frames: links to where they are kept, or copies."""

    def __init__(
        self,
        h5file: h5py.File,
        source: FrameSource,
        shape: tuple[int, int],
        folder: Path,
        copy_frames: bool,
    ) -> None:
        self.h5file, self.source, self.shape, self.copy_frames = h5file, source, shape, copy_frames
        self.links = FrameLinks(folder, shape)
        self.buffer = np.empty(shape, source.dtype)
        self.copies: h5py.Dataset | None = None
        self.n_copied = 0
        self.kept = array("q")

    def add(self, frame: int) -> None:
        location = None if self.copy_frames else self.source.h5_location(frame)
        if location is not None:
            self.links.add(*location)
        else:
            self._copy(frame)
        self.kept.append(frame)

    def _copy(self, frame: int) -> None:
        packed = self.source.packed(frame)
        counts = self.source.read(frame, self.buffer) if packed is None else None
        if self.copies is None:
            self.copies = self.h5file.create_dataset(
                COPIES,
                (0, *self.shape),
                self.source.dtype,
                maxshape=(None, *self.shape),
                chunks=(1, *self.shape),
                **hdf5plugin.Bitshuffle(cname="lz4"),
            )
        self.n_copied += 1
        self.copies.resize(self.n_copied, axis=0)
        if packed is None:
            self.copies[-1] = counts
        else:
            self.copies.id.write_direct_chunk((self.n_copied - 1, 0, 0), packed)
        self.links.add_own(self.copies)

    def finish(self) -> None:
        """Make the dataset of all frames."""
        if not len(self.links):
            shape = self.shape
            data = self.h5file.create_dataset(
                DATA, (0, *shape), self.source.dtype, maxshape=(None, *shape), chunks=(1, *shape)
            )
        elif self.links.only_own:
            self.h5file.move(COPIES, DATA)
            data = self.h5file[DATA]
        else:
            layout = self.links.layout()
            # What a lost file would have held should not pass for frames without photons.
            lost = np.iinfo(layout.dtype).max if layout.dtype.kind in "iu" else np.nan
            data = self.h5file.create_virtual_dataset(DATA, layout, fillvalue=lost)
        data.attrs["axes"] = "experiment_identifier:y:x"


class _Masks:
    """The mask of all frames, or one for each."""

    def __init__(
        self,
        h5file: h5py.File,
        geometry: Geometry,
        mask_of: Callable[[int], NDArray[np.bool_] | None] | None,
    ) -> None:
        self.common, self.mask_of = geometry.detector.full_mask, mask_of
        packed = {"compression": "gzip", "compression_opts": 1}
        if mask_of is None:
            h5file.create_dataset(MASK, data=self.common.view(np.uint8), chunks=True, **packed)
            return
        shape = geometry.shape
        self.masks = h5file.create_dataset(
            MASK, (0, *shape), np.uint8, maxshape=(None, *shape), chunks=(1, *shape), **packed
        )

    def of(self, frame: int) -> NDArray[np.bool_] | None:
        """Return the mask of a frame beyond that of all, if it has one."""
        return None if self.mask_of is None else self.mask_of(frame)

    def add(self, own: NDArray[np.bool_] | None) -> None:
        """Append the mask of a frame."""
        if self.mask_of is None:
            return
        self.masks.resize(len(self.masks) + 1, axis=0)
        self.masks[-1] = self.common if own is None else self.common | own


def _write_rest(h5file: h5py.File, geometry: Geometry) -> None:
    """Write what holds for all frames, and the links that the CXI layout asks for."""
    h5file["/cxi_version"] = CXI_VERSION
    detector = h5file["/entry_1/instrument_1/detector_1"]
    detector["data"], detector["mask"] = h5py.SoftLink(DATA), h5py.SoftLink(MASK)
    edges = geometry.detector.panels[0].pixel_edges_m
    detector["x_pixel_size"], detector["y_pixel_size"] = edges
    data = h5file["/entry_1/data_1"]
    data["experiment_identifier"] = h5py.SoftLink(ORIGIN)
    units = {ENERGY_EV: "eV", ENERGY_J: "J", DISTANCE: "m", DISTANCE_MM: "mm"}
    units |= {f"{RESULT}/resolution_a": "angstrom", f"{RESULT}/photons": "photon"}
    for path, unit in units.items():
        h5file[path].attrs["units"] = unit
    for name in ("peakXPosRaw", "peakYPosRaw"):
        h5file[RESULT][name].attrs["units"] = "pixel index; the first pixel's centre is 0"


def _check(part: Path, source: FrameSource, frames: _Frames) -> None:
    """Read one frame of every dataset that is linked, since HDF5 does not tell of lost files.

    HDF5 keeps every source of a virtual dataset open that it has read from, so the file is opened
    anew from time to time.
    """
    if frames.links.only_own:
        return
    rows = iter(frames.links.samples())
    while some := list(itertools.islice(rows, SOURCES_AT_ONCE)):
        with h5py.File(part, "r", rdcc_nbytes=0) as h5file:
            data = h5file[DATA]
            for row in some:
                _check_row(data, row, source, frames)


def _check_row(data: h5py.Dataset, row: int, source: FrameSource, frames: _Frames) -> None:
    try:
        expected = source.read(frames.kept[row], frames.buffer)
    except SourceError:
        return  # the file was there a moment ago, when it was linked
    if not np.array_equal(data[row], expected, equal_nan=expected.dtype.kind == "f"):
        name = source.ref(frames.kept[row]).file
        hint = "copy the frames instead (--copy-frames)"
        raise OutputError(f"frames of {name} cannot be linked to", data.file.filename, hint)


def _batches(hits: Iterable[Hit]) -> Iterator[list[Hit]]:
    rest = iter(hits)
    while batch := list(itertools.islice(rest, HITS_PER_WRITE)):
        yield batch
