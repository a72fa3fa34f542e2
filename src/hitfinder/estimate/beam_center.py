"""Where the rings of the background have their centre, from all frames of a run added up.

Air, water and powder scatter in rings about the beam. Where a detector is taken to stand d off, the
rate I(r) on a ring seems to change around it by -I'(r) (d · r/r): a first harmonic with the sign of
the slope, another one inside a ring of water than outside. Shadows, and detectors that respond
more on one side, make first harmonics of one sign; they are fitted besides. By how much the inner
and the outer part of the detector, and its halves, tell other offsets bounds what they still do.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.geometry.geometry import Geometry

Floats = NDArray[np.float64]

FAR_SIGMAS, FAR_SHARE, FAR_BOUNDS = 8.0, 0.003, 3.0
"""How far the centre of the rings must be from the beam centre to contradict it: in standard
deviations, as a share of the detector's longer side, and in bounds of what shadows do. In stills of
a Pilatus 6M whose beam centre is right, shadows move the centre of the rings by 3 to 26 pixels,
which is up to 1.5 bounds."""

_PART_SIGMAS, _LARGEST_BOUND = 2.0, 0.02
"""Standard deviations of what a part tells that its bound allows for; and the largest bound, as a
share of the longer side, with which anything is told: a deep shadow over a fifth of a detector
moves the centre by four bounds of 2.2 % and more."""

_SIDE = 250
"""Bins along the longer side of a detector at most. Small bins would tell no more: the innermost of
them lie in the shadow of the beam stop, which moves the fit."""

_ROUGH_SIDE, _TRIED = 60, 9
"""Bins along the longer side, and offsets along each, that are tried where no fit comes to an end
from the beam centre."""

_AROUND, _SPOT_SIGMAS = 7, 4.0
"""Bins along the sides of what is around a bin, and deviations from it with which there are Bragg
peaks in that bin."""

_RING_PX, _RING = 6.0, 1.25
"""Width of the rings in which the rate is averaged, at least: in pixels, and in sides of a bin."""

_LEAST_PHOTONS, _LEAST_BINS, _LEAST_RINGS = 1e5, 250, 5
"""Photons outside of Bragg peaks, bins of pixels and rings that a fit is made of at least."""

_ROUNDS, _WHOLE_STEPS, _DONE_SIGMAS = 25, 12, 0.3
"""Times that the offset is fitted, from where it was found before; those after which half steps are
taken, as bins that are left out and taken in again let it swing; and the last step."""

_CLIPS, _CLIP_SIGMAS, _MEDIAN_CHI2 = 4, 4.0, 0.455
"""Times that bins are left out, as of Bragg peaks, and the deviations from which they are, in those
that the median of their squares tells; that median of normal ones."""

_SINGULAR = 1e12
"""Condition from which the rings tell nothing."""

_FARTHEST = 0.25
"""Share of the detector's longer side that the beam centre can be off."""


@dataclasses.dataclass(frozen=True)
class RingCenter:
    """The centre of the rings.

    Parameters
    ----------
    fs, ss : float
        Where it is on the panel that the beam meets, in pixels, corner convention.
    off_px : float
        Its distance from the beam centre.
    sigma_px : float
        Standard deviation of either coordinate by the photons.
    bound_px : float
        What parts of the detector tell otherwise.
    far : bool
        Whether it contradicts the beam centre.
    """

    fs: float
    ss: float
    off_px: float
    sigma_px: float
    bound_px: float
    far: bool


