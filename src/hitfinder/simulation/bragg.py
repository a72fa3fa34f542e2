"""Bragg reflections of one crystal in one pulse: spots with their photons and pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation import footprint, fringes
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.noise import poisson_list
from hitfinder.simulation.panels import PanelArrays
from hitfinder.simulation.radial import polarisation_weights
from hitfinder.simulation.select import near_ewald
from hitfinder.simulation.spectrum import Spectrum
from hitfinder.units import CLASSICAL_ELECTRON_RADIUS_M

Floats = NDArray[np.float64]

SPOT_DTYPE = np.dtype(
    [
        ("h", "i4"),
        ("k", "i4"),
        ("l", "i4"),
        ("fs", "f8"),
        ("ss", "f8"),
        ("photons", "f8"),
        ("wavelength_a", "f8"),
        ("d_a", "f8"),
        ("length_px", "f4"),
        ("width_px", "f4"),
        ("angle_rad", "f4"),
        ("peak_photons", "f4"),
    ]
)
"""A spot: indices; centre in the stored frame (pixels, corner convention); expected photons on
pixels that count; mean wavelength (Å); resolution (Å); root-mean-square extent along and across
its long axis (pixels), the angle of that axis from fs (rad); photons of its brightest pixel."""


@dataclasses.dataclass(frozen=True, eq=False)
class BraggSpots:
    """The spots of one crystal in one pulse.

    Attributes
    ----------
    table : structured ndarray of `SPOT_DTYPE`, shape (n,)
        The spots.
    first : ndarray of int64, shape (n + 1,)
        Spot i owns pixels ``first[i]`` up to ``first[i + 1]``.
    pixels : ndarray of int64
        Flat index into the frame.
    photons : ndarray of float32
        Expected photons in each of these pixels.
    """

    table: NDArray
    first: NDArray[np.int64]
    pixels: NDArray[np.int64]
    photons: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.table)

    def deposit(self, image: NDArray[np.floating], scale: float = 1.0) -> None:
        """Add the expected photons, times `scale`, to a frame."""
        np.add.at(image.reshape(-1), self.pixels, self.photons * scale)

    def count(
        self, counts: NDArray[np.unsignedinteger], state: NDArray[np.uint64], scale: float = 1.0
    ) -> NDArray[np.int64]:
        """Add a Poisson draw of the photons, times `scale`, to a frame of counts.

        Parameters
        ----------
        counts : ndarray of unsigned int, shape of a frame
            Added to; a full pixel stays at the largest value of its type.
        state : ndarray of uint64, shape (4,)
            Generator state; advanced.
        scale : float
            Factor on the expected photons.

        Returns
        -------
        ndarray of int64, shape (n,)
            Photons counted of each spot.
        """
        limit = np.iinfo(counts.dtype).max
        flat = counts.reshape(-1)
        return poisson_list(self.first, self.pixels, self.photons, scale, state, flat, limit)


def bragg_spots(
    factors: StructureFactors,
    geometry: Geometry,
    beam: Beam,
    crystal: Crystal,
    *,
    psf_px: float = 0.0,
    min_photons: float = 0.01,
    panels: PanelArrays | None = None,
    active: NDArray[np.bool_] | None = None,
) -> BraggSpots:
    """Compute the spots of a crystal, reflection by reflection.

    A reflection fully inside the spectrum gives I_λ r_e² λ⁴ |F|² V P / (2 V_cell² sin²θ) photons;
    one that is only partly in it, as at the edges of a band or with a monochromatic beam, the
    share its blur has there.

    Parameters
    ----------
    factors : StructureFactors
        |F|²; the crystal's axes may differ slightly from its cell.
    geometry : Geometry
        Detector and camera length; the beam's own energy and polarisation apply.
    beam : Beam
        The pulse.
    crystal : Crystal
        Orientation, size, shape and mosaicity.
    psf_px : float
        Standard deviation of the detector's point spread, in pixels.
    min_photons : float
        Spots with fewer expected photons are left out.
    panels, active : optional
        `PanelArrays` and not-masked pixels of the geometry, if at hand.

    Returns
    -------
    BraggSpots

    Raises
    ------
    ValueError
        If the crystal is too large for its fringes to be resolved, or a value is impossible.
    """
    painted = paint_reflections(
        factors,
        geometry,
        beam,
        crystal,
        psf_px=psf_px,
        min_photons=min_photons,
        panels=panels,
        active=active,
    )
    rows, values, first, pixels, photons = painted
    return BraggSpots(_table(factors.expanded.hkl, rows, values), first, pixels, photons)


def paint_reflections(
    factors: StructureFactors,
    geometry: Geometry,
    beam: Beam,
    crystal: Crystal,
    *,
    psf_px: float = 0.0,
    min_photons: float = 0.01,
    panels: PanelArrays | None = None,
    active: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Compute the spots of a crystal as the compiled loop gives them; see `bragg_spots`.

    Returns
    -------
    rows, values, first, pixels, photons
        As `hitfinder.simulation.footprint.gaussian_spots` returns them; rows are of
        ``factors.expanded``.
    """
    if not 0 <= psf_px <= 20:
        raise ValueError(f"point spread must be in 0 to 20 pixels, got {psf_px}")
    if crystal.shape != "gaussian" and beam.divergence_rad > 0:
        raise ValueError("divergence needs the gaussian crystal shape")
    panels = PanelArrays.of(geometry) if panels is None else panels
    active = ~geometry.detector.full_mask if active is None else active
    spectrum, t_max = beam.spectrum, panels.largest_t()
    found, reflections = _candidates(factors, beam, crystal, t_max), factors.expanded
    r_e = CLASSICAL_ELECTRON_RADIUS_M
    strength = beam.fluence_m2 * r_e**2
    px, py = polarisation_weights(beam.polarisation)
    if crystal.shape == "gaussian":
        kernel: Callable = footprint.gaussian_spots
        shape: tuple = _gaussian_parameters(crystal)
        # Per area and |F|² in Å: r_e² V / V_cell² with the rest in the kernel.
        strength *= crystal.n_cells / crystal.cell_volume_a3
    else:
        kernel, shape = fringes.fringe_spots, _fringe_parameters(crystal, geometry, spectrum)
    width_variance = (max(crystal.edges_a) * 1e-10) ** 2 / 12
    optics = (
        strength, px, py, beam.divergence_rad**2, width_variance, psf_px**2,
        max(float(min_photons), 1e-9),
    )  # fmt: skip
    return kernel(
        reflections.hkl,
        reflections.f_squared,
        found,
        np.ascontiguousarray(crystal.axes),
        (panels.axes, panels.inverse, panels.extent),
        (spectrum.k_low, spectrum.k_high, spectrum.step(), spectrum.density, spectrum.cumulative),
        shape,
        optics,
        active,
    )


