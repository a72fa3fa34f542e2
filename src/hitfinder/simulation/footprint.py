"""Spots of blurred lattice points, written onto pixels: the compiled loop behind `bragg`.

A lattice point g is blurred by a Gaussian of covariance C (crystal size, mosaicity, divergence). On
Ewald's sphere of wavenumber k it diffracts towards g + k z, with the density of its distance e
from the sphere, and spreads in the sphere's surface with the covariance that C leaves there. The
spectrum is cut into cells narrow beside the spot; each cell gives one such spread, and their sum
is the streak. `docs/physics/bragg.md` derives the formulas.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from hitfinder.simulation.lattice import (
    lattice_point,
    local_frame,
    pixel_steps,
    project,
    spectrum_cells,
    widths_seen,
)
from hitfinder.simulation.select import excitation, exciting_band, grown

REACH = 4.5
"""Widths of a lattice point within which it diffracts."""

# Columns of the table of spots.
FS, SS, PHOTONS, K, INV_D2, LENGTH, WIDTH, ANGLE, PEAK, TOTAL, N_COLUMNS = range(11)
"""TOTAL is what an endless detector would get, 0 where spots have fringes."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gaussian_spots(  # type: ignore[no-untyped-def]
    hkl, f_squared, found, axes, panels, spectrum, crystal, optics, active
):
    """Turn reflections near Ewald's sphere into spots and pixels.

    Parameters
    ----------
    hkl, f_squared, found, axes
        Reflections, their |F|², the list of `near_ewald`, and the columns a*, b*, c*.
    panels : tuple
        (axes, inverse, extent) of `PanelArrays`.
    spectrum : tuple
        (k_low, k_high, step, density, cumulative).
    crystal : tuple
        (covariance of a point's size (3, 3), mosaic variance in rad²).
    optics : tuple
        (photons per reflection and |F|² before the wavenumber, px, py, divergence variance in
        rad², variance of the beam's width at the detector in m², variance of the point spread in
        pixels², fewest photons of a spot).
    active : ndarray of bool, shape of a frame
        Pixels that count.

    Returns
    -------
    rows, table, first, pixels, photons
        `found` entry and values of each spot, where its pixels start, and the pixels (flat index)
        with their expected photons.
    """
    strength, px, py, divergence, _, _, fewest = optics
    rows, table = np.empty(len(found), np.int64), np.zeros((len(found), N_COLUMNS))
    first = np.zeros(len(found) + 1, np.int64)
    pixels, photons = np.empty(4096, np.int64), np.empty(4096, np.float32)
    # Not the constant 0, for which the loop below would be compiled twice.
    n_spots, n_pixels = 0, first[0]
    for entry in found:
        g = lattice_point(axes, hkl[entry // 2], entry % 2)
        f2 = f_squared[entry // 2, entry % 2]
        frame = local_frame(g, spectrum[0], spectrum[1])
        ux, uy = frame[0, 0], frame[0, 1]
        if not f2 > 0.0:
            continue
        widths = widths_seen(g, frame, crystal[0], crystal[1], divergence)
        band = exciting_band(
            g[0] * g[0] + g[1] * g[1] + g[2] * g[2],
            g[2],
            REACH * widths[0],
            spectrum[0],
            spectrum[1],
        )
        if not band[1] > band[0]:
            continue
        amplitude = strength * f2 * (1.0 - px * ux * ux - py * uy * uy)
        total = amplitude * spectrum_cells(g, widths[0], band, spectrum, 1, 16)[0].sum()
        if total < fewest:
            continue
        before = n_pixels
        pixels, photons, n_pixels = _paint_spot(
            g, frame, widths, band, amplitude, panels, spectrum, optics, active,
            pixels, photons, n_pixels, table[n_spots],
        )  # fmt: skip
        if table[n_spots, PHOTONS] < fewest:
            n_pixels = before
            table[n_spots] = 0.0
            continue
        table[n_spots, TOTAL] = total
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
def _paint_spot(  # type: ignore[no-untyped-def]
    g, frame, widths, band, amplitude, panels, spectrum, optics, active,
    pixels, photons, n_pixels, out,
):  # fmt: skip
    """Paint one reflection on every panel it touches; fill its row of the table."""
    panel_axes, inverse, extent = panels
    k = frame[3, 0]
    streak = (band[1] - band[0]) * frame[3, 1] / k
    radius = streak + 5.0 * math.sqrt(max(widths[3], widths[4])) / k
    moments = np.zeros(9)
    for n in range(len(extent)):
        fs, ss, w = project(inverse[n], frame[0, 0], frame[0, 1], frame[0, 2])
        if w <= 0.0:
            continue
        along_fs = panel_axes[n, 1]
        size = math.sqrt(along_fs[0] ** 2 + along_fs[1] ** 2 + along_fs[2] ** 2)
        blur = optics[5] + optics[4] / (size * size)
        margin = 2.0 + 1.5 * radius / (w * size) + 5.0 * math.sqrt(blur)
        if not (-margin < fs < extent[n, 2] + margin and -margin < ss < extent[n, 3] + margin):
            continue
        steps = pixel_steps(inverse[n], frame)
        cov = _pixel_covariance(steps, widths, k, blur)
        pixels, photons, n_pixels = _paint_panel(
            g, frame, widths, band, amplitude, inverse[n], extent[n], spectrum, cov, active,
            pixels, photons, n_pixels, moments, out,
        )  # fmt: skip
    _summarise(moments, g, k, out)
    return pixels, photons, n_pixels


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _pixel_covariance(steps, widths, k, blur):  # type: ignore[no-untyped-def]
    """Spread at one wavenumber on the panel: (sigma along, sigma across, cosine, sine)."""
    v11, v22, v12 = widths[3] / (k * k), widths[4] / (k * k), widths[5] / (k * k)
    a, b, c, d = steps[0, 0], steps[0, 1], steps[1, 0], steps[1, 1]
    ff = a * a * v11 + 2.0 * a * b * v12 + b * b * v22 + blur
    cc = c * c * v11 + 2.0 * c * d * v12 + d * d * v22 + blur
    fc = a * c * v11 + (a * d + b * c) * v12 + b * d * v22
    middle, apart = 0.5 * (ff + cc), math.hypot(0.5 * (ff - cc), fc)
    angle = 0.5 * math.atan2(2.0 * fc, ff - cc)
    along, across = math.sqrt(middle + apart), math.sqrt(max(middle - apart, 0.0))
    return along, across, math.cos(angle), math.sin(angle)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _paint_panel(  # type: ignore[no-untyped-def]
    g, frame, widths, band, amplitude, inverse, extent, spectrum, cov, active,
    pixels, photons, n_pixels, moments, out,
):  # fmt: skip
    """Paint one reflection on one panel as a row of small round Gaussians."""
    start = _streak_point(g, frame, widths, band[0], inverse)
    end = _streak_point(g, frame, widths, band[1], inverse)
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    # Gaussians half as wide as their distance add up to a smooth streak; finer than a tenth of a
    # pixel no pixel can tell.
    spacing = min(max(0.05 * max(length, 6.0 * cov[0]), 0.1), 0.33)
    sigma = max(cov[1], 0.5 * spacing)
    spread = math.sqrt(max(cov[0] * cov[0] - sigma * sigma, 0.0))
    half = math.ceil(3.5 * spread / max(spacing, sigma))
    at_least = math.ceil(length / max(spacing, sigma))
    weights, middles = spectrum_cells(g, widths[0], band, spectrum, max(at_least, 1), 4096)
    reach = 3.5 * spread + 4.0 * sigma + 1.0
    left = max(math.floor(min(start[0], end[0]) - reach), 0)
    top = max(math.floor(min(start[1], end[1]) - reach), 0)
    right = min(math.ceil(max(start[0], end[0]) + reach), extent[2])
    bottom = min(math.ceil(max(start[1], end[1]) + reach), extent[3])
    if right <= left or bottom <= top:
        return pixels, photons, n_pixels
    patch = np.zeros((bottom - top, right - left))
    edges = np.empty(right - left + 1)
    sub, whole = np.empty(2 * half + 1), 0.0
    for m in range(-half, half + 1):
        sub[m + half] = math.exp(-0.5 * (m * (3.5 / max(half, 1))) ** 2)
        whole += sub[m + half]
    stride = 3.5 * spread / max(half, 1)
    for n in range(len(weights)):
        fs, ss = _streak_point(g, frame, widths, middles[n], inverse)
        for m in range(-half, half + 1):
            x, y = fs + m * stride * cov[2], ss + m * stride * cov[3]
            weight = amplitude * weights[n] * (sub[m + half] / whole)
            _add_gaussian(patch, edges, x - left, y - top, sigma, weight)
            i, j = math.floor(x), math.floor(y)
            if 0 <= i < extent[2] and 0 <= j < extent[3]:
                i, j = i + extent[0], j + extent[1]
                if active[j, i]:
                    _add_moments(moments, weight, x + extent[0], y + extent[1], sigma)
                    out[K] += weight * middles[n]
    origin = (left + extent[0], top + extent[1])
    return keep_patch(patch, origin, active, pixels, photons, n_pixels, moments, out)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _streak_point(g, frame, widths, k, inverse):  # type: ignore[no-untyped-def]
    """Return where on the panel the middle of the spread at wavenumber k falls."""
    x, y, z = g[0], g[1], g[2] + k
    shift = -excitation(g[0], g[1], g[2], k)
    x += shift * (widths[1] * frame[1, 0] + widths[2] * frame[2, 0])
    y += shift * (widths[1] * frame[1, 1] + widths[2] * frame[2, 1])
    z += shift * (widths[1] * frame[1, 2] + widths[2] * frame[2, 2])
    fs, ss, _ = project(inverse, x, y, z)
    return fs, ss


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_gaussian(patch, shares, x, y, sigma, weight):  # type: ignore[no-untyped-def]
    """Add a round Gaussian, integrated over each pixel, at (x, y) from the patch's corner."""
    n_y, n_x = patch.shape
    i_low, i_high = math.floor(x - 4.0 * sigma), math.floor(x + 4.0 * sigma)
    j_low, j_high = math.floor(y - 4.0 * sigma), math.floor(y + 4.0 * sigma)
    i_first, i_last = max(i_low, 0), min(i_high, n_x - 1)
    scale = 0.7071067811865476 / sigma
    lower = -1.0 if i_first == i_low else math.erf((i_first - x) * scale)
    for i in range(i_first, i_last + 1):
        upper = 1.0 if i == i_high else math.erf((i + 1 - x) * scale)
        shares[i] = 0.5 * (upper - lower)
        lower = upper
    j_first, j_last = max(j_low, 0), min(j_high, n_y - 1)
    lower = -1.0 if j_first == j_low else math.erf((j_first - y) * scale)
    for j in range(j_first, j_last + 1):
        upper = 1.0 if j == j_high else math.erf((j + 1 - y) * scale)
        share = 0.5 * (upper - lower) * weight
        lower = upper
        for i in range(i_first, i_last + 1):
            patch[j, i] += share * shares[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_moments(moments, weight, x, y, sigma):  # type: ignore[no-untyped-def]
    variance = sigma * sigma
    moments[0] += weight
    moments[1] += weight * x
    moments[2] += weight * y
    moments[3] += weight * (x * x + variance)
    moments[4] += weight * (y * y + variance)
    moments[5] += weight * x * y


@numba.njit(cache=True, nogil=True, error_model="numpy")
def keep_patch(patch, origin, active, pixels, photons, n_pixels, moments, out):  # type: ignore[no-untyped-def]
    """Append the patch's active pixels to the list; count photons and the brightest pixel.

    Elements 6 to 8 of `moments` collect the photons' first moments by pixel.
    """
    n_y, n_x = patch.shape
    pixels, photons = grown(pixels, n_pixels + n_y * n_x), grown(photons, n_pixels + n_y * n_x)
    for j in range(n_y):
        for i in range(n_x):
            if patch[j, i] > 1e-6 and active[origin[1] + j, origin[0] + i]:
                pixels[n_pixels] = (origin[1] + j) * active.shape[1] + origin[0] + i
                photons[n_pixels] = patch[j, i]
                n_pixels += 1
                out[PHOTONS] += patch[j, i]
                out[PEAK] = max(out[PEAK], patch[j, i])
                moments[6] += patch[j, i]
                moments[7] += patch[j, i] * (origin[0] + i + 0.5)
                moments[8] += patch[j, i] * (origin[1] + j + 0.5)
    return pixels, photons, n_pixels


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _summarise(moments, g, k, out):  # type: ignore[no-untyped-def]
    """Turn weighted sums into position, wavenumber and extent."""
    out[INV_D2] = g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
    weight = moments[0]
    if weight <= 0.0:
        # Only the edge of the spot reaches pixels that count: it is seen where they are.
        if moments[6] > 0.0:
            out[FS], out[SS] = moments[7] / moments[6], moments[8] / moments[6]
            out[K] = k
        return
    x, y = moments[1] / weight, moments[2] / weight
    out[FS], out[SS], out[K] = x, y, out[K] / weight
    xx, yy = moments[3] / weight - x * x, moments[4] / weight - y * y
    xy = moments[5] / weight - x * y
    middle, apart = 0.5 * (xx + yy), math.hypot(0.5 * (xx - yy), xy)
    out[LENGTH], out[WIDTH] = math.sqrt(middle + apart), math.sqrt(max(middle - apart, 0.0))
    out[ANGLE] = 0.5 * math.atan2(2.0 * xy, xx - yy)
