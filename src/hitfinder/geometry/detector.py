"""Detector panels and the frame they are stored in."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]

_PARALLEL = 1e-6
"""Area of a pixel as the beam sees it, in pixels, below which a panel is parallel to the beam."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """A flat rectangle of pixels, placed as CrystFEL places it.

    The pixel (fs, ss) of the panel, counted from the panel's own first pixel with that pixel's
    outer corner at (0, 0), lies in the lab frame at::

        x = pixel_size * (corner_x + fs * fs_vector.x + ss * ss_vector.x)
        y = pixel_size * (corner_y + fs * fs_vector.y + ss * ss_vector.y)
        z = camera_length + coffset + pixel_size * (fs * fs_vector.z + ss * ss_vector.z)

    Parameters
    ----------
    name : str
        Panel name.
    fs_start, ss_start : int
        First column and row of the panel in the stored frame.
    n_fs, n_ss : int
        Columns and rows of the panel.
    corner_x, corner_y : float
        From the beam axis to the outer corner of the first pixel, in pixels.
    fs_vector, ss_vector : tuple of float
        Lab direction of one step along fs and ss, in pixels.
    pixel_size_m : float
        Pixel edge, in m.
    coffset_m : float
        Offset along the beam added to the camera length, in m.
    """

    name: str
    fs_start: int
    ss_start: int
    n_fs: int
    n_ss: int
    corner_x: float
    corner_y: float
    fs_vector: Vector = (1.0, 0.0, 0.0)
    ss_vector: Vector = (0.0, 1.0, 0.0)
    pixel_size_m: float = 75e-6
    coffset_m: float = 0.0

    def __post_init__(self) -> None:
        if self.n_fs < 1 or self.n_ss < 1:
            raise ValueError(f"panel {self.name!r} has no pixels ({self.n_ss} x {self.n_fs})")
        if not self.pixel_size_m > 0:
            raise ValueError(f"panel {self.name!r}: pixel size must be positive")

    @property
    def pixel_edges_m(self) -> tuple[float, float]:
        """Edges of a pixel along fs and ss, in m."""
        p = self.pixel_size_m
        return p * math.hypot(*self.fs_vector), p * math.hypot(*self.ss_vector)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the panel in the stored frame."""
        return (
            slice(self.ss_start, self.ss_start + self.n_ss),
            slice(self.fs_start, self.fs_start + self.n_fs),
        )

    def contains(self, fs: float, ss: float) -> bool:
        """Whether a position of the stored frame (corner convention) is on this panel."""
        return (
            self.fs_start <= fs < self.fs_start + self.n_fs
            and self.ss_start <= ss < self.ss_start + self.n_ss
        )

    def distance_px(self, fs: float, ss: float) -> float:
        """Distance in the stored frame of a position (corner convention) from this panel."""
        return float(np.hypot(*np.subtract((fs, ss), self._nearest(fs, ss))))

    def _nearest(self, fs: float, ss: float) -> tuple[float, float]:
        """Return the position on this panel that is nearest to one of the stored frame."""
        return (
            min(max(fs, self.fs_start), self.fs_start + self.n_fs),
            min(max(ss, self.ss_start), self.ss_start + self.n_ss),
        )

    def beam_position(self) -> tuple[tuple[float, float], float] | None:
        """Return where the beam axis (x = y = 0) meets the plane of this panel.

        Returns
        -------
        place : tuple of float
            Stored-frame coordinates (fs, ss), corner convention, which may lie beside the panel.
        distance : float
            How far the axis passes the panel, measured across the beam, in m; 0 on it.

        None for a panel whose plane is parallel to the beam.
        """
        steps = np.array([self.fs_vector[:2], self.ss_vector[:2]]).T
        if abs(np.linalg.det(steps)) < _PARALLEL:
            return None
        df, ds = np.linalg.solve(steps, [-self.corner_x, -self.corner_y])
        place = self.fs_start + float(df), self.ss_start + float(ds)
        fs, ss = self._nearest(*place)
        x, y, _ = self.positions(np.array(fs), np.array(ss), 0.0)
        return place, 0.0 if self.contains(*place) else float(np.hypot(x, y))

    def positions(
        self, fs: NDArray[np.floating], ss: NDArray[np.floating], camera_length_m: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Lab position of stored-frame coordinates on this panel.

        Parameters
        ----------
        fs, ss : ndarray
            Stored-frame coordinates, corner convention (first pixel's centre at 0.5).
        camera_length_m : float
            Distance from sample to detector, in m.

        Returns
        -------
        x, y, z : ndarray of float64
            In m, beam along +z.
        """
        df = np.asarray(fs, np.float64) - self.fs_start
        ds = np.asarray(ss, np.float64) - self.ss_start
        p = self.pixel_size_m
        x = p * (self.corner_x + df * self.fs_vector[0] + ds * self.ss_vector[0])
        y = p * (self.corner_y + df * self.fs_vector[1] + ds * self.ss_vector[1])
        z = p * (df * self.fs_vector[2] + ds * self.ss_vector[2])
        z = z + (camera_length_m + self.coffset_m)
        return x, y, z


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """Panels in one stored frame, and the pixels of it that never count.

    Parameters
    ----------
    name : str
        Detector name.
    shape : tuple of int
        Rows and columns (ss, fs) of the stored frame.
    panels : tuple of Panel
        The panels; pixels on no panel are masked.
    mask : ndarray of bool, shape `shape`, optional
        True where a pixel is to be ignored (gap, dead, hot, bad region).
    saturation : float, optional
        Counts at and above which a pixel is saturated.
    """

    name: str
    shape: tuple[int, int]
    panels: tuple[Panel, ...]
    mask: NDArray[np.bool_] | None = None
    saturation: float | None = None

    def __post_init__(self) -> None:
        n_ss, n_fs = self.shape
        for panel in self.panels:
            ends = panel.ss_start + panel.n_ss, panel.fs_start + panel.n_fs
            if min(panel.ss_start, panel.fs_start) < 0 or ends[0] > n_ss or ends[1] > n_fs:
                raise ValueError(f"panel {panel.name!r} reaches outside the frame {self.shape}")
        if not self.panels:
            raise ValueError(f"detector {self.name!r} has no panels")
        if self.mask is not None and self.mask.shape != self.shape:
            raise ValueError(f"mask shape {self.mask.shape} is not the frame shape {self.shape}")

    @classmethod
    def flat(
        cls,
        shape: tuple[int, int],
        pixel_size_m: float | tuple[float, float],
        *,
        name: str = "flat",
        mask: NDArray[np.bool_] | None = None,
        saturation: float | None = None,
    ) -> Detector:
        """Make a detector of one panel across the beam, with fs along +x and ss along +y.

        The beam axis meets the middle of the frame; `with_beam_center` moves it.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns (ss, fs) of a frame.
        pixel_size_m : float or tuple of float
            Edge of a pixel, in m; its edges along ss and fs where they differ.
        name : str
            Detector name.
        mask : ndarray of bool, optional
            True where a pixel is to be ignored.
        saturation : float, optional
            Counts at and above which a pixel is saturated.
        """
        n_ss, n_fs = _checked_shape(shape)
        edges = (pixel_size_m,) * 2 if isinstance(pixel_size_m, (int, float)) else pixel_size_m
        # A panel has one pixel size; a ratio of edges goes into the step along ss.
        step = edges[0] / edges[1] if edges[1] else 1.0
        corner = -n_fs / 2, -n_ss * step / 2
        along_ss = (0.0, step, 0.0)
        panel = Panel("p0", 0, 0, n_fs, n_ss, *corner, ss_vector=along_ss, pixel_size_m=edges[1])
        bad = None if mask is None else np.asarray(mask) != 0
        return cls(name, (n_ss, n_fs), (panel,), bad, saturation)

    def __iter__(self) -> Iterator[Panel]:
        return iter(self.panels)

    @property
    def full_mask(self) -> NDArray[np.bool_]:
        """Mask with the pixels that lie on no panel added, shape `shape`, True = ignored."""
        off_panel = np.ones(self.shape, bool)
        for panel in self.panels:
            off_panel[panel.slices] = False
        return off_panel if self.mask is None else off_panel | self.mask

    def with_mask(self, mask: NDArray[np.bool_]) -> Detector:
        """Return this detector with `mask` added to its own."""
        if mask.shape != self.shape:
            raise ValueError(f"mask shape {mask.shape} is not the frame shape {self.shape}")
        joined = mask.astype(bool) if self.mask is None else self.mask | mask.astype(bool)
        return dataclasses.replace(self, mask=joined)

    @property
    def beam_center(self) -> tuple[float, float] | None:
        """Where the beam axis (x = y = 0) meets the detector, (fs, ss) in pixels.

        Coordinates are those of the stored frame, corner convention. On a detector of several
        panels they are those of the panel that the axis hits. If it hits none, they continue the
        panel that it passes nearest: the point is where the axis meets that panel's plane. None if
        all panels are parallel to the beam.
        """
        found = [at for at in (panel.beam_position() for panel in self.panels) if at is not None]
        return min(found, key=lambda at: at[1])[0] if found else None

    def with_beam_center(self, fs: float, ss: float) -> Detector:
        """Shift all panels so that the beam axis meets the frame at (fs, ss).

        Coordinates follow the corner convention and are those of the panel that holds them, or
        of the plane of the panel that is nearest to them in the stored frame.
        """
        panel = min(self.panels, key=lambda p: (not p.contains(fs, ss), p.distance_px(fs, ss)))
        x, y, _ = panel.positions(np.array(fs), np.array(ss), 0.0)
        dx, dy = float(x) / panel.pixel_size_m, float(y) / panel.pixel_size_m
        moved = tuple(
            dataclasses.replace(
                p,
                corner_x=p.corner_x - dx * panel.pixel_size_m / p.pixel_size_m,
                corner_y=p.corner_y - dy * panel.pixel_size_m / p.pixel_size_m,
            )
            for p in self.panels
        )
        return dataclasses.replace(self, panels=moved)


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns as plain integers, or say why there can be no such frame."""
    try:
        n_ss, n_fs = map(operator.index, shape)
    except (TypeError, ValueError):
        raise ValueError(f"a frame's shape is (rows, columns), got {shape!r}") from None
    return n_ss, n_fs