def _candidates(
    factors: StructureFactors, beam: Beam, crystal: Crystal, t_max: float
) -> NDArray[np.int64]:
    """List the reflections that may diffract onto the detector, as `near_ewald` codes them."""
    reflections, spectrum = factors.expanded, beam.spectrum
    if crystal.shape == "gaussian":
        size = float(np.linalg.eigvalsh(crystal.point_covariance)[-1])
        reach = footprint.REACH
    else:
        size, reach = _fringe_distances(crystal)[0] ** 2, float(crystal.fringes)
    # A lattice point on the detector has |g| = 2 k t at most, plus its blur; the crystal's own
    # cell may be a little larger than that of the table.
    spread = crystal.mosaicity_rad**2 + beam.divergence_rad**2
    g_max = 2 * spectrum.k_high * t_max * 1.01
    g_max += reach * math.sqrt(size + spread * g_max**2)
    strain = np.linalg.svd(crystal.axes @ factors.cell.direct.T, compute_uv=False)[-1]
    n_use = int(np.searchsorted(reflections.inv_d_squared, (g_max / strain) ** 2))
    found = np.empty(2 * len(reflections.hkl), np.int64)
    n_found = near_ewald(
        reflections.hkl, n_use, np.ascontiguousarray(crystal.axes),
        spectrum.k_low, spectrum.k_high, size, spread, reach, found,
    )  # fmt: skip
    return found[:n_found]


def _gaussian_parameters(crystal: Crystal) -> tuple[NDArray[np.float64], float]:
    return np.ascontiguousarray(crystal.point_covariance), crystal.mosaicity_rad**2


def _fringe_distances(crystal: Crystal) -> tuple[float, float]:
    """Return the distance of the widest and of the narrowest fringes, in Å⁻¹."""
    if crystal.shape == "sphere":
        return 1 / crystal.edges_a[0], 1 / crystal.edges_a[0]
    distances = np.linalg.norm(crystal.axes, axis=0) / crystal.cells
    return float(distances.max()), float(distances.min())


def _fringe_parameters(crystal: Crystal, geometry: Geometry, spectrum: Spectrum) -> tuple:
    """Parameters of the fringe kernel; refuse fringes much finer than a pixel."""
    widest, narrowest = _fringe_distances(crystal)
    pixel = max(p.pixel_size_m for p in geometry.detector) / geometry.camera_length_m
    fringes_per_pixel = spectrum.k_high * pixel / narrowest
    if fringes_per_pixel > 2.5:
        raise ValueError(
            f"the fringes of a {crystal.shape} crystal of {max(crystal.edges_a) * 1e-4:g} µm are "
            "finer than the pixels can resolve; take the gaussian crystal shape"
        )
    points, weights = np.polynomial.legendre.leggauss(2 + math.ceil(2 * fringes_per_pixel))
    cells, kind = crystal.cells, fringes.PARALLELEPIPED
    if crystal.shape == "sphere":
        cells, kind = np.full(3, crystal.edges_a[0] / 2), fringes.SPHERE
    direct = np.ascontiguousarray(crystal.direct)
    distances = (widest, narrowest, float(crystal.fringes))
    return kind, direct, cells, crystal.n_cells, *distances, (points + 1) / 2, weights / 2


def _table(hkl: NDArray[np.int16], rows: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray:
    """Collect the kernel's columns into the table of spots."""
    table = np.zeros(len(rows), SPOT_DTYPE)
    indices = hkl[rows // 2].astype(np.int32) * np.where(rows % 2, -1, 1)[:, None]
    for column, name in enumerate("hkl"):
        table[name] = indices[:, column]
    for name, column in (
        ("fs", footprint.FS),
        ("ss", footprint.SS),
        ("photons", footprint.PHOTONS),
        ("length_px", footprint.LENGTH),
        ("width_px", footprint.WIDTH),
        ("angle_rad", footprint.ANGLE),
        ("peak_photons", footprint.PEAK),
    ):
        table[name] = values[:, column]
    table["wavelength_a"] = 1 / values[:, footprint.K]
    table["d_a"] = 1 / np.sqrt(values[:, footprint.INV_D2])
    return table