@dataclasses.dataclass(frozen=True)
class _Bins:
    """Bins of pixels.

    Attributes
    ----------
    photons, n_good : ndarray, shape (n,)
        Photons in each, and good pixels.
    place, normal : ndarray, shape (3, n)
        Its place in units of the camera length, and the unit normal of its panel.
    pixel, polarisation, side : float
        Size of a pixel in units of the camera length; fraction of the beam polarised along x;
        pixels along the side of a bin.
    """

    photons: Floats
    n_good: Floats
    place: Floats
    normal: Floats
    pixel: float
    polarisation: float
    side: int

    def moved(self, offset: Floats) -> _Bins:
        """Return the bins of a detector whose beam centre is an offset farther, in pixels."""
        there = self.place.copy()
        there[:2] -= self.pixel * offset[:, None]
        return dataclasses.replace(self, place=there)

    def part(self, which: NDArray[np.bool_]) -> _Bins:
        """Return some of the bins."""
        names = "photons", "n_good", "place", "normal"
        return dataclasses.replace(self, **{n: getattr(self, n)[..., which] for n in names})

    @property
    def across(self) -> Floats:
        """Where the rays meet a plane across the beam, in pixels, shape (2, n)."""
        return self.place[:2] / (self.place[2] * self.pixel)

    @property
    def exposure(self) -> Floats:
        """Photons of a rate of 1 into all directions alike, in units of a pixel at the beam."""
        x, y, _ = self.place
        square, f = (self.place**2).sum(0), self.polarisation
        facing = np.abs((self.normal * self.place).sum(0)) / square**1.5
        return self.n_good * facing * (1 - (f * x**2 + (1 - f) * y**2) / square)


def ring_center(total: NDArray, side: int, geometry: Geometry) -> RingCenter | None:
    """Fit the centre of the rings.

    Parameters
    ----------
    total : ndarray, shape (n_ss, n_fs)
        Photons of all frames in squares of pixels, without masked ones.
    side : int
        Pixels along the side of a square.
    geometry : Geometry
        Where the pixels are taken to be, and the mask.

    Returns
    -------
    RingCenter or None
        None if there are too few photons, no rings to be seen, or too deep shadows.
    """
    if geometry.detector.beam_center is None:
        return None
    total, longest = np.asarray(total, np.float64), max(geometry.shape)
    squares = total, _in_squares(~geometry.detector.full_mask, side)
    farthest, found = _FARTHEST * longest, []
    bins = _in_bins(*squares, side, geometry, _SIDE)
    if bins.photons.sum() < _LEAST_PHOTONS:
        return None
    for start in (np.zeros(2), None):
        if start is None:
            start = _likeliest(_in_bins(*squares, side, geometry, _ROUGH_SIDE), farthest)
        fitted = _fitted(bins, start, farthest)
        if fitted is not None:
            bound = _bound(bins, fitted)
            found.append((_likelier(bins, fitted.offset), bound, fitted))
            if bound < FAR_SHARE * longest:
                break
    if not found:
        return None
    likelier, bound, fitted = max(found, key=lambda one: one[0])
    if bound > _LARGEST_BOUND * longest:
        return None
    (fs, ss), off = _on_panel(geometry, fitted.offset), float(np.hypot(*fitted.offset))
    far = off > max(FAR_SIGMAS * fitted.sigma, FAR_SHARE * longest, FAR_BOUNDS * bound)
    far = far and likelier > FAR_SIGMAS**2
    return RingCenter(fs, ss, off, fitted.sigma, bound, far)


class _Fit(NamedTuple):
    """An offset with its standard deviation; what each bin tells of it, and its radius."""

    offset: Floats
    sigma: float
    information: Floats
    radius: Floats


def _likeliest(bins: _Bins, farthest: float) -> Floats:
    """Return the offset, of a few, with which the rates on rings differ least."""
    tried = np.linspace(-0.8 * farthest, 0.8 * farthest, _TRIED)
    grid = np.stack(np.meshgrid(tried, tried), -1).reshape(-1, 2)
    misfits = []
    for offset in grid:
        rates = _rates(bins.moved(offset))
        clipped = np.inf if rates is None else np.minimum(rates.deviation**2, _CLIP_SIGMAS**4)
        misfits.append(np.mean(clipped))
    return np.array(grid[int(np.argmin(misfits))])


