"""The spots of measured frames at full dose: what a finder should see of them when thinned.

A spot is a connected region that stands out of the local mean (pixels and 3x3 windows, Poisson
chance). It is *certain*, and must be found in thinned frames, if its significance is above 6
standard deviations and at least one other finder saw it at full dose too; ``truth/*.csv`` records
which did (written by ``real_truth.py``). Every spot above 4 standard deviations, and everything
another finder saw, is no false peak either.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree
from scipy.special import gammainc, ndtri_exp

from hitfinder.geometry.experiment import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.units import energy_from_wavelength

TRUTH = Path(__file__).parent / "truth"
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
PERMISSIVE_Z = 4.0
CERTAIN_Z = 6.0
_MEAN_WINDOW = 31
_BEAM_STOP_PX = 50
_HOT_COUNTS = 20


@dataclasses.dataclass(frozen=True)
class RealFrame:
    """A measured frame and the geometry its header gives.

    Parameters
    ----------
    name, title : str
        For folders and tables.
    file : str
        File in the folder of real frames.
    detector : str
        Its name here.
    wavelength_a, camera_length_m : float
        From the header.
    beam : tuple of float
        Beam centre (fs, ss) in pixels, from the header.
    tolerance_px : float
        Farthest a found peak may be from its spot.
    """

    name: str
    title: str
    file: str
    detector: str
    wavelength_a: float
    camera_length_m: float
    beam: tuple[float, float]
    tolerance_px: float

    @functools.cache  # noqa: B019 - there are two of them, kept for good
    def geometry(self, shared: Path) -> Geometry:
        detector = named_detector(self.detector).with_beam_center(*self.beam)
        # The mask is the file's own: gaps and bad pixels are negative.
        detector = dataclasses.replace(detector, mask=self.read(shared)[1])
        energy = energy_from_wavelength(self.wavelength_a)
        return Geometry(detector, self.camera_length_m, energy, polarisation=0.99)

    def read(self, shared: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts (0 where masked) and mask of the full-dose frame."""
        return _read(self, shared)

    def spots(self, shared: Path) -> Spots:
        """Return the spots of the full-dose frame."""
        return _spots(self, shared)


