"""Spots of crystals so small that the detector resolves the shape of a lattice point.

The interference function of a parallelepiped of N cells along each axis is the product of
(sin(π N h) / (π h))² around each reflection (h: distance from it in fractional indices); that of a
sphere is (3 (sin x - x cos x) / x³)². It is evaluated on a grid of points within each pixel and of
wavenumbers within the band, out to a stated number of fringes.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.simulation.footprint import (
    FS,
    INV_D2,
    LENGTH,
    N_COLUMNS,
    PHOTONS,
    SS,
    WIDTH,
    K,
    keep_patch,
)
from hitfinder.simulation.lattice import lattice_point, local_frame, pixel_steps, project
from hitfinder.simulation.select import exciting_band, photons_below

PARALLELEPIPED, SPHERE = 1, 2


@numba.njit(cache=True, nogil=True, error_model="numpy")
def interference(dx, dy, dz, direct, cells, kind, volume_cells):  # type: ignore[no-untyped-def]
    """|S|² at a distance (dx, dy, dz) in Å⁻¹ from a lattice point.

    `direct` has the columns a, b, c of the turned crystal, in Å; `cells` their numbers, or, for a
    sphere, its radius in Å first.
    """
    if kind == SPHERE:
        x = 2.0 * math.pi * cells[0] * math.sqrt(dx * dx + dy * dy + dz * dz)
        if x < 1e-2:
            form = 1.0 - 0.1 * x * x
        else:
            form = 3.0 * (math.sin(x) - x * math.cos(x)) / (x * x * x)
        return (volume_cells * form) ** 2
    value = 1.0
    for axis in range(3):
        h = direct[0, axis] * dx + direct[1, axis] * dy + direct[2, axis] * dz
        x = math.pi * cells[axis] * h
        if abs(x) < 1e-4:
            value *= cells[axis]
        else:
            value *= cells[axis] * math.sin(x) / x
    return value * value


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fringe_spots(  # type: ignore[no-untyped-def]
    hkl, f_squared, found, axes, panels, spectrum, crystal, optics, active
):
    """Turn reflections near Ewald's sphere into spots and pixels, with their fringes.

    Parameters
    ----------
    hkl, f_squared, found, axes, panels, spectrum, optics, active
        As for `hitfinder.simulation.footprint.gaussian_spots`; the strength in `optics` is without
        the crystal's size, and divergence and the beam's width are not used.
    crystal : tuple
        (kind, direct axes as columns in Å, cells along each, number of cells, distance of the
        widest and of the narrowest fringes in Å⁻¹, fringes to draw, Gauss-Legendre points and
        weights on 0 to 1 for an edge of a pixel).

    Returns
    -------
    rows, table, first, pixels, photons
        As for `gaussian_spots`.
    """
    rows, table = np.empty(len(found), np.int64), np.zeros((len(found), N_COLUMNS))
    first = np.zeros(len(found) + 1, np.int64)
    pixels, photons = np.empty(4096, np.int64), np.empty(4096, np.float32)
    # Not the constant 0, for which the loop below would be compiled twice.
    n_spots, n_pixels = 0, first[0]
    reach = crystal[4] * crystal[6]
    for entry in found:
        g = lattice_point(axes, hkl[entry // 2], entry % 2)
        f2 = f_squared[entry // 2, entry % 2]
        frame = local_frame(g, spectrum[0], spectrum[1])
        if not f2 > 0.0:
            continue
        g2 = g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
        band = exciting_band(g2, g[2], reach, spectrum[0], spectrum[1])
        if not band[1] > band[0]:
            continue
        weights, middles = _steps(band, math.sqrt(g2) / frame[3, 0], crystal[5], spectrum)
        before, out = n_pixels, table[n_spots]
        for n in range(len(panels[2])):
            pixels, photons, n_pixels = _paint_panel(
                g, frame, f2, (weights, middles, reach), panels, n, crystal, optics, active,
                pixels, photons, n_pixels, out,
            )  # fmt: skip
        if out[PHOTONS] < optics[6]:
            n_pixels = before
            out[:] = 0.0
            continue
        out[FS], out[SS], out[K], out[INV_D2] = (
            out[FS] / out[PHOTONS],
            out[SS] / out[PHOTONS],
            frame[3, 0],
            g2,
        )
        rows[n_spots] = entry
        n_spots += 1
        first[n_spots] = n_pixels
    return (
        rows[:n_spots],
        table[:n_spots],
        first[: n_spots + 1],
        pixels[:n_pixels],
        photons[:n_pixels],
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _steps(band, two_sine, fringe, spectrum):  # type: ignore[no-untyped-def]
    """Share of photons and wavenumber of steps in which a point moves a fifth of a fringe."""
    moves = (band[1] - band[0]) * two_sine / (0.2 * fringe)
    count = min(max(math.ceil(moves), 1), 4096)
    weights, middles = np.empty(count), np.empty(count)
    width = (band[1] - band[0]) / count
    below = photons_below(band[0], spectrum[0], spectrum[2], spectrum[3], spectrum[4])
    for n in range(count):
        k = band[0] + (n + 1) * width
        upto = photons_below(k, spectrum[0], spectrum[2], spectrum[3], spectrum[4])
        weights[n], middles[n] = upto - below, k - 0.5 * width
        below = upto
    return weights, middles


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _paint_panel(  # type: ignore[no-untyped-def]
    g, frame, f2, steps, panels, n, crystal, optics, active, pixels, photons, n_pixels, out,
):  # fmt: skip
    """Evaluate one reflection on one panel."""
    panel_axes, inverse, extent = panels[0][n], panels[1][n], panels[2][n]
    weights, middles, reach = steps
    fs, ss, w = project(inverse, frame[0, 0], frame[0, 1], frame[0, 2])
    if w <= 0.0:
        return pixels, photons, n_pixels
    steps_seen = pixel_steps(inverse, frame)
    fs_per_rad = abs(steps_seen[0, 0]) + abs(steps_seen[0, 1])
    ss_per_rad = abs(steps_seen[1, 0]) + abs(steps_seen[1, 1])
    k = frame[3, 0]
    streak = (middles[-1] - middles[0]) * frame[3, 1] / k
    blur = math.sqrt(optics[5])
    r_fs = fs_per_rad * (reach / k + streak) + 4.0 * blur + 1.0
    r_ss = ss_per_rad * (reach / k + streak) + 4.0 * blur + 1.0
    left, right = max(int(fs - r_fs), 0), min(int(fs + r_fs) + 1, extent[2])
    top, bottom = max(int(ss - r_ss), 0), min(int(ss + r_ss) + 1, extent[3])
    if fs + r_fs < 0.0 or ss + r_ss < 0.0 or right <= left or bottom <= top:
        return pixels, photons, n_pixels
    patch = np.zeros((bottom - top, right - left))
    for j in range(bottom - top):
        for i in range(right - left):
            patch[j, i] = f2 * pixel_photons(
                g, left + i, top + j, panel_axes, weights, middles, crystal, optics
            )
    if blur > 0.0:
        patch = blurred(patch, blur)
    moments = np.zeros(9)
    pixels, photons, n_pixels = keep_patch(
        patch, (left + extent[0], top + extent[1]), active, pixels, photons, n_pixels, moments, out
    )
    out[FS] += moments[7]
    out[SS] += moments[8]
    out[LENGTH] = max(out[LENGTH], 0.5 * crystal[4] / k * max(fs_per_rad, ss_per_rad))
    out[WIDTH] = out[LENGTH]
    return pixels, photons, n_pixels


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pixel_photons(g, i, j, panel, weights, middles, crystal, optics):  # type: ignore[no-untyped-def]
    """Photons of one reflection in one pixel for |F|² = 1."""
    kind, direct, cells, n_cells = crystal[0], crystal[1], crystal[2], crystal[3]
    points, shares = crystal[7], crystal[8]
    o, f, s = panel[0], panel[1], panel[2]
    normal_x = f[1] * s[2] - f[2] * s[1]
    normal_y = f[2] * s[0] - f[0] * s[2]
    normal_z = f[0] * s[1] - f[1] * s[0]
    flux = abs(normal_x * o[0] + normal_y * o[1] + normal_z * o[2])
    total = 0.0
    for b in range(len(points)):
        for a in range(len(points)):
            fs, ss = i + points[a], j + points[b]
            x = o[0] + fs * f[0] + ss * s[0]
            y = o[1] + fs * f[1] + ss * s[1]
            z = o[2] + fs * f[2] + ss * s[2]
            inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
            x, y, z = x * inverse, y * inverse, z * inverse
            here = 0.0
            for m in range(len(weights)):
                k = middles[m]
                here += weights[m] * interference(
                    k * x - g[0], k * y - g[1], k * (z - 1.0) - g[2], direct, cells, kind, n_cells
                )
            polarisation = 1.0 - optics[1] * x * x - optics[2] * y * y
            share = shares[a] * shares[b] * flux * inverse * inverse * inverse
            total += here * polarisation * share
    return optics[0] * total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def blurred(patch, sigma):  # type: ignore[no-untyped-def]
    """Convolve a patch with a Gaussian integrated over pixels; what leaves the patch is lost."""
    reach = math.ceil(4.0 * sigma)
    kernel = np.empty(2 * reach + 1)
    for n in range(-reach, reach + 1):
        scale = 0.7071067811865476 / sigma
        kernel[n + reach] = 0.5 * (math.erf((n + 0.5) * scale) - math.erf((n - 0.5) * scale))
    kernel /= kernel.sum()
    n_y, n_x = patch.shape
    along, across = np.zeros((n_y, n_x)), np.zeros((n_y, n_x))
    for j in range(n_y):
        for i in range(n_x):
            for n in range(max(-reach, -i), min(reach, n_x - 1 - i) + 1):
                along[j, i + n] += patch[j, i] * kernel[n + reach]
    for j in range(n_y):
        for n in range(max(-reach, -j), min(reach, n_y - 1 - j) + 1):
            for i in range(n_x):
                across[j + n, i] += along[j, i] * kernel[n + reach]
    return across