def _fitted(bins: _Bins, start: Floats, farthest: float) -> _Fit | None:
    offset = start
    for taken in range(_ROUNDS):
        step = _step(bins.moved(offset))
        if step is None:
            return None
        offset = offset + step.offset * (1.0 if taken < _WHOLE_STEPS else 0.5)
        if np.hypot(*offset) > farthest:
            return None
        if np.hypot(*step.offset) < _DONE_SIGMAS * step.sigma:
            return step._replace(offset=offset)
    return None


def _bound(bins: _Bins, fitted: _Fit) -> float:
    """Return by how many pixels parts of a detector tell another offset at most.

    Infinite where a part tells none.
    """
    order = np.argsort(fitted.radius)
    told = np.cumsum(fitted.information[order])
    inner = fitted.radius <= fitted.radius[order][np.searchsorted(told, 0.5 * told[-1])]
    moved = bins.moved(fitted.offset)
    x, y = moved.across
    bound = 0.0
    for part in (inner, ~inner, x > 0, x < 0, y > 0, y < 0):
        rest = _step(moved.part(part))
        if rest is None:
            return np.inf
        bound = max(bound, float(np.hypot(*rest.offset)) + _PART_SIGMAS * rest.sigma)
    return bound


def _likelier(bins: _Bins, offset: Floats) -> float:
    """Return by how much the deviance of the rates on rings is less about an offset than without.

    In units of what bins deviate by, as the square of standard deviations.
    """
    before, after = _rates(bins), _rates(bins.moved(offset))
    if before is None or after is None:
        return 0.0
    keep = before.keep & after.keep
    more = bins.photons * np.log(after.expected / before.expected)
    likelier = 2 * (more - after.expected + before.expected)[keep].sum()
    return float(likelier / max(1.0, np.mean(after.deviation[keep] ** 2)))


class _Rates(NamedTuple):
    """Rates on rings, and what they let expect of bins.

    `slope` is that of the photons per pixel; `keep` tells bins that are not far from the others.
    """

    ring: NDArray[np.intp]
    radius: Floats
    slope: Floats
    expected: Floats
    deviation: Floats
    keep: NDArray[np.bool_]


def _rates(bins: _Bins) -> _Rates | None:
    """Average the rates on rings; None if there are too few."""
    exposures, radius = bins.exposure, np.hypot(*bins.across)
    width = max(_RING_PX, _RING * bins.side)
    ring = (radius / width).astype(np.intp)
    n = int(ring.max(initial=0)) + 1
    at, keep = width * (np.arange(n) + 0.5), np.ones(ring.size, bool)
    for _ in range(_CLIPS):
        photons, exposure, n_good = (
            np.bincount(ring[keep], values[keep], n)
            for values in (bins.photons, exposures, bins.n_good)
        )
        filled = (exposure > 0) & (photons > 0)
        if np.count_nonzero(filled) < _LEAST_RINGS:
            return None
        rate = np.interp(radius, at[filled], photons[filled] / exposure[filled])
        expected = np.maximum(exposures * rate, 1e-9)
        deviation = (bins.photons - expected) / np.sqrt(expected)
        # Bins with Bragg peaks, fewer than half, do not move the median.
        spread = max(1.0, float(np.median(deviation**2)) / _MEDIAN_CHI2)
        keep = deviation**2 < _CLIP_SIGMAS**2 * (spread + 1 / expected)
    per_pixel = np.interp(at, at[filled], photons[filled] / n_good[filled])
    slope = np.interp(radius, at, np.gradient(per_pixel, width))
    return _Rates(ring, radius, slope, expected, deviation, keep)


