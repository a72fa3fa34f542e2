"""The spots of a measured frame at full dose: what a finder should see of them when it is thinned.

A spot is a connected region that stands out of the local mean (pixels and 3×3 windows, Poisson
chance). It is *certain*, and must be found in thinned frames, if its significance is above 6
standard deviations, it has several pixels and, where positions seen by other finders at full dose
are given, one of them saw it too. Every spot above 4 standard deviations, and everything another
finder saw, is no false peak either.
"""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.special import gammainc, ndtri_exp

from hitfinder.errors import SourceError

SPOT_DTYPE = np.dtype(
    [
        ("fs", "f8"),
        ("ss", "f8"),
        ("photons", "f8"),
        ("background", "f8"),
        ("n_pixels", "i4"),
        ("z", "f8"),
        ("certain", "?"),
    ]
)
"""Position (corner convention, pixels), photons above the background and expected background
under the footprint, pixels, significance in standard deviations, and whether it is certain."""

PERMISSIVE_Z, CERTAIN_Z = 4.0, 6.0
_MEAN_WINDOW = 31
_LITTLE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class FullDoseSpots:
    """Spots of a full-dose frame.

    Attributes
    ----------
    table : ndarray of SPOT_DTYPE
        One row per spot, followed by places only other finders saw (no photons, not certain).
    labels : ndarray of int
        Spot number + 1 of each pixel of a footprint, 0 elsewhere.
    """

    table: NDArray
    labels: NDArray[np.integer]

    def net_photons(self, frame: NDArray, dose: float) -> NDArray[np.float64]:
        """Return the photons each spot holds in a thinned frame, less its expected background."""
        total = ndimage.sum_labels(frame, self.labels, np.arange(1, len(self.table) + 1))
        return np.asarray(total - dose * self.table["background"], np.float64)


def full_spots(
    counts: NDArray[np.integer],
    mask: NDArray[np.bool_],
    seen: dict[str, NDArray[np.float64]],
    tolerance_px: float,
) -> FullDoseSpots:
    """Return the spots of a frame.

    Parameters
    ----------
    counts, mask : ndarray, shape of the frame
        Photons, and True where there is no reading.
    seen : dict of ndarray, shape (n, 2)
        Positions (fs, ss; corner convention) at which other finders saw peaks; may be empty.
    tolerance_px : float
        Farthest such a position may be from a spot.
    """
    labels, table = _regions(counts, mask)
    places = np.stack([table["fs"], table["ss"]], 1)
    confirmed = np.zeros(len(table), bool)
    extra = [np.empty((0, 2))]
    for at in seen.values():
        if not (len(at) and len(table)):
            continue
        confirmed |= KDTree(at).query(places)[0] <= tolerance_px
        extra.append(at[KDTree(places).query(at)[0] > tolerance_px])
    several = table["n_pixels"] > 1
    table["certain"] = (table["z"] > CERTAIN_Z) & several & (confirmed | (not seen))
    others = np.concatenate(extra)
    more = np.zeros(len(others), SPOT_DTYPE)
    more["fs"], more["ss"] = others.T
    return FullDoseSpots(np.concatenate([table, more]), labels)


def _regions(counts: NDArray, mask: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Label the connected regions that stand out of the local mean, and tabulate them."""
    good = ~mask
    mean = local_mean(counts, good)
    window = ndimage.uniform_filter(counts.astype(float), 3, mode="constant") * 9
    pixels = ndimage.uniform_filter(good.astype(float), 3, mode="constant") * 9
    z = np.maximum(poisson_z(counts, mean), poisson_z(np.rint(window), mean * np.rint(pixels)))
    z[mask] = 0
    # Windows reach one pixel beyond their spot: pixels without counts are not part of it.
    labels, n = ndimage.label((z > PERMISSIVE_Z) & (counts > 0), np.ones((3, 3)))
    index = np.arange(1, n + 1)
    table = np.zeros(n, SPOT_DTYPE)
    if not n:
        return labels, table
    table["z"] = ndimage.maximum(z, labels, index)
    table["photons"] = ndimage.sum_labels(counts - mean, labels, index)
    table["background"] = ndimage.sum_labels(mean, labels, index)
    table["n_pixels"] = ndimage.sum_labels(labels > 0, labels, index)
    # A window may stand out by its rim alone, around a pixel below the mean.
    weight = np.maximum(counts - mean, _LITTLE * counts)
    centre = np.array(ndimage.center_of_mass(weight, labels, index))
    table["ss"], table["fs"] = (centre.reshape(-1, 2) + 0.5).T
    return labels, table


def local_mean(counts: NDArray, good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of the pixels around each, those that stand out left out step by step."""
    keep = good.copy()
    mean = np.zeros(counts.shape)
    for _ in range(3):
        weight = ndimage.uniform_filter(keep.astype(float), _MEAN_WINDOW, mode="constant")
        total = ndimage.uniform_filter(np.where(keep, counts, 0.0), _MEAN_WINDOW, mode="constant")
        mean = np.maximum(total, 0) / np.maximum(weight, 1e-3)
        # Where a window happens to hold nothing the mean is not nothing: one count in the window.
        mean = np.maximum(mean, 1 / _MEAN_WINDOW**2)
        keep = good & (counts <= mean + 4 * np.sqrt(mean) + 1)
    return mean


def poisson_z(counts: NDArray, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the one-sided significance, in standard deviations, of counts at least this large."""
    out = np.zeros(counts.shape)
    high = counts > mean
    chance = gammainc(counts[high], mean[high])
    out[high] = -ndtri_exp(np.log(np.maximum(chance, 1e-300)))
    return out


def read_seen(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Read the positions (fs, ss) at which other finders saw peaks.

    Parameters
    ----------
    path : path-like
        CSV file with the columns ``finder``, ``fs``, ``ss``.

    Raises
    ------
    SourceError
        If it cannot be read or has other columns.
    """
    seen: dict[str, list[tuple[float, float]]] = {}
    try:
        with open(path, encoding="utf-8") as file:
            for row in csv.DictReader(file):
                at = float(row["fs"]), float(row["ss"])
                seen.setdefault(row["finder"], []).append(at)
    except (OSError, KeyError, ValueError, UnicodeDecodeError) as error:
        what = f"cannot be read as peaks seen ({error!r})"
        raise SourceError("unreadable", what, str(path), "Columns: finder, fs, ss.") from error
    return {name: np.array(at) for name, at in seen.items()}