REAL_FRAMES = (
    RealFrame(
        "pilatus6m",
        "Pilatus3 6M rotation frame",
        "DLS_I03_smargon_0001.cbf.gz",
        "pilatus-6m",
        0.97625,
        0.29147,
        (1229.30, 1200.48),
        4.0,
    ),
    RealFrame(
        "eiger16m",
        "Eiger 16M thermolysin frame",
        "dlsnxs2cbf_therm_0001.cbf.gz",
        "eiger2-x-16m",
        0.98027,
        0.21396,
        (2216.06, 2300.41),
        5.0,
    ),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Spots:
    """Spots of a full-dose frame.

    Attributes
    ----------
    table : ndarray of SPOT_DTYPE
        One row per spot, followed by places only other finders saw (no photons, not certain).
    labels : ndarray of int
        Spot number + 1 of each pixel of a footprint, 0 elsewhere.
    """

    table: np.ndarray
    labels: np.ndarray

    def net_photons(self, frame: np.ndarray, dose: float) -> np.ndarray:
        """Photons each spot holds in a thinned frame, less its expected background."""
        total = ndimage.sum_labels(frame, self.labels, np.arange(1, len(self.table) + 1))
        return total - dose * self.table["background"]


@functools.cache
def _read(real: RealFrame, shared: Path) -> tuple[np.ndarray, np.ndarray]:
    import fabio

    data = fabio.open(str(shared / "real" / real.file)).data
    mask = data < 0
    ss, fs = np.indices(data.shape, sparse=True)
    # What any user masks: the beam stop's edge, and pixels that are hot on their own.
    mask |= np.hypot(fs - real.beam[0], ss - real.beam[1]) < _BEAM_STOP_PX
    for row, column in np.argwhere(data >= _HOT_COUNTS):
        around = data[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        mask[row, column] |= np.count_nonzero(around > 0) <= 2
    return np.where(mask, 0, data), mask


@functools.cache
def _spots(real: RealFrame, shared: Path) -> Spots:
    labels, table = find_spots(*real.read(shared))
    return _with_witnesses(labels, table, read_seen(real), real.tolerance_px)


def find_spots(counts: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected regions that stand out of the local mean: labels and table."""
    good = ~mask
    mean = local_mean(counts, good)
    window = ndimage.uniform_filter(counts.astype(float), 3, mode="constant") * 9
    pixels = ndimage.uniform_filter(good.astype(float), 3, mode="constant") * 9
    z = np.maximum(poisson_z(counts, mean), poisson_z(np.rint(window), mean * np.rint(pixels)))
    z[mask] = 0
    # Windows reach one pixel beyond their spot: pixels without counts are not part of it.
    labels, n = ndimage.label((z > PERMISSIVE_Z) & (counts > 0), np.ones((3, 3)))
    index = np.arange(1, n + 1)
    net = np.maximum(counts - mean, 0)
    table = np.zeros(n, SPOT_DTYPE)
    table["z"] = ndimage.maximum(z, labels, index)
    table["photons"] = ndimage.sum_labels(counts - mean, labels, index)
    table["background"] = ndimage.sum_labels(mean, labels, index)
    table["n_pixels"] = ndimage.sum_labels(labels > 0, labels, index)
    centre = np.array(ndimage.center_of_mass(net, labels, index)).reshape(-1, 2)
    table["ss"], table["fs"] = (centre + 0.5).T
    return labels, table


def local_mean(counts: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Mean of the pixels around each pixel, those that stand out left out step by step."""
    keep = good.copy()
    for _ in range(3):
        weight = ndimage.uniform_filter(keep.astype(float), _MEAN_WINDOW, mode="constant")
        total = ndimage.uniform_filter(np.where(keep, counts, 0.0), _MEAN_WINDOW, mode="constant")
        mean = np.maximum(total, 0) / np.maximum(weight, 1e-3)
        # Where a window happens to hold nothing the mean is not nothing: one count in the window.
        mean = np.maximum(mean, 1 / _MEAN_WINDOW**2)
        keep = good & (counts <= mean + 4 * np.sqrt(mean) + 1)
    return mean


def poisson_z(counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """One-sided significance, in standard deviations, of counts at least this large."""
    out = np.zeros(counts.shape)
    high = counts > mean
    chance = gammainc(counts[high], mean[high])
    out[high] = -ndtri_exp(np.log(np.maximum(chance, 1e-300)))
    return out


def read_seen(real: RealFrame) -> dict[str, np.ndarray]:
    """Positions (fs, ss) where each other finder saw a peak at full dose."""
    path = TRUTH / f"{real.name}.csv"
    seen: dict[str, list[tuple[float, float]]] = {}
    if path.is_file():
        with path.open() as file:
            for row in csv.DictReader(file):
                at = float(row["fs"]), float(row["ss"])
                seen.setdefault(row["finder"], []).append(at)
    return {name: np.array(at) for name, at in seen.items()}


def _with_witnesses(
    labels: np.ndarray, table: np.ndarray, seen: dict[str, np.ndarray], tolerance_px: float
) -> Spots:
    confirmed = np.zeros(len(table), bool)
    places = np.stack([table["fs"], table["ss"]], 1)
    extra = []
    for at in seen.values():
        confirmed |= KDTree(at).query(places)[0] <= tolerance_px
        extra.append(at[KDTree(places).query(at)[0] > tolerance_px])
    several = table["n_pixels"] > 1
    table["certain"] = (table["z"] > CERTAIN_Z) & several & (confirmed | (not seen))
    others = np.concatenate(extra) if extra else np.empty((0, 2))
    more = np.zeros(len(others), SPOT_DTYPE)
    more["fs"], more["ss"] = others.T
    return Spots(np.concatenate([table, more]), labels)
