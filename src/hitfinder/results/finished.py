"""The results of a finished run, read from its tables a part at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from hitfinder import atomic
from hitfinder.errors import ConfigError
from hitfinder.export.hits import RESULT
from hitfinder.finding.peaks import PEAK_DTYPE, doubtful
from hitfinder.results.chunk import FRAME_DTYPE, SUPPORT_DTYPE, ChunkResult, Counts
from hitfinder.results.crystalhits import CRYSTAL_FIELDS
from hitfinder.results.doubts import decide_by_score
from hitfinder.results.hits import AGAIN, FRAMES, HITS_CXI, PEAKS
from hitfinder.results.totals import Totals

T = TypeVar("T")

TOTALS_FILE = "totals.npz"
_SUPPORTED, _SUPPORT = "supported_frames", "support"

TOTALS_KEYS = {
    "image": ("integer", "", "sum of all frames at reduced size, bin by bin"),
    "profile": ("int64", "", "sum of the expected background by distance from the beam centre"),
    "geometry": ("int64", "", "what the frames say of photon energy and camera length"),
    "n_rings": ("int64", "1", "rings that `geometry` is counted in"),
    _SUPPORTED: ("int64", "1", "frames that have an entry in `support`"),
    _SUPPORT: ("record", "", "what the score of a hit rests on where that may be doubtful"),
}
"""Arrays of ``totals.npz``: type, unit, meaning. Sums are kept as whole numbers, so that they are
the same in whatever order frames are added."""

FRAMES_AT_ONCE = 1 << 14

_COMPRESSION = 1
"""Of `TOTALS_FILE`: the usual one takes five times as long, for a file a seventh smaller."""


def write_totals(path: Path, totals: Totals, chunks: Iterable[ChunkResult]) -> None:
    """Keep what is added up over the frames of a run, and what hits rest on, in one file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    frames, support = [np.empty(0, np.int64)], [np.empty(0, SUPPORT_DTYPE)]
    for chunk in chunks:
        told = chunk.rows["support"] != np.zeros((), SUPPORT_DTYPE)
        frames.append(chunk.frames[told])
        support.append(chunk.rows["support"][told])
    arrays: dict[str, Any] = {
        **totals.to_arrays(),
        _SUPPORTED: np.concatenate(frames),
        _SUPPORT: np.concatenate(support),
    }
    with (
        atomic.replacing(path) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as file,
    ):
        # As NumPy does it, which compresses longer.
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_totals(folder: Path) -> Totals:
    """Return what is added up over the frames of a finished run.

    Raises
    ------
    ConfigError
        If the folder does not tell.
    """
    return _read(folder, lambda arrays: Totals.from_arrays(dict(arrays)))


