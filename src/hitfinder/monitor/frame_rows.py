"""The frames of a run as the page needs them: a few numbers each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hitfinder.results.chunk import OK, PENDING, ChunkResult

COLUMNS = {
    "hit": "?",
    "score": "f8",
    "n_peaks": "i4",
    "photons": "i8",
    "background_per_pixel": "f4",
    "resolution_a": "f4",
    "hit_probability": "f4",
    "photon_energy_ev": "f4",
    "photon_energy_sigma_ev": "f4",
    "camera_length_m": "f4",
    "camera_length_sigma_m": "f4",
    "seconds": "f4",
}
"""Columns of ``frames.parquet`` that are kept, and their types."""

KNOWN = np.dtype([("status", "u1"), ("estimated", "?"), *COLUMNS.items()])
"""What is kept of a frame: ``status`` counts in `FrameRows.statuses`; ``estimated`` says whether
photon energy and camera length are worth something."""

_ESTIMATED = ("ok", "finder")


@dataclasses.dataclass(eq=False)
class FrameRows:
    """Frames in input order.

    Attributes
    ----------
    rows : ndarray of `KNOWN`, shape (n_frames,)
        A row per frame.
    statuses : list of str
        Statuses that occur, ``ok`` first and ``pending`` second.
    """

    rows: NDArray[np.void]
    statuses: list[str]

    @staticmethod
    def pending(n_frames: int) -> FrameRows:
        """Return the table of a run of which no frame is done."""
        rows = np.zeros(n_frames, KNOWN)
        rows["status"] = 1
        for name, kind in COLUMNS.items():
            if kind.startswith("f"):
                rows[name] = np.nan
        return FrameRows(rows, [OK, PENDING])

    @staticmethod
    def of(table: pa.Table) -> FrameRows:
        """Take what is needed from the table of a finished run."""
        made = FrameRows.pending(table.num_rows)
        for name in COLUMNS:
            made.rows[name] = table[name].to_numpy()
        made._tell(slice(None), table["status"].to_numpy(), table["geometry"].to_numpy())
        return made

    def take(self, chunk: ChunkResult) -> None:
        """Take in the results of some frames of a run that is being worked on."""
        missing = int(chunk.frames[-1]) + 1 - len(self.rows) if len(chunk.frames) else 0
        if missing > 0:
            self.rows = np.concatenate([self.rows, FrameRows.pending(missing).rows])
        for name in COLUMNS:
            self.rows[name][chunk.frames] = chunk.rows[name]
        self._tell(chunk.frames, chunk.rows["status"], chunk.rows["geometry"])

    def _tell(self, at: Any, status: NDArray, geometry: NDArray) -> None:
        names, codes = np.unique(status.astype(str), return_inverse=True)
        for name in names:
            if name not in self.statuses:
                self.statuses.append(str(name))
        self.rows["status"][at] = np.array([self.statuses.index(name) for name in names])[codes]
        self.rows["estimated"][at] = np.isin(geometry.astype(str), _ESTIMATED)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.rows)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each frame was processed."""
        return self.rows["status"] == 0

    @property
    def by_status(self) -> dict[str, int]:
        """Number of frames by status."""
        n = np.bincount(self.rows["status"], minlength=len(self.statuses))
        return {name: int(k) for name, k in zip(self.statuses, n, strict=True) if k}
