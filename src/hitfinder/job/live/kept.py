"""The frames that a live run keeps: an NXmx file with a place for each, filled for the hits."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.export.cxi import DATA, MASK
from hitfinder.export.hits import RESULT
from hitfinder.io.handles import POOL
from hitfinder.io.newfile import new_hdf5
from hitfinder.io.nxmx import DATA_PATH
from hitfinder.io.simplon.series import NOT_RECEIVED, PASSED_OVER
from hitfinder.io.source import FrameSource
from hitfinder.job.live.work import SHARDS
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.store import Store
from hitfinder.units import HC_EV_ANGSTROM

FRAMES_FILE = "frames.h5"


@dataclasses.dataclass(frozen=True, eq=False)
class SeriesDescription:
    """What is known of a series when its first frame is there; None for what is not.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of a frame.
    dtype : numpy.dtype
        Type of the counts.
    photon_energy_ev, camera_length_m, pixel_size_m, saturation : float, optional
        Photon energy in eV, lengths in m, counts of a saturated pixel.
    beam_center : tuple of float, optional
        Where the beam meets the frame (fs, ss), in pixels.
    mask : ndarray of uint32, shape `shape`, optional
        Bits of the pixel mask.
    detector : str
        The detector's name.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    photon_energy_ev: float | None = None
    camera_length_m: float | None = None
    pixel_size_m: float | None = None
    saturation: float | None = None
    beam_center: tuple[float, float] | None = None
    mask: NDArray[np.uint32] | None = None
    detector: str = ""


