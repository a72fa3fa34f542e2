"""The slow, obvious way to diffract: every pixel, every wavenumber, the nearest reflection.

Kept to check the fast way (`hitfinder.simulation.bragg`) against. It is right only where pixels and
wavenumbers sample a lattice point finely, that is for small crystals and close detectors.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.fringes import PARALLELEPIPED, SPHERE, interference
from hitfinder.simulation.panels import PanelArrays
from hitfinder.simulation.radial import polarisation_weights
from hitfinder.simulation.select import photons_below
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M

_KINDS = {"gaussian": 0, "parallelepiped": PARALLELEPIPED, "sphere": SPHERE}


def brute_force_image(
    factors: StructureFactors,
    geometry: Geometry,
    beam: Beam,
    crystal: Crystal,
    wavenumbers: int = 1,
    oversample: int = 1,
) -> NDArray[np.float64]:
    """Sum photons over points within each pixel and wavenumbers within the spectrum.

    Parameters
    ----------
    factors, geometry, beam, crystal
        As for `hitfinder.simulation.bragg.bragg_spots`; divergence and mosaicity are not used.
    wavenumbers : int
        Steps of the spectrum, each with its share of photons.
    oversample : int
        Points along each edge of a pixel.

    Returns
    -------
    ndarray of float64, shape of a frame
        Expected photons.
    """
    reflections, spectrum = factors.expanded, beam.spectrum
    reach = int(np.abs(reflections.hkl).max()) + 1
    table = np.zeros((2 * reach + 1,) * 3, np.float32)
    for sign, column in ((1, 0), (-1, 1)):
        h, k, el = (sign * reflections.hkl.astype(int) + reach).T
        table[h, k, el] = reflections.f_squared[:, column]
    edges = np.linspace(spectrum.k_low, spectrum.k_high, wavenumbers + 1)
    arrays = (spectrum.k_low, spectrum.step(), spectrum.density, spectrum.cumulative)
    shares = np.diff([photons_below(k, *arrays) for k in edges])
    middles = (edges[1:] + edges[:-1]) / 2
    cells = crystal.cells
    if crystal.shape == "sphere":
        cells = np.full(3, crystal.edges_a[0] / 2)
    image = np.zeros(geometry.shape)
    strength = beam.fluence_m2 * CLASSICAL_ELECTRON_RADIUS_M**2
    px, py = polarisation_weights(beam.polarisation)
    for panel, axes in zip(geometry.detector, PanelArrays.of(geometry).axes, strict=True):
        _sum_panel(
            image[panel.slices], axes, table, np.ascontiguousarray(crystal.direct),
            np.ascontiguousarray(crystal.axes), cells, _KINDS[crystal.shape], crystal.n_cells,
            middles, shares * strength, px, py, oversample,
        )  # fmt: skip
    return image


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _sum_panel(  # type: ignore[no-untyped-def]
    image, panel, table, direct, axes, cells, kind, n_cells, wavenumbers, shares, px, py, oversample
):
    reach = table.shape[0] // 2
    o, f, s = panel[0], panel[1], panel[2]
    area = math.sqrt((np.cross(f, s) ** 2).sum())
    normal = np.cross(f, s) / area
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            for sub in range(oversample * oversample):
                fs = i + (sub % oversample + 0.5) / oversample
                ss = j + (sub // oversample + 0.5) / oversample
                position = o + fs * f + ss * s
                distance = math.sqrt((position**2).sum())
                u = position / distance
                solid_angle = area / oversample**2 * abs((normal * u).sum()) / distance**2
                polarisation = 1.0 - px * u[0] ** 2 - py * u[1] ** 2
                for m in range(len(wavenumbers)):
                    qx = wavenumbers[m] * u[0]
                    qy = wavenumbers[m] * u[1]
                    qz = wavenumbers[m] * (u[2] - 1.0)
                    h = round(direct[0, 0] * qx + direct[1, 0] * qy + direct[2, 0] * qz)
                    k = round(direct[0, 1] * qx + direct[1, 1] * qy + direct[2, 1] * qz)
                    el = round(direct[0, 2] * qx + direct[1, 2] * qy + direct[2, 2] * qz)
                    if max(abs(h), abs(k), abs(el)) > reach:
                        continue
                    dx = qx - (axes[0, 0] * h + axes[0, 1] * k + axes[0, 2] * el)
                    dy = qy - (axes[1, 0] * h + axes[1, 1] * k + axes[1, 2] * el)
                    dz = qz - (axes[2, 0] * h + axes[2, 1] * k + axes[2, 2] * el)
                    if kind == 0:
                        lattice = _gaussian(dx, dy, dz, direct, cells)
                    else:
                        lattice = interference(dx, dy, dz, direct, cells, kind, n_cells)
                    f2 = table[int(h) + reach, int(k) + reach, int(el) + reach]
                    image[j, i] += shares[m] * f2 * lattice * polarisation * solid_angle


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gaussian(dx, dy, dz, direct, cells):  # type: ignore[no-untyped-def]
    """Square of the number of cells times exp(-π (N h)²) along each axis."""
    value = 1.0
    for axis in range(3):
        x = cells[axis] * (direct[0, axis] * dx + direct[1, axis] * dy + direct[2, axis] * dz)
        value *= cells[axis] ** 2 * math.exp(-math.pi * x * x)
    return value
