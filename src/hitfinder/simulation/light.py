"""What is expected on a frame besides Bragg spots, and how it is counted."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.noise import poisson_frame
from hitfinder.simulation.radial import RadialProfile, expected_image
from hitfinder.simulation.sparse import add_sparse_photons

_SPARSE_BELOW = 0.08
"""Expected photons per pixel below which drawing photons is faster than drawing pixels."""


class Light(Protocol):
    """Photons expected on a frame.

    The first light of a frame replaces what its image holds (`add` is false), the others add to it.
    """

    def deposit(self, image: NDArray[np.float32], add: bool) -> None:
        """Put the expected photons of each pixel into `image`."""

    def count(
        self, counts: NDArray[np.unsignedinteger], state: NDArray[np.uint64], add: bool
    ) -> None:
        """Put a Poisson draw of them into `counts`; a full pixel stays full. Advance `state`."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageLight:
    """Expected photons pixel by pixel.

    Parameters
    ----------
    image : ndarray of float32, shape of a frame
        Expected photons.
    scale : float
        Factor on them.
    """

    image: NDArray[np.floating]
    scale: float = 1.0

    def deposit(self, image: NDArray[np.float32], add: bool) -> None:
        """See `Light`."""
        if not add:
            image[:] = 0
        image += self.image * np.float32(self.scale)

    def count(
        self, counts: NDArray[np.unsignedinteger], state: NDArray[np.uint64], add: bool
    ) -> None:
        """See `Light`."""
        poisson_frame(self.image, state, counts, self.scale, add)


@dataclasses.dataclass(frozen=True, eq=False)
class RadialLight:
    """Scattering that depends on the angle alone, apart from polarisation, and an even level.

    Counted photon by photon where they are rare, pixel by pixel elsewhere.

    Parameters
    ----------
    geometry : Geometry
        Of the shot.
    profile : RadialProfile
        Photons per steradian.
    polarisation : float or None
        Fraction polarised along x, None for no polarisation factor.
    uniform : float
        Photons per pixel everywhere.
    scratch : ndarray of float32, shape of a frame
        Room for the expected photons while they are counted.
    """

    geometry: Geometry
    profile: RadialProfile
    polarisation: float | None
    uniform: float
    scratch: NDArray[np.float32]

    @property
    def is_sparse(self) -> bool:
        """Whether photons are so rare that they are drawn one by one."""
        n_pixels = math.prod(self.geometry.shape)
        total = expected_total(self.profile) + self.uniform * n_pixels
        return total < _SPARSE_BELOW * n_pixels

    def deposit(self, image: NDArray[np.float32], add: bool) -> None:
        """See `Light`."""
        expected = self._expected(self.scratch if add else image)
        if add:
            image += expected

    def count(
        self, counts: NDArray[np.unsignedinteger], state: NDArray[np.uint64], add: bool
    ) -> None:
        """See `Light`."""
        if not self.is_sparse:
            poisson_frame(self._expected(self.scratch), state, counts, add=add)
            return
        if not add:
            counts[:] = 0
        add_sparse_photons(
            self.geometry, self.profile, self.polarisation, state, counts, self.uniform
        )

    def _expected(self, out: NDArray[np.float32]) -> NDArray[np.float32]:
        return expected_image(self.geometry, self.profile, self.polarisation, self.uniform, out)


def expected_total(profile: RadialProfile) -> float:
    """Return the photons of a profile in all directions it covers, polarisation left out."""
    t2 = profile.t**2
    middle = (profile.total[1:] + profile.total[:-1]) / 2
    return float(4 * math.pi * (middle * np.diff(t2)).sum())