def _step(bins: _Bins) -> _Fit | None:
    """Fit the offset as if it were small; None if there are too few bins, or no slopes."""
    rates = _rates(bins) if bins.photons.size >= _LEAST_BINS else None
    if rates is None:
        return None
    ring, expected, n = rates.ring, rates.expected, int(rates.ring.max()) + 1
    with np.errstate(invalid="ignore", divide="ignore"):
        azimuth = np.nan_to_num(bins.across / rates.radius)
    # Solid angle and polarisation move with the centre, so it is the slope of the photons per
    # pixel. Shadows and uneven response make first harmonics of the rate itself, which grow
    # outwards or are the same on all rings.
    shade = expected * azimuth
    design = np.concatenate(
        [-bins.n_good * rates.slope * azimuth, shade, shade * rates.radius / rates.radius.max()]
    )
    weight = rates.keep / expected
    # What the mean of a ring takes up is not told of the offset.
    total = np.maximum(np.bincount(ring, weight, n), 1e-30)
    for row in design:
        row -= (np.bincount(ring, weight * row, n) / total)[ring]
    normal = (design * weight) @ design.T
    if not np.linalg.cond(normal) < _SINGULAR:
        return None
    inverse = np.linalg.inv(normal)
    residual = rates.deviation * np.sqrt(expected)
    offset = (inverse @ ((design * weight) @ residual))[:2]
    spread = max(1.0, float(np.mean(rates.deviation[rates.keep] ** 2)))
    sigma = float(np.sqrt(spread * np.linalg.eigvalsh(inverse[:2, :2])[-1]))
    return _Fit(offset, sigma, (design[:2] ** 2).sum(0) * weight, rates.radius)


def _in_bins(total: Floats, n_good: Floats, side: int, geometry: Geometry, most: int) -> _Bins:
    """Put squares together so that there are no more along the longer side than so many."""
    together = -(-max(total.shape) // most)
    total, n_good = (_in_squares(values, together) for values in (total, n_good))
    return _bins(total, _without_spots(total, n_good), together * side, geometry)


def _without_spots(total: Floats, n_good: Floats) -> Floats:
    """Return the good pixels of squares, none of those that are brighter than those around.

    Nor of their neighbours, in which Bragg peaks have their tails: in sums of hits over little
    background, peaks are most of the photons.
    """
    around = ndimage.median_filter(total / np.maximum(n_good, 1), _AROUND) * n_good
    spots = total > around + _SPOT_SIGMAS * np.sqrt(np.maximum(around, 1))
    return np.where(ndimage.binary_dilation(spots, np.ones((3, 3))), 0, n_good)


def _bins(total: Floats, n_good: Floats, side: int, geometry: Geometry) -> _Bins:
    """Make the bins of the squares of which most pixels are good."""
    ss, fs = np.nonzero(n_good > side * side // 2)
    at_fs, at_ss = (fs + 0.5) * side, (ss + 0.5) * side
    place, normal = np.zeros((2, 3, len(fs)))
    for panel in geometry.detector:
        on = (at_fs >= panel.fs_start) & (at_fs < panel.fs_start + panel.n_fs)
        on &= (at_ss >= panel.ss_start) & (at_ss < panel.ss_start + panel.n_ss)
        place[:, on] = panel.positions(at_fs[on], at_ss[on], geometry.camera_length_m)
        across = np.cross(panel.fs_vector, panel.ss_vector)
        normal[:, on] = (across / np.linalg.norm(across))[:, None]
    length = geometry.camera_length_m
    pixel = geometry.detector.panels[0].pixel_size_m / length
    bins = _Bins(
        total[ss, fs], n_good[ss, fs], place / length, normal, pixel, geometry.polarisation, side
    )
    return bins.part(place[2] > 0)


def _in_squares(values: NDArray, side: int) -> Floats:
    """Add up what is in squares of so many rows and columns."""
    rows, columns = (np.arange(0, n, side) for n in values.shape)
    return np.add.reduceat(np.add.reduceat(values, columns, 1, dtype=np.float64), rows, 0)


def _on_panel(geometry: Geometry, offset: Floats) -> tuple[float, float]:
    """Return the pixel to which the beam centre moves by an offset across the beam, in pixels."""
    center = geometry.detector.beam_center
    assert center is not None
    panel = min(geometry.detector, key=lambda p: p.distance_px(*center))
    across = np.array([panel.fs_vector[:2], panel.ss_vector[:2]]).T
    fs, ss = np.linalg.solve(across, offset)
    return center[0] + float(fs), center[1] + float(ss)
