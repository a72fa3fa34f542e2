"""What the report shows of a run, gathered from its chunks one at a time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.report.detector_view import DetectorView
from hitfinder.results.chunk import OK, PENDING, ChunkResult

RESOLUTION_BINS = 60

KEPT_DTYPE = np.dtype(
    [
        ("ok", "?"),
        ("hit", "?"),
        ("score", "f4"),
        ("n_peaks", "i4"),
        ("background_per_pixel", "f4"),
    ]
)
"""What is kept of each frame."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pick:
    """A frame for the gallery.

    Attributes
    ----------
    index : int
        Frame index.
    score : float
        Its score.
    peaks : structured ndarray
        Its peaks.
    """

    index: int
    score: float
    peaks: NDArray[np.void]


class Collector:
    """Gathers figures over all frames; what it keeps does not grow with the peaks.

    Parameters
    ----------
    geometry : Geometry
        Where the pixels are.
    view : DetectorView
        Picture on which the positions of peaks are gathered.
    gallery : int
        Best hits, and nearest misses, to pick.
    q : ndarray of float32, optional
        ``pixels.q`` of the geometry, where that is there already.

    Attributes
    ----------
    statuses : dict
        Number of frames by status.
    messages : dict
        By status, the first message and the frame it is about.
    n_left_out : int
        Frames with more peaks than are looked at, see `hitfinder.finding.result.FrameResult`.
    by_doubt : dict
        By reason of doubt, frames that are hits all the same, and frames that are none for it.
    powder : ndarray, shape of `view`
        Photons in the peaks of hits, by position.
    inverse_d_edges, inverse_d_counts : ndarray
        Histogram of the peaks of hits over 1/d, in Å⁻¹.
    profile : ndarray
        Mean expected background per radial bin, NaN where there never was one; it is taken from
        the totals of the run.
    best, misses : list of Pick
        Hits of the highest scores and other frames of the highest scores, best first.
    """

    def __init__(
        self,
        geometry: Geometry,
        view: DetectorView,
        gallery: int = 12,
        q: NDArray[np.float32] | None = None,
    ) -> None:
        self._gallery, self._view = gallery, view
        self._rows = [np.empty(0, KEPT_DTYPE)]
        self.statuses: dict[str, int] = {}
        self.messages: dict[str, tuple[int, str]] = {}
        self.n_left_out = 0
        self.by_doubt: dict[str, tuple[int, int]] = {}
        self.powder = np.zeros(view.shape)
        q = geometry.pixels.q if q is None else q
        top = float(np.nanmax(q)) / (2 * np.pi) if np.isfinite(q).any() else 1.0
        self.inverse_d_edges = np.linspace(0, top, RESOLUTION_BINS + 1)
        self.inverse_d_counts = np.zeros(RESOLUTION_BINS, np.int64)
        self.profile: NDArray[np.float64] = np.empty(0)
        self.seconds = 0.0
        self.total_peaks = 0
        self.best: list[Pick] = []
        self.misses: list[Pick] = []

    def add(self, chunk: ChunkResult) -> None:
        """Take in a chunk; chunks come in frame order."""
        rows, kept = chunk.rows, np.empty(len(chunk.rows), KEPT_DTYPE)
        kept["ok"] = rows["status"] == OK
        for name in ("hit", "score", "n_peaks", "background_per_pixel"):
            kept[name] = rows[name]
        self._rows.append(kept)
        self.seconds += float(rows["seconds"].sum())
        self.total_peaks += len(chunk.peaks)
        self.n_left_out += int(rows["peaks_left_out"].sum())
        for status, count in zip(*np.unique(rows["status"], return_counts=True), strict=True):
            self.statuses[str(status)] = self.statuses.get(str(status), 0) + int(count)
        for kind in np.unique(rows["doubt"][rows["doubt"] != ""]):
            is_hit = rows["hit"][rows["doubt"] == kind]
            hits, others = self.by_doubt.get(str(kind), (0, 0))
            n_hits = int(is_hit.sum())
            self.by_doubt[str(kind)] = hits + n_hits, others + len(is_hit) - n_hits
        for index, text in chunk.problems.items():
            row = rows[np.searchsorted(chunk.frames, index)]
            self.messages.setdefault(str(row["status"]), (index, text))
        self._add_peaks(chunk)
        self._pick(chunk)

    def _column(self, name: str) -> NDArray[Any]:
        if len(self._rows) > 1:
            self._rows = [np.concatenate(self._rows)]
        return self._rows[0][name]

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Whether each frame was processed."""
        return self._column("ok")

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether each frame is a hit."""
        return self._column("hit")

    @property
    def score(self) -> NDArray[np.float32]:
        """Score of each frame, NaN where not processed."""
        return self._column("score")

    @property
    def background(self) -> NDArray[np.float32]:
        """Background of each frame, in photons per pixel; NaN where not known."""
        return self._column("background_per_pixel")

    @property
    def n_peaks(self) -> NDArray[np.int32]:
        """Peaks of each frame."""
        return self._column("n_peaks")

    @property
    def pending(self) -> int:
        """Frames not processed yet."""
        return self.statuses.get(PENDING, 0)

    def _add_peaks(self, chunk: ChunkResult) -> None:
        peaks = chunk.peaks[np.repeat(chunk.rows["hit"], chunk.rows["n_peaks"])]
        with np.errstate(divide="ignore"):
            inverse_d = 1 / peaks["resolution_a"].astype(float)
        counts, _ = np.histogram(inverse_d[np.isfinite(inverse_d)], self.inverse_d_edges)
        self.inverse_d_counts += counts
        at = self._view.place(peaks["fs"], peaks["ss"])
        on = np.isfinite(at).all(axis=1)
        cells = at[on].astype(int)
        rows, columns = (np.clip(cells[:, k], 0, self.powder.shape[1 - k] - 1) for k in (1, 0))
        photons = peaks["photons"][on]
        # A peak whose photons nobody counted shows where it is all the same.
        counted = np.where(np.isnan(photons), 1, np.maximum(photons, 0))
        np.add.at(self.powder, (rows, columns), counted)

    def _pick(self, chunk: ChunkResult) -> None:
        ends = np.cumsum(chunk.rows["n_peaks"])
        for picked, wanted in (
            (self.best, chunk.rows["hit"]),
            (self.misses, ~chunk.rows["hit"] & (chunk.rows["status"] == OK)),
        ):
            candidates = np.flatnonzero(wanted)
            order = np.argsort(-chunk.rows["score"][candidates], kind="stable")
            for row in candidates[order][: self._gallery]:
                peaks = chunk.peaks[ends[row] - chunk.rows["n_peaks"][row] : ends[row]].copy()
                picked.append(Pick(int(chunk.frames[row]), float(chunk.rows["score"][row]), peaks))
            picked.sort(key=lambda pick: (-pick.score, -len(pick.peaks), pick.index))
            del picked[self._gallery :]
