"""Which reflections can diffract, and over which wavenumbers: the geometry of Ewald's sphere."""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def near_ewald(hkl, n_use, axes, k_low, k_high, size_variance, spread_variance, reach, found):  # type: ignore[no-untyped-def]
    """List reflections, or Friedel mates, that come within `reach` widths of Ewald's sphere.

    A lattice point g lies on the sphere of wavenumber k if g² + 2 k g_z = 0 (beam along +z). Its
    distance from the sphere is e = |g + k z| - k; |e| < T for some k in the band is
    g² - T² < 2 k_high (T - g_z) and g² - T² > 2 k_low (-T - g_z).

    Parameters
    ----------
    hkl : ndarray of int16, shape (n, 3)
        One of each Friedel pair.
    n_use : int
        Rows to look at.
    axes : ndarray, shape (3, 3)
        Columns a*, b*, c* in Å⁻¹.
    k_low, k_high : float
        Band, in Å⁻¹.
    size_variance, spread_variance : float
        A point is blurred by a variance of at most size + spread · g², in Å⁻².
    reach : float
        Standard deviations to look out to.
    found : ndarray of int64, shape (2 n,)
        Filled with 2 · row + (1 for the mate).

    Returns
    -------
    int
        Number found.
    """
    ax, ay, az = axes[0, 0], axes[1, 0], axes[2, 0]
    bx, by, bz = axes[0, 1], axes[1, 1], axes[2, 1]
    cx, cy, cz = axes[0, 2], axes[1, 2], axes[2, 2]
    count = 0
    for n in range(n_use):
        h, k, el = float(hkl[n, 0]), float(hkl[n, 1]), float(hkl[n, 2])
        gx = ax * h + bx * k + cx * el
        gy = ay * h + by * k + cy * el
        gz = az * h + bz * k + cz * el
        g2 = gx * gx + gy * gy + gz * gz
        t = reach * math.sqrt(size_variance + spread_variance * g2)
        left = g2 - t * t
        if left < 2.0 * k_high * (t + abs(gz)) and left > 2.0 * k_low * (abs(gz) - t):
            if left < 2.0 * k_high * (t - gz) and left > 2.0 * k_low * (-t - gz):
                found[count] = 2 * n
                count += 1
            if left < 2.0 * k_high * (t + gz) and left > 2.0 * k_low * (gz - t):
                found[count] = 2 * n + 1
                count += 1
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def exciting_band(g2, gz, reach, k_low, k_high):  # type: ignore[no-untyped-def]
    """Return the part of the band in which a point lies within `reach` (Å⁻¹) of the sphere."""
    first, last = k_low, k_high
    if reach - gz > 0.0:
        first = max(first, (g2 - reach * reach) / (2.0 * (reach - gz)))
    else:
        last = first
    if -reach - gz > 0.0:
        last = min(last, (g2 - reach * reach) / (2.0 * (-reach - gz)))
    return first, last


@numba.njit(cache=True, nogil=True, error_model="numpy")
def excitation(gx, gy, gz, k):  # type: ignore[no-untyped-def]
    """Distance of g from the sphere of wavenumber k, outwards positive, without loss of digits."""
    z = gz + k
    g2 = gx * gx + gy * gy + gz * gz
    return (g2 + 2.0 * k * gz) / (math.sqrt(gx * gx + gy * gy + z * z) + k)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def photons_below(k, k_low, step, density, cumulative):  # type: ignore[no-untyped-def]
    """Share of the spectrum's photons below wavenumber k; the density is linear between nodes."""
    at = (k - k_low) / step
    if at <= 0.0:
        return 0.0
    n = int(at)
    if n >= len(density) - 1:
        return cumulative[-1]
    part = at - n
    rise = density[n + 1] - density[n]
    return cumulative[n] + step * part * (density[n] + 0.5 * part * rise)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def between(low, high):  # type: ignore[no-untyped-def]
    """Mean of the standard normal density between two abscissae, which may coincide."""
    if abs(high - low) < 1e-3:
        middle = 0.5 * (low + high)
        return 0.3989422804014327 * math.exp(-0.5 * middle * middle)
    root = 0.7071067811865476
    if low > 0.0 and high > 0.0:
        return 0.5 * (math.erfc(low * root) - math.erfc(high * root)) / (high - low)
    return 0.5 * (math.erf(high * root) - math.erf(low * root)) / (high - low)


@numba.njit(cache=True, nogil=True)
def grown(array, needed):  # type: ignore[no-untyped-def]
    """Return `array`, copied into one of at least `needed` rows if it is shorter."""
    if needed <= len(array):
        return array
    longer = np.empty(max(needed, 2 * len(array)), array.dtype)
    for n in range(len(array)):
        longer[n] = array[n]
    return longer
