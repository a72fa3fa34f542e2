"""A pulse, and a crystal in it."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.spectrum import Spectrum

Shape = Literal["gaussian", "parallelepiped", "sphere"]


@dataclasses.dataclass(frozen=True)
class Beam:
    """A pulse as one crystal sees it.

    Parameters
    ----------
    spectrum : Spectrum
        Share of photons per wavenumber.
    fluence_m2 : float
        Photons per area on the crystal, in m⁻².
    polarisation : float or None
        Fraction polarised along x; None switches the factor off.
    divergence_rad : float
        Standard deviation of the direction about each transverse axis, in rad.
    """

    spectrum: Spectrum
    fluence_m2: float
    polarisation: float | None = 1.0
    divergence_rad: float = 0.0

    def __post_init__(self) -> None:
        if not (self.fluence_m2 >= 0 and math.isfinite(self.fluence_m2)):
            raise ValueError(f"fluence must not be negative, got {self.fluence_m2} photons/m²")
        if not 0 <= self.divergence_rad < 0.2:
            raise ValueError(f"divergence must be in 0 to 0.2 rad, got {self.divergence_rad}")


@dataclasses.dataclass(frozen=True, eq=False)
class Crystal:
    """One crystal and how it lies.

    Parameters
    ----------
    axes : ndarray, shape (3, 3)
        Columns a*, b*, c* in the lab, in Å⁻¹.
    edges_a : tuple of float
        Edges along a, b and c, in Å; of a sphere, the diameter first.
    shape : {"gaussian", "parallelepiped", "sphere"}
        Shape of a lattice point. Gaussian: that of a parallelepiped with each (sin x / x)²
        replaced by the Gaussian of the same height and integral.
    mosaicity_rad : float
        Standard deviation of the small turns of mosaic blocks about any axis, in rad.
    fringes : int
        Fringes drawn to each side for the shapes that have them.
    """

    axes: NDArray[np.float64]
    edges_a: tuple[float, float, float]
    shape: Shape = "gaussian"
    mosaicity_rad: float = 0.0
    fringes: int = 10

    def __post_init__(self) -> None:
        if not (min(self.edges_a) > 0 and all(map(math.isfinite, self.edges_a))):
            raise ValueError(f"crystal size must be positive, got {self.edges_a} Å")
        if not 0 <= self.mosaicity_rad < 0.2:
            raise ValueError(f"mosaicity must be in 0 to 0.2 rad, got {self.mosaicity_rad}")
        if self.shape != "gaussian" and self.mosaicity_rad > 0:
            raise ValueError("mosaicity needs the gaussian crystal shape")

    @property
    def direct(self) -> NDArray[np.float64]:
        """Columns a, b, c in the lab, in Å."""
        return np.asarray(np.linalg.inv(self.axes).T, np.float64)

    @property
    def cell_volume_a3(self) -> float:
        """Volume of a unit cell, in Å³."""
        return float(abs(np.linalg.det(self.direct)))

    @property
    def cells(self) -> NDArray[np.float64]:
        """Unit cells along a, b and c."""
        return np.asarray(self.edges_a) / np.linalg.norm(self.direct, axis=0)

    @property
    def n_cells(self) -> float:
        """Unit cells in the crystal."""
        if self.shape == "sphere":
            return math.pi / 6 * self.edges_a[0] ** 3 / self.cell_volume_a3
        return float(self.cells.prod())

    @property
    def point_covariance(self) -> NDArray[np.float64]:
        """Covariance of a Gaussian lattice point, in Å⁻²: exp(-π (N h)²) along each axis."""
        along = self.direct * self.cells
        return np.asarray(np.linalg.inv(2 * math.pi * along @ along.T), np.float64)
