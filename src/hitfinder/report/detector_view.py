"""A detector as it is looked at: panels in their places, coarse pixels, resolution rings."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hitfinder.finding.background import compilable
from hitfinder.geometry.detector import Panel
from hitfinder.geometry.geometry import Geometry

Points = NDArray[np.float64]

_ROWS_AT_A_TIME = 64


@dataclasses.dataclass(frozen=True, eq=False)
class DetectorView:
    """Places stored-frame pixels on a picture.

    A detector of one panel is shown as it is stored, fs to the right and ss down. Panels of
    different directions are put where they are in the lab, x to the right and y up.

    Attributes
    ----------
    geometry : Geometry
        What is shown.
    pitch_px : float
        Pixels of the detector along a pixel of the picture.
    axes : ndarray, shape (2, 2)
        Unit vectors of the picture's columns and rows in lab x, y.
    origin : ndarray, shape (2,)
        Lab position along the axes of the picture's upper left corner, in m.
    shape : tuple of int
        Rows and columns of the picture.
    """

    geometry: Geometry
    pitch_px: float
    axes: NDArray[np.float64]
    origin: NDArray[np.float64]
    shape: tuple[int, int]

    @staticmethod
    def of(geometry: Geometry, pitch_px: float) -> DetectorView:
        """Look at a geometry in pixels of `pitch_px` detector pixels."""
        axes = _axes(geometry)
        pitch_m = pitch_px * geometry.detector.panels[0].pixel_size_m
        corners = []
        for panel in geometry.detector:
            fs = panel.fs_start + np.array([0, panel.n_fs, 0, panel.n_fs])
            ss = panel.ss_start + np.array([0, 0, panel.n_ss, panel.n_ss])
            x, y, _ = panel.positions(fs, ss, geometry.camera_length_m)
            corners.append(np.stack([x, y], 1) @ axes.T)
        low = np.concatenate(corners).min(axis=0)
        extent = np.concatenate(corners).max(axis=0) - low
        columns, rows = (max(1, math.ceil(e / pitch_m - 1e-6)) for e in extent)
        return DetectorView(geometry, pitch_px, axes, low, (rows, columns))

    @functools.cached_property
    def cells(self) -> NDArray[np.int32]:
        """Number of the picture's pixel that each stored pixel falls on, -1 on no panel."""
        cells = np.full(self.geometry.shape, -1, np.int32)
        for panel in self.geometry.detector:
            rows, columns = panel.slices
            fs = np.arange(columns.start, columns.stop)[None, :]
            # In double precision whole panels would take hundreds of megabytes.
            for start in range(rows.start, rows.stop, _ROWS_AT_A_TIME):
                band = slice(start, min(start + _ROWS_AT_A_TIME, rows.stop))
                ss = np.arange(band.start, band.stop)[:, None]
                cells[band, columns] = self._cells_on(panel, fs, ss)
        return cells

    def cells_at(self, fs: NDArray[np.intp], ss: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return what `cells` has at some pixels, without computing it for all.

        Parameters
        ----------
        fs, ss : ndarray of int, shape (n,)
            Columns and rows of the pixels.
        """
        cells = np.full(len(fs), -1, np.int32)
        for panel in self.geometry.detector:
            rows, columns = panel.slices
            on = (rows.start <= ss) & (ss < rows.stop)
            on &= (columns.start <= fs) & (fs < columns.stop)
            cells[on] = self._cells_on(panel, fs[on], ss[on])
        return cells

    def _cells_on(self, panel: Panel, fs: NDArray[np.intp], ss: NDArray[np.intp]) -> NDArray:
        """Return the picture's pixels on which pixels of a panel fall."""
        x, y, _ = panel.positions(fs + 0.5, ss + 0.5, self.geometry.camera_length_m)
        column, row = (
            np.clip(((a[0] * x + a[1] * y - o) / self.pitch_m).astype(np.int32), 0, n - 1)
            for a, o, n in zip(self.axes, self.origin, self.shape[::-1], strict=True)
        )
        return np.asarray(row * self.shape[1] + column)

    @property
    def pitch_m(self) -> float:
        """Size of a pixel of the picture on the detector, in m."""
        return self.pitch_px * self.geometry.detector.panels[0].pixel_size_m

    def place(self, fs: NDArray, ss: NDArray) -> Points:
        """Return where stored-frame positions (corner convention) are on the picture.

        Returns
        -------
        ndarray, shape (n, 2)
            Column and row, upper left corner at (0, 0); NaN for positions on no panel.
        """
        fs, ss = np.asarray(fs, float), np.asarray(ss, float)
        out = np.full((fs.size, 2), np.nan)
        for panel in self.geometry.detector:
            on = (fs >= panel.fs_start) & (fs < panel.fs_start + panel.n_fs)
            on &= (ss >= panel.ss_start) & (ss < panel.ss_start + panel.n_ss)
            x, y, _ = panel.positions(fs[on], ss[on], self.geometry.camera_length_m)
            out[on] = (np.stack([x, y], 1) @ self.axes.T - self.origin) / self.pitch_m
        return out

    def n_good(self, mask: NDArray[np.bool_]) -> Points:
        """Return how many unmasked pixels there are in each pixel of the picture, flattened."""
        count = np.zeros(self.shape[0] * self.shape[1])
        _count_good(mask, self.cells, count)
        return count

    def mean_image(
        self,
        frame: NDArray,
        mask: NDArray[np.bool_] | None = None,
        n_good: Points | None = None,
    ) -> Points:
        """Return the mean of the unmasked pixels in each pixel of the picture.

        Parameters
        ----------
        frame : ndarray, shape of the geometry
            Counts. Negative and NaN ones, and the top of an integer type, are no readings.
        mask : ndarray of bool, optional
            Pixels to leave out; by default the detector's.
        n_good : ndarray, optional
            What `n_good` says of the mask, where it is known already.

        Returns
        -------
        ndarray of float, shape `shape`
            NaN where there are no pixels.
        """
        mask = self.geometry.detector.full_mask if mask is None else mask
        frame = compilable(frame)
        bad = np.iinfo(frame.dtype).max if frame.dtype.kind in "iu" else np.nan
        count = self.n_good(mask) if n_good is None else n_good.copy()
        total = np.zeros_like(count)
        _add_readings(frame, mask, self.cells, frame.dtype.type(bad), count, total)
        return self._divided(total, count)

    def unbin(
        self, binned: NDArray, size: int, mask: NDArray[np.bool_], *, maxima: bool = False
    ) -> Points:
        """Return the picture of a frame that was summed in bins of `size` pixels a side.

        Parameters
        ----------
        binned : ndarray, 2-D
            Sums over the unmasked pixels of each bin.
        size : int
            Pixels along a side of a bin.
        mask : ndarray of bool, shape of the geometry
            What was masked.
        maxima : bool
            Whether the bins hold the maximum of their pixels instead of the sum.

        Returns
        -------
        ndarray of float, shape `shape`
            Counts per unmasked pixel, or the most of one, NaN where there are none.
        """
        good = ~mask
        summed = np.add.reduceat(good, np.arange(0, good.shape[0], size), axis=0, dtype=np.int64)
        n_good = np.add.reduceat(summed, np.arange(0, good.shape[1], size), axis=1)
        row, column = np.nonzero(n_good)
        ss = np.minimum(row * size + size // 2, good.shape[0] - 1)
        fs = np.minimum(column * size + size // 2, good.shape[1] - 1)
        at = self.cells_at(fs, ss)
        if maxima:
            most = np.full(self.shape[0] * self.shape[1], np.nan)
            np.fmax.at(most, at[at >= 0], binned[row, column][at >= 0])
            return most.reshape(self.shape)
        means = binned[row, column] / n_good[row, column]
        return self._mean(at[at >= 0], means[at >= 0])

    def ring(self, resolution_a: float) -> tuple[float, float, float] | None:
        """Return a resolution ring as (column, row, radius) on the picture.

        The ring is that of a plane across the beam at the camera length. None if the resolution
        cannot be reached (2θ of 90° and more).
        """
        sine = self.geometry.wavelength_a / (2 * resolution_a)
        if not sine < math.sqrt(0.5):
            return None
        column, row = -self.origin / self.pitch_m
        radius = self.geometry.camera_length_m * math.tan(2 * math.asin(sine)) / self.pitch_m
        return float(column), float(row), radius

    def rings(self, n_rings: int = 4) -> list[tuple[float, tuple[float, float, float]]]:
        """Return round resolutions, evenly spread over the picture, and their rings."""
        corners = [(0, 0), (0, self.shape[0]), (self.shape[1], 0), (self.shape[1], self.shape[0])]
        centre = -self.origin / self.pitch_m
        farthest = max(math.dist(centre, corner) for corner in corners) * self.pitch_m
        chosen: dict[float, tuple[float, float, float]] = {}
        for step in range(1, n_rings + 1):
            radius = farthest * 0.92 * step / n_rings
            theta = 0.5 * math.atan2(radius, self.geometry.camera_length_m)
            exact = self.geometry.wavelength_a / (2 * math.sin(theta))
            resolution = float(f"{exact:.2g}")
            if ring := self.ring(resolution):
                chosen[resolution] = ring
        return list(chosen.items())

    def _mean(self, at: NDArray[np.int32], values: NDArray) -> Points:
        n_cells = self.shape[0] * self.shape[1]
        count = np.bincount(at, minlength=n_cells)
        total = np.bincount(at, weights=values, minlength=n_cells)
        return self._divided(total, count)

    def _divided(self, total: NDArray, count: NDArray) -> Points:
        with np.errstate(invalid="ignore"):
            return np.where(count, total / count, np.nan).reshape(self.shape)


@njit(cache=True, nogil=True)
def _count_good(mask, cells, count):  # type: ignore[no-untyped-def]
    """Count the unmasked pixels of each cell."""
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            if cells[i, j] >= 0 and not mask[i, j]:
                count[cells[i, j]] += 1.0


@njit(cache=True, nogil=True)
def _add_readings(frame, mask, cells, bad, count, total):  # type: ignore[no-untyped-def]
    """Add the values of a frame to the cells of their pixels; `bad` marks what is no reading.

    Pixels without a reading are taken off the count. Most pixels are zero and change nothing.
    """
    for i in range(frame.shape[0]):
        for j in range(frame.shape[1]):
            value = frame[i, j]
            if value == 0:
                continue
            cell = cells[i, j]
            if cell < 0 or mask[i, j]:
                continue
            # Values that mark a pixel without a reading, as the finder has them.
            if value > 0 and value != bad:
                total[cell] += value
            else:
                count[cell] -= 1.0


def _axes(geometry: Geometry) -> NDArray[np.float64]:
    panels = geometry.detector.panels
    if len({(p.fs_vector, p.ss_vector) for p in panels}) > 1:
        return np.array([[1.0, 0.0], [0.0, -1.0]])
    fs = np.array(panels[0].fs_vector[:2])
    ss = np.array(panels[0].ss_vector[:2])
    return np.stack([fs / np.hypot(*fs), ss / np.hypot(*ss)])
