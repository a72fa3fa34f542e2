"""Which wavenumbers a beam has, and how far mosaic blocks turn reflections into it.

A lattice point g diffracts where its component along the beam is -|g|² / 2k, for a wavenumber k of
the band. These places are a shell. Blocks that are turned by small angles, of standard deviation η
about any axis, spread that component by η |g| cos θ (normally distributed): what they and the band
do to it add up, since the band is a shell with sharp edges and not a width of g. So the share of
the blocks inside the shell is a difference of two normal integrals. Summed over all orientations it
is the thickness of the shell, whatever the mosaicity.
"""

from __future__ import annotations

import dataclasses
import math

import numba
import numpy as np
import scipy.special
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REACH = 2.0
"""Standard deviations of the blocks' turns beyond the shell up to which a reflection is expected:
further out less than 0.023 of its blocks are inside."""

LEAST_SHARE = 1e-9
"""Share of the blocks below which none is in the shell."""

_FARTHEST, _PER_SIGMA = 4.0, 256.0
_BELOW = scipy.special.ndtr(np.arange(-_FARTHEST, _FARTHEST + 1e-9, 1 / _PER_SIGMA))
"""Shares of a normal distribution, to look up."""

_LEAST_LOOKED_UP = 1e-3


@dataclasses.dataclass(frozen=True)
class Band:
    """Wavenumbers of a beam, and the mosaicity of a crystal in it.

    Parameters
    ----------
    wavelength_a : float
        Of the middle, in Å.
    bandwidth : float
        Relative, full width.
    mosaicity_rad : float
        Standard deviation of the turns of mosaic blocks about any axis, in rad.
    """

    wavelength_a: float
    bandwidth: float
    mosaicity_rad: float

    @property
    def shell(self) -> tuple[float, float, float]:
        """Least and largest wavenumber, in Å⁻¹, and the mosaicity, as `excited` takes them."""
        wavenumber, half = 1 / self.wavelength_a, 0.5 * self.bandwidth
        return wavenumber * (1 - half), wavenumber * (1 + half), self.mosaicity_rad

    @property
    def share(self) -> float:
        """λ Δλ/λ / 4, in Å: times |g|, the share of orientations that the band excites."""
        return 0.25 * self.wavelength_a * self.bandwidth

    def blocks_width(self, lengths: Floats) -> Floats:
        """Return the standard deviation of blocks' components along the beam, in Å⁻¹.

        Parameters
        ----------
        lengths : ndarray, shape (n,)
            Of reciprocal lattice vectors that the band excites, in Å⁻¹.
        """
        sine = np.minimum(0.5 * self.wavelength_a * lengths, 1.0)
        return np.asarray(self.mosaicity_rad * lengths * np.sqrt(1 - sine**2))

    def limits(self, lengths: Floats) -> tuple[Floats, Floats]:
        """Return the least and the most component along the beam of a reflection to be expected.

        Parameters
        ----------
        lengths : ndarray, shape (n,)
            As for `blocks_width`.
        """
        k_low, k_high, _ = self.shell
        more = REACH * self.blocks_width(lengths)
        return -0.5 * lengths**2 / k_low - more, -0.5 * lengths**2 / k_high + more

    def seen(self, lengths: Floats) -> Floats:
        """Return the share of a reflection's photons with which it is seen, on average.

        It is the mean over photons of w, the share of the blocks in the shell, ∫ w² / ∫ w over
        all components along the beam: for blocks of standard deviation s and a shell of thickness
        T, erf(T / 2s) - 2 s / (T √π) · (1 - exp(-T² / 4 s²)).

        Parameters
        ----------
        lengths : ndarray, shape (n,)
            As for `blocks_width`.
        """
        if self.mosaicity_rad == 0:
            return np.ones_like(lengths)
        k_low, k_high, _ = self.shell
        thick = 0.5 * lengths**2 * (1 / k_low - 1 / k_high)
        ratio = thick / (2 * np.maximum(self.blocks_width(lengths), 1e-12))
        # 1 - exp(-x²) has no digits left where x is small.
        lost = -np.expm1(-(ratio**2)) / (ratio * math.sqrt(math.pi))
        return np.asarray(scipy.special.erf(ratio) - lost)


@numba.njit(cache=True, nogil=True)
def excited(x, y, z, shell):  # type: ignore[no-untyped-def]
    """Say which share of a reflection's blocks is in the shell, and where these are on average.

    Parameters
    ----------
    x, y, z : float
        Reciprocal lattice vector of the crystal's mean orientation, z along the beam, in Å⁻¹.
    shell : tuple of float
        From `Band.shell`.

    Returns
    -------
    tuple of float
        The share, and the components of the vector of those blocks, of the same length: turned by
        the smallest angle that gives the z that they have on average. Without mosaicity the share
        is 1 and the vector is the same.
    """
    k_low, k_high, mosaicity = shell
    if mosaicity == 0.0:
        return 1.0, x, y, z
    across = x * x + y * y
    squared = across + z * z
    least, most = -0.5 * squared / k_low, -0.5 * squared / k_high
    width = mosaicity * math.sqrt(across)
    low, high = (least - z) / width, (most - z) / width
    share = 0.5 * (math.erf(high * math.sqrt(0.5)) - math.erf(low * math.sqrt(0.5)))
    there = min(max(z, least), most)
    if share > LEAST_SHARE:
        # Mean of a truncated normal distribution.
        off = math.exp(-0.5 * low * low) - math.exp(-0.5 * high * high)
        mean = z + width * off / (math.sqrt(2.0 * math.pi) * share)
        there = min(max(mean, least), most)
    longer = math.sqrt((squared - there * there) / across)
    return share, x * longer, y * longer, there


@numba.njit(cache=True, nogil=True, fastmath=True)
def nearest(x, y, z, shell):  # type: ignore[no-untyped-def]
    """Return where in the shell the blocks lie that are turned least, as `excited` does on average.

    That takes a tenth of its time.
    """
    k_low, k_high, mosaicity = shell
    if mosaicity == 0.0:
        return x, y, z
    across = x * x + y * y
    squared = across + z * z
    there = min(max(z, -0.5 * squared / k_low), -0.5 * squared / k_high)
    longer = math.sqrt((squared - there * there) / across)
    return x * longer, y * longer, there


@numba.njit(cache=True, nogil=True, fastmath=True)
def log_share(z, squared, shell):  # type: ignore[no-untyped-def]
    """Return the logarithm of the share of blocks in the shell, to 0.1 where these are expected.

    Parameters
    ----------
    z, squared : float
        Component along the beam and squared length of a reflection, in Å⁻¹ and Å⁻².
    shell : tuple of float
        From `Band.shell`, with mosaicity.
    """
    k_low, k_high, mosaicity = shell
    per_width = 1.0 / (mosaicity * math.sqrt(squared - z * z))
    low = (-0.5 * squared / k_low - z) * per_width
    high = (-0.5 * squared / k_high - z) * per_width
    return math.log(max(_below(high) - _below(low), _LEAST_LOOKED_UP))


@numba.njit(cache=True, nogil=True, fastmath=True)
def _below(sigmas):  # type: ignore[no-untyped-def]
    """Look up the share of a normal distribution below so many standard deviations."""
    at = int((sigmas + _FARTHEST) * _PER_SIGMA + 0.5)
    return _BELOW[min(max(at, 0), len(_BELOW) - 1)]