def write_places(folder: Path, series: SeriesDescription, n_frames: int = 1) -> Path:
    """Write the file of the frames, with the hits of the shards that are there.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    series : SeriesDescription
        What is known of the series.
    n_frames : int
        Places for frames; one that is empty takes no room.

    Returns
    -------
    Path
        The file.
    """
    path = folder / FRAMES_FILE
    with replacing(path) as part, new_hdf5(part, str(path)) as file:
        data = file.create_dataset(
            DATA_PATH,
            (n_frames, *series.shape),
            series.dtype,
            chunks=(1, *series.shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )
        _describe(file, series)
        for shard in shards(folder):
            _take_over(data, shard)
    return path


def described(source: FrameSource) -> SeriesDescription:
    """Say what a file tells of a series."""
    said, mask = source.metadata, source.mask_of(0)
    return SeriesDescription(
        source.shape,
        source.dtype,
        said.photon_energy_ev,
        said.camera_length_m,
        said.pixel_size_m,
        said.saturation,
        said.beam_center,
        None if mask is None else mask.astype(np.uint32),
        said.detector,
    )


def fill_gaps(
    store: Store, why: str, n_frames: int = 0, missing: Collection[int] = frozenset()
) -> int:
    """Give a row to frames that were being worked on when a run ended: they are passed over.

    Parameters
    ----------
    store : Store
        Where results are kept.
    why : str
        Why they have no results.
    n_frames : int
        Frames there are at least.
    missing : collection of int
        Those that did not come.

    Returns
    -------
    int
        How many frames there are.
    """
    extents = [(int(chunk.frames[0]), int(chunk.frames[-1]) + 1) for chunk in store.chunks()]
    at = 0
    for first, stop in [*extents, (n_frames, n_frames)]:
        if first > at:
            gap = ChunkResult.without_results(range(at, first), PASSED_OVER, why)
            gap.rows["status"][[k - at for k in range(at, first) if k in missing]] = NOT_RECEIVED
            store.add(at, gap)
        at = max(at, stop)
    return at


def shards(folder: Path) -> list[Path]:
    """Return the files of the hits so far, in the order of their first frames."""
    return sorted((folder / SHARDS).glob("hits-*.cxi"))


def _take_over(data: h5py.Dataset, shard: Path) -> None:
    """Copy the hits of a shard as they are packed; what is beyond the frames was not settled."""
    with h5py.File(shard, "r") as file:
        hits = file[DATA]
        for row, number in enumerate(file[f"{RESULT}/frame"][()].tolist()):
            if number < len(data):
                packed = hits.id.read_direct_chunk((row, 0, 0))[1]
                data.id.write_direct_chunk((number, 0, 0), packed)


def remove_shards(folder: Path) -> None:
    """Delete the shards, whose hits are in the file of the frames; all of them or none."""
    done_with = folder / f".{SHARDS}"
    shutil.rmtree(done_with, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        (folder / SHARDS).rename(done_with)
    shutil.rmtree(done_with, ignore_errors=True)


FULL_HITS, FULL_BYTES = 128, 1 << 28
"""A shard of so many hits, or bytes, is not joined any more."""

_JOINED = 32


class Shards:
    """The shards of a run that goes on, which are joined so that they stay few.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._n_hits: dict[Path, int] = {}

    def join(self, is_settled: Callable[[int], bool]) -> None:
        """Join shards that are not full, when there are many.

        Parameters
        ----------
        is_settled : callable
            Whether no worker writes the shard that begins with such a frame any more.
        """
        small: list[Path] = []
        n_hits = 0
        for path in shards(self._folder):
            if path not in self._n_hits:
                if not is_settled(int(path.stem.removeprefix("hits-"))):
                    continue
                self._n_hits[path] = _n_hits(path)
            n = self._n_hits[path]
            if n >= FULL_HITS or path.stat().st_size >= FULL_BYTES:
                continue
            small.append(path)
            n_hits += n
            if len(small) >= _JOINED or n_hits >= FULL_HITS:
                join_shards(small)
                for joined in small:
                    del self._n_hits[joined]
                small, n_hits = [], 0


def join_shards(paths: Sequence[Path]) -> None:
    """Put the hits of shards into the file of the first one, as they are packed.

    Parameters
    ----------
    paths : sequence of Path
        The shards. If this is cut short, hits may be in two files, which are the same then.
    """
    with POOL.lock, replacing(paths[0]) as part, contextlib.ExitStack() as stack:
        shutil.copyfile(paths[0], part)
        whole = stack.enter_context(h5py.File(part, "r+"))
        others = [stack.enter_context(h5py.File(path, "r")) for path in paths[1:]]
        for name in _growing(whole):
            _append(whole[name], [file[name] for file in others], packed=name == DATA[1:])
        masks = {_stored(whole[MASK])}
        for file in others:
            # What is static by then is masked for all; mostly nothing was added.
            if (mask := _stored(file[MASK])) not in masks:
                whole[MASK][...] = whole[MASK][()] | file[MASK][()]
                masks.add(mask)
    for path in paths[1:]:
        path.unlink()


def _n_hits(path: Path) -> int:
    with POOL.lock, h5py.File(path, "r") as file:
        return len(file[DATA])


def _growing(file: h5py.File) -> list[str]:
    """Return the names of the datasets that have a row for each hit."""
    names: list[str] = []
    file.visit(names.append)
    found = ((name, file[name]) for name in names)
    return [
        name
        for name, item in found
        if isinstance(item, h5py.Dataset) and (item.maxshape or (0,))[:1] == (None,)
    ]


def _append(here: h5py.Dataset, others: Sequence[h5py.Dataset], packed: bool) -> None:
    """Append the rows of this dataset in other shards, as they are packed if they are frames."""
    (n, *wide), ends = here.shape, np.cumsum([len(there) for there in others])
    if packed:
        here.resize(n + ends[-1], axis=0)
        rows = ((there, row) for there in others for row in range(len(there)))
        for at, (there, row) in enumerate(rows, n):
            here.id.write_direct_chunk((at, 0, 0), there.id.read_direct_chunk((row, 0, 0))[1])
        return
    if not wide:
        here.resize((n + ends[-1],))
        here[n:] = np.concatenate([there[()] for there in others])
        return
    width = max(there.shape[1] for there in (here, *others))
    filled = np.zeros((ends[-1], width), here.dtype)
    for there, end in zip(others, ends, strict=True):
        filled[end - len(there) : end, : there.shape[1]] = there[()]
    here.resize((n + ends[-1], width))
    here[n:] = filled


def _stored(dataset: h5py.Dataset) -> tuple[bytes, ...]:
    """Return the chunks of a dataset as they are in its file: to unpack them takes long."""
    places = (tuple(part.start for part in parts) for parts in dataset.iter_chunks())
    return tuple(dataset.id.read_direct_chunk(place)[1] for place in places)


def _describe(file: h5py.File, series: SeriesDescription) -> None:
    for name, kind in (
        ("entry", "NXentry"),
        ("entry/data", "NXdata"),
        ("entry/instrument", "NXinstrument"),
        ("entry/instrument/detector", "NXdetector"),
        ("entry/instrument/beam", "NXbeam"),
    ):
        file.require_group(name).attrs["NX_class"] = kind
    file["entry/definition"] = "NXmx"
    file["entry/data"].attrs["signal"] = "data"
    detector = file["entry/instrument/detector"]
    center = series.beam_center or (None, None)
    values: dict[str, tuple[Any, str]] = {
        "detector_distance": (series.camera_length_m, "m"),
        "x_pixel_size": (series.pixel_size_m, "m"),
        "y_pixel_size": (series.pixel_size_m, "m"),
        "beam_center_x": (center[0], "pixel"),
        "beam_center_y": (center[1], "pixel"),
        "saturation_value": (series.saturation, ""),
        "description": (series.detector or None, ""),
        "bit_depth_image": (np.int32(8 * series.dtype.itemsize), ""),
    }
    for name, (value, unit) in values.items():
        if value is not None:
            detector[name] = value
            if unit:
                detector[name].attrs["units"] = unit
    if series.mask is not None:
        detector.create_dataset("pixel_mask", data=series.mask, compression="gzip")
    if series.photon_energy_ev:
        wavelength = HC_EV_ANGSTROM / series.photon_energy_ev
        beam = file["entry/instrument/beam"]
        beam["incident_wavelength"] = wavelength
        beam["incident_wavelength"].attrs["units"] = "angstrom"