def read_support(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Return the frames of a finished run of which it is kept what they rest on, and that.

    Raises
    ------
    ConfigError
        If the folder does not tell.
    """
    return _read(
        folder,
        lambda arrays: (
            arrays[_SUPPORTED].astype(np.int64),
            _with_all_fields(arrays[_SUPPORT]),
        ),
    )


def _with_all_fields(support: NDArray[np.void]) -> NDArray[np.void]:
    """Return what scores rest on; what an older run does not tell is 0."""
    whole = np.zeros(support.shape, SUPPORT_DTYPE)
    for name in set(support.dtype.names or ()) & set(SUPPORT_DTYPE.names or ()):
        whole[name] = support[name]
    return whole


def _read(folder: Path, take: Callable[[Mapping[str, NDArray]], T]) -> T:
    """Take something out of the arrays that a finished run keeps."""
    try:
        with np.load(folder / TOTALS_FILE, allow_pickle=False) as arrays:
            return take(arrays)
    except Exception as error:  # NumPy and zipfile have many for a file that is damaged
        raise ConfigError("cannot be read", str(folder / TOTALS_FILE), AGAIN) from error


@dataclasses.dataclass(frozen=True, eq=False)
class FinishedResults:
    """Gives the results of a finished run as a job that is at work keeps them.

    Attributes
    ----------
    folder : Path
        Folder of the run.
    least_score, min_peaks : float, int
        What a hit needs; the tables' own hits do not count.
    again : ChunkResult
        Results that stand in the place of the tables', of frames that were searched again.
    totals : Totals
        What is added up over the frames.
    support : tuple of two ndarrays
        Numbers of the frames whose hits may be doubtful, rising, and what these rest on
        (`hitfinder.results.chunk.SUPPORT_DTYPE`).
    maxima : dict
        Brightest pixel of each peak of a frame, where it is known; no table has it.
    """

    folder: Path
    least_score: float
    min_peaks: int
    again: ChunkResult
    totals: Totals
    support: tuple[NDArray[np.int64], NDArray[np.void]]
    maxima: dict[int, NDArray[np.float32]]
    counts: Counts = dataclasses.field(default_factory=Counts)

    def chunks(self) -> Iterator[ChunkResult]:
        """Yield the results in frame order, without their totals."""
        file = pyarrow.parquet.ParquetFile(self.folder / FRAMES)
        start = 0
        for batch in file.iter_batches(FRAMES_AT_ONCE):
            frames = np.arange(start, start + batch.num_rows)
            start += batch.num_rows
            chunk = self._chunk(batch, frames)
            own = np.isin(self.again.frames, frames)
            merged = chunk.without(self.again.frames[own])
            merged.totals = Totals()
            merged.merge(self.again.without(self.again.frames[~own]))
            decide_by_score(merged.rows, self.least_score, self.min_peaks)
            yield merged

    def _chunk(self, batch: pyarrow.RecordBatch, frames: NDArray[np.int64]) -> ChunkResult:
        rows = np.zeros(len(frames), FRAME_DTYPE)
        for name in FRAME_DTYPE.names or ():
            if name in CRYSTAL_FIELDS:
                rows[name] = np.nan
            elif name != "support":
                rows[name] = batch.column(name).to_numpy(zero_copy_only=False)
        known = np.isin(self.support[0], frames)
        rows["support"][self.support[0][known] - frames[0]] = self.support[1][known]
        within = [("frame", ">=", frames[0]), ("frame", "<=", frames[-1])]
        table = pyarrow.parquet.read_table(self.folder / PEAKS, filters=within)
        peaks = np.zeros(table.num_rows, PEAK_DTYPE)
        for name in PEAK_DTYPE.names or ():
            peaks[name] = table[name].to_numpy() if name in table.column_names else np.nan
        owner = table["frame"].to_numpy()
        # Counted is what is there: a decision that was cut short may have left one table new.
        rows["n_peaks"] = np.bincount(owner - frames[0], minlength=len(frames))
        ends = np.cumsum(rows["n_peaks"])
        for row, frame in enumerate(frames):
            brightest = self.maxima.get(int(frame))
            if brightest is None:
                continue
            own = peaks[ends[row] - rows["n_peaks"][row] : ends[row]]
            # Files for CrystFEL may leave out the doubtful ones.
            handed_on = np.ones(len(own), bool) if len(brightest) == len(own) else ~doubtful(own)
            if handed_on.sum() == len(brightest):
                own["maximum"][handed_on] = brightest
        return ChunkResult(frames, rows, peaks)


def maxima_of_hits(folder: Path) -> dict[int, NDArray[np.float32]]:
    """Return the brightest pixel of each peak of the hits, by frame, as far as the folder tells."""
    with contextlib.suppress(OSError, KeyError), h5py.File(folder / HITS_CXI, "r") as file:
        frames, n_peaks, values = (
            file[f"{RESULT}/{name}"][()] for name in ("frame", "nPeaks", "peakMaximumValue")
        )
        return {int(frame): row[:n] for frame, n, row in zip(frames, n_peaks, values, strict=True)}
    return {}
