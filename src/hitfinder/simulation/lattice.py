"""A blurred lattice point seen from Ewald's sphere, and rays from the sample on a panel."""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.simulation.select import between, excitation, photons_below


@numba.njit(cache=True, nogil=True, error_model="numpy")
def lattice_point(axes, hkl, mate):  # type: ignore[no-untyped-def]
    """Return the lattice point of a reflection, or of its Friedel mate, in Å⁻¹."""
    """Return the lattice point of a reflection, or of its Friedel mate, in Å⁻¹."""
    sign = -1.0 if mate else 1.0
    g = np.empty(3)
    for i in range(3):
        g[i] = sign * (axes[i, 0] * hkl[0] + axes[i, 1] * hkl[1] + axes[i, 2] * hkl[2])
    return g


@numba.njit(cache=True, nogil=True, error_model="numpy")
def local_frame(g, k_low, k_high):  # type: ignore[no-untyped-def]
    """Rows: direction of diffraction, radial and tangential direction across it; last k itself.

    At the wavenumber of exact diffraction, or at the end of the band nearest to it.
    """
    g2 = g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
    k = k_high
    if g[2] < 0.0:
        k = min(max(-0.5 * g2 / g[2], k_low), k_high)
    frame = np.empty((4, 3))
    x, y, z = g[0], g[1], g[2] + k
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    rho = math.sqrt(x * x + y * y)
    c, s = (x / rho, y / rho) if rho > 0.0 else (1.0, 0.0)
    frame[0, 0], frame[0, 1], frame[0, 2] = x, y, z
    frame[1, 0], frame[1, 1], frame[1, 2] = z * c, z * s, -rho
    frame[2, 0], frame[2, 1], frame[2, 2] = -s, c, 0.0
    frame[3, 0], frame[3, 1], frame[3, 2] = k, rho, length
    return frame


@numba.njit(cache=True, nogil=True, error_model="numpy")
def widths_seen(g, frame, size, mosaic, divergence):  # type: ignore[no-untyped-def]
    """Blur of a lattice point seen from the sphere.

    Returns the standard deviation of its distance e from the sphere, the shift in the surface per
    unit of e (radial, tangential), and the variances in the surface once e is known (radial,
    tangential, and their covariance).
    """
    k, g2 = frame[3, 0], g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
    cov = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            # Small random turns move g across itself; a turn of the beam moves the sphere's
            # origin across the beam.
            turn = -mosaic * g[i] * g[j]
            cov[i, j] = size[i, j] + turn
            if i == j:
                cov[i, j] += mosaic * g2 + (divergence * k * k if i < 2 else 0.0)
    c = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            total = 0.0
            for i in range(3):
                for j in range(3):
                    total += frame[a, i] * cov[i, j] * frame[b, j]
            c[a, b] = total
    along_1, along_2 = c[0, 1] / c[0, 0], c[0, 2] / c[0, 0]
    return (
        math.sqrt(c[0, 0]),
        along_1,
        along_2,
        c[1, 1] - along_1 * c[0, 1],
        c[2, 2] - along_2 * c[0, 2],
        c[1, 2] - along_1 * c[0, 2],
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def spectrum_cells(g, sigma, band, spectrum, fewest, most):  # type: ignore[no-untyped-def]
    """Cut the exciting band into cells; return each one's weight and middle wavenumber.

    The weight is the integral over the cell of (share of photons per wavenumber) x (density of
    the distance from the sphere) / k². It is exact where either factor is constant over a cell,
    which makes the edges of a top-hat exact.
    """
    k_low, _, step, density, cumulative = spectrum
    span = abs(excitation(g[0], g[1], g[2], band[0]) - excitation(g[0], g[1], g[2], band[1]))
    count = min(max(math.ceil(2.0 * span / sigma), fewest), most)
    weights, middles = np.empty(count), np.empty(count)
    width = (band[1] - band[0]) / count
    e_low = excitation(g[0], g[1], g[2], band[0]) / sigma
    below = photons_below(band[0], k_low, step, density, cumulative)
    for n in range(count):
        k = band[0] + (n + 1) * width
        e_high = excitation(g[0], g[1], g[2], k) / sigma
        upto = photons_below(k, k_low, step, density, cumulative)
        middles[n] = k - 0.5 * width
        near = between(min(e_low, e_high), max(e_low, e_high)) / sigma
        weights[n] = (upto - below) * near / (middles[n] * middles[n])
        e_low, below = e_high, upto
    return weights, middles


@numba.njit(cache=True, nogil=True, error_model="numpy")
def project(inverse, x, y, z):  # type: ignore[no-untyped-def]
    """Return fs, ss (from the panel's corner) of a ray, and 1/distance to it (0: never hits)."""
    w = inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2] * z
    if w <= 0.0:
        return 0.0, 0.0, 0.0
    fs = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2] * z) / w
    return fs, (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2] * z) / w, w


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pixel_steps(inverse, frame):  # type: ignore[no-untyped-def]
    """Change of (fs, ss) per rad along the radial and tangential direction, shape (2, 2)."""
    steps, tiny = np.empty((2, 2)), 1e-6
    x, y, z = frame[0]
    fs, ss, _ = project(inverse, x, y, z)
    for a in range(2):
        dx, dy, dz = frame[a + 1, 0] * tiny, frame[a + 1, 1] * tiny, frame[a + 1, 2] * tiny
        fs_a, ss_a, _ = project(inverse, x + dx, y + dy, z + dz)
        steps[0, a], steps[1, a] = (fs_a - fs) / tiny, (ss_a - ss) / tiny
    return steps
