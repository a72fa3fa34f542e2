"""Draw the figures of docs/physics: python examples/physics_figures.py [folder]."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from hitfinder.crystal.cell import Cell
from hitfinder.crystal.compute import random_structure_factors
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.bragg import bragg_spots
from hitfinder.simulation.noise import poisson_frame
from hitfinder.simulation.rng import random_state
from hitfinder.simulation.scatterers import (
    air_cross_section_per_m3,
    ice_cross_section_per_m3,
    protein_cross_section_per_m3,
)
from hitfinder.simulation.spectrum import gaussian, inverse_compton, sase, tophat, two_colour
from hitfinder.simulation.water import WaterScattering, expected_water
from hitfinder.units import HC_EV_ANGSTROM

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from oracles.bruteforce import brute_force_image  # noqa: E402

NANOBRAGG = HERE.parents[1] / "shared/data/nanobragg/nanobragg_small_crystal.h5"
COLOURS = ("#1f5a93", "#c4572e", "#4b8a3f", "#7a5aa6", "#8a6d1a")
STYLE = {
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "hitfinder",
}


def square(size, camera_length_m, energy_ev=6000.0, pixel_size_m=75e-6, centre=None):
    corner = -size / 2 if centre is None else -centre
    panel = Panel("p", 0, 0, size, size, corner, corner, pixel_size_m=pixel_size_m)
    return Geometry(Detector("square", (size, size), (panel,)), camera_length_m, energy_ev)


def water():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    q = np.linspace(0.1, 6, 600)
    for temperature in (1, 25, 77):
        left.plot(q, WaterScattering(temperature)(q), label=f"{temperature} °C")
    left.set(xlabel="q (Å⁻¹)", ylabel="|F|² per molecule (e²)")
    left.legend()
    for energy, length in ((6000, 0.15), (8000, 0.15), (6000, 0.25), (8000, 0.35)):
        geometry = square(520, length, energy, 3e-4)
        image = expected_water(geometry, 3e8, 1e-5) / 16
        label = f"{energy / 1000:.0f} keV, {length} m"
        right.plot(np.arange(260) * 0.3, image[260, 260:], label=label)
    right.set(xlabel="distance from the beam along x (mm)", ylabel="photons per pixel and pulse")
    right.legend()
    return figure


def factors():
    figure, axes = plt.subplots(1, 3, figsize=(9, 3))
    geometry = square(260, 0.15, pixel_size_m=6e-4)
    maps = geometry.pixels
    extent = (-78, 78, -78, 78)
    for axis, values, title in (
        (axes[0], maps.solid_angle / maps.solid_angle.max(), "solid angle / that on the axis"),
        (axes[1], maps.polarisation, "polarisation factor, beam polarised along x"),
    ):
        shown = axis.contour(values, np.arange(0.6, 1.0, 0.05), extent=extent, cmap="viridis")
        axis.clabel(shown, fontsize=7)
        axis.set(xlabel="x (mm)", ylabel="y (mm)", aspect="equal")
        axis.set_title(title, fontsize=9)
    two_theta = np.radians(np.linspace(1, 50, 300))
    for label, value in {
        "solid angle cos³2θ": np.cos(two_theta) ** 3,
        "polarisation, along x": np.cos(two_theta) ** 2,
        "Lorentz 1/sin²θ (at 2θ = 10°: 1)": np.sin(np.radians(5)) ** 2 / np.sin(two_theta / 2) ** 2,
    }.items():
        axes[2].semilogy(np.degrees(two_theta), value, label=label)
    axes[2].set(xlabel="2θ (degrees)", ylim=(0.02, 20))
    axes[2].legend(fontsize=7)
    return figure


def turned(cell, hkl, azimuth, wavelength_a, offset=0.0):
    """Reciprocal axes for which hkl diffracts at the wavelength, towards an azimuth."""
    g = cell.reciprocal @ np.array(hkl, float)
    length = np.linalg.norm(g)
    sine = wavelength_a * (1 + offset) * length / 2
    across = np.sqrt(1 - sine**2)
    target = np.array([across * np.cos(azimuth), across * np.sin(azimuth), -sine])
    source = g / length
    axis, cosine = np.cross(source, target), source @ target
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return (np.eye(3) + k + k @ k / (1 + cosine)) @ cell.reciprocal


def footprints():
    cell, hkl, energy = Cell(40, 45, 50), (2, 1, 2), 7000.0
    table = StructureFactors(cell, "P 1", np.array([hkl], np.int16), np.array([2e5]))
    geometry = square(180, 0.06, energy, 1e-4)
    axes = turned(cell, hkl, 0.8, HC_EV_ANGSTROM / energy, 0.004)
    cases = (
        ("60 nm, one wavelength", 600.0, "parallelepiped", tophat(energy, 0.0), 1),
        ("60 nm, 2 % bandwidth", 600.0, "parallelepiped", tophat(energy, 0.02), 60),
        ("Gaussian point, 2 %", 600.0, "gaussian", tophat(energy, 0.02), 60),
    )
    figure, rows = plt.subplots(3, 3, figsize=(6.6, 6.6))
    for number, (title, edge, shape, spectrum, steps) in enumerate(cases):
        row = rows[number]
        crystal = Crystal(axes, (edge, edge, edge), shape, fringes=5)
        beam = Beam(spectrum, 1e24, 1.0)
        fast = np.zeros(geometry.shape)
        bragg_spots(table, geometry, beam, crystal, min_photons=0).deposit(fast)
        slow = brute_force_image(table, geometry, beam, crystal, steps, 4)
        ss, fs = np.unravel_index(slow.argmax(), slow.shape)
        window = np.s_[ss - 16 : ss + 17, fs - 16 : fs + 17]
        top = slow.max()
        for axis, image, name in zip(
            row,
            (fast[window], slow[window], (fast - slow)[window] * 100),
            ("reflection by reflection", "sum over pixels", "difference x 100"),
            strict=True,
        ):
            signed = name.startswith("difference")
            norm = (
                plt.Normalize(-top, top) if signed else matplotlib.colors.LogNorm(1e-4 * top, top)
            )
            axis.imshow(image, norm=norm, cmap="RdBu_r" if signed else "magma", origin="lower")
            axis.set(xticks=[], yticks=[])
            if number == 0:
                axis.set_title(name, fontsize=9)
        row[0].set_ylabel(title)
    return figure


def band_edges():
    cell, hkl, energy = Cell(40, 45, 50), (3, -2, 1), 7000.0
    table = StructureFactors(cell, "P 1", np.array([hkl], np.int16), np.array([2e5]))
    wavelength = HC_EV_ANGSTROM / energy
    geometry = square(400, 0.05, energy)
    figure, (left, right, far) = plt.subplots(1, 3, figsize=(9.5, 3))
    offsets = np.linspace(-0.014, 0.014, 141)
    for edge in (1e4, 3e4, 1e5):
        photons = []
        for offset in offsets:
            crystal = Crystal(turned(cell, hkl, 0.3, wavelength, offset), (edge,) * 3)
            spots = bragg_spots(
                table, geometry, Beam(tophat(energy, 0.02), 1e20, None), crystal, min_photons=0
            )
            photons.append(spots.table["photons"].sum() / edge**3)
        left.plot(offsets * 100, np.array(photons) / max(photons), label=f"{edge / 1e4:g} µm")
    left.set(
        xlabel="wavelength, from the middle of the band (%)",
        ylabel="photons / those in the middle",
    )
    left.legend(title="crystal")
    rng = np.random.default_rng(1)
    for axis, spectra in (
        (
            right,
            {
                "top-hat 1 %": tophat(6000, 0.01),
                "Gaussian 1 %": gaussian(6000, 0.01),
                "two colours": two_colour(6000, 0.003, 0.02),
                "inverse Compton 1 %": inverse_compton(6000, 0.01),
            },
        ),
        (
            far,
            {
                "SASE 0.5 %, one pulse": sase(6000, 0.005, rng),
                "its envelope": gaussian(6000, 0.005),
            },
        ),
    ):
        for name, spectrum in spectra.items():
            k = np.concatenate([[spectrum.k_low], spectrum.k, [spectrum.k_high]])
            density = np.concatenate([[0], spectrum.density, [0]]) / HC_EV_ANGSTROM
            axis.plot(k * HC_EV_ANGSTROM, density, label=name, lw=1)
        axis.set(xlabel="photon energy (eV)", ylabel="share of photons per eV")
        axis.legend(fontsize=7)
    right.set(xlim=(5850, 6150), ylim=(0, 0.05))
    far.set(xlim=(5950, 6050))
    return figure


def blur():
    cell, hkl, energy = Cell(40, 45, 50), (3, -2, 4), 7000.0
    table = StructureFactors(cell, "P 1", np.array([hkl], np.int16), np.array([2e5]))
    geometry = square(400, 0.06, energy)
    axes = turned(cell, hkl, 0.9, HC_EV_ANGSTROM / energy)
    cases = (
        ("10 µm, 1 %", 1e5, 0.01, 0.0, 0.0, 0.0),
        ("0.3 µm, 1 %", 3e3, 0.01, 0.0, 0.0, 0.0),
        ("0.1 µm, 1 %", 1e3, 0.01, 0.0, 0.0, 0.0),
        ("mosaicity 0.1°", 1e5, 0.02, np.radians(0.1), 0.0, 0.0),
        ("divergence 1 mrad", 1e5, 0.02, 0.0, 1e-3, 0.0),
        ("point spread 1 px", 1e5, 0.02, 0.0, 0.0, 1.0),
    )
    figure, panels = plt.subplots(1, 6, figsize=(9, 1.9))
    for axis, (title, edge, bandwidth, mosaicity, divergence, psf) in zip(
        panels, cases, strict=True
    ):
        beam = Beam(tophat(energy, bandwidth), 1e20, 1.0, divergence)
        crystal = Crystal(axes, (edge,) * 3, mosaicity_rad=mosaicity)
        spots = bragg_spots(table, geometry, beam, crystal, psf_px=psf, min_photons=0)
        image = np.zeros(geometry.shape)
        spots.deposit(image)
        fs, ss = (int(spots.table[name][0]) for name in ("fs", "ss"))
        axis.imshow(
            image[ss - 10 : ss + 11, fs - 10 : fs + 11] ** 0.5, cmap="magma", origin="lower"
        )
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=8)
    return figure


def others():
    figure, axis = plt.subplots(figsize=(5.4, 3.2))
    q = np.linspace(0.01, 4, 1500)
    axis.semilogy(q, 1e-5 * WaterScattering()(q) * WaterScattering().molecules_per_m3 * 7.94e-30)
    axis.semilogy(q, 0.02 * air_cross_section_per_m3(q))
    axis.semilogy(q, 1e-5 * protein_cross_section_per_m3(q, 50, 28.9))
    axis.semilogy(q, 1e-6 * ice_cross_section_per_m3(q))
    names = ("10 µm of water", "20 mm of air", "50 mg/ml of protein in it", "1 µm of ice")
    for line, name in zip(axis.lines, names, strict=True):
        line.set_label(name)
    axis.set(xlabel="q (Å⁻¹)", ylabel="scattered per photon and sr", ylim=(1e-9, 1e-2))
    axis.legend(fontsize=7, loc="lower left")
    return figure


def counting():
    figure, panels = plt.subplots(1, 3, figsize=(8.4, 2.6))
    for axis, mean in zip(panels, (0.03, 3.03, 40.0), strict=True):
        counts = poisson_frame(
            np.full((1000, 1000), mean), random_state(1, 0), np.empty((1000, 1000), np.uint16)
        )
        seen = np.bincount(counts.ravel())
        n = np.arange(len(seen))
        expected = counts.size * stats.poisson.pmf(n, mean)
        good = expected > 5
        axis.bar(n[good], ((seen - expected) / np.sqrt(expected))[good], color=COLOURS[0])
        axis.set(xlabel="counts", title=f"mean {mean:g}", ylim=(-4, 4))
        axis.axhline(0, color="k", lw=0.5)
    panels[0].set_ylabel("(pixels − expected) / √expected")
    return figure


def wilson():
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    from hitfinder.crystal.tables import packaged_structure_factors

    ours = packaged_structure_factors()
    drawn = random_structure_factors(ours.cell, "P 43 21 2", np.random.default_rng(0))
    edges = np.linspace(0, 0.44, 45)
    for name, table in (("1IC6", ours), ("random (Wilson)", drawn)):
        inv_d2 = table.cell.inv_d_squared(table.hkl)
        which = np.digitize(inv_d2, edges)
        mean = [table.f_squared[which == n].mean() for n in range(1, len(edges))]
        left.semilogy((edges[1:] + edges[:-1]) / 2, mean, label=name)
        shell = np.array(mean)[np.clip(which - 1, 0, len(mean) - 1)]
        normal = table.f_squared / shell
        right.hist(normal[inv_d2 > 0.1], np.linspace(0, 6, 60), histtype="step", density=True)
    left.set(xlabel="1/d² (Å⁻²)", ylabel="mean |F|² (e²)")
    left.legend()
    z = np.linspace(0, 6, 100)
    right.plot(z, np.exp(-z), "k:", lw=1, label="exp(-z)")
    right.set(xlabel="z = |F|² / mean", ylabel="density")
    right.legend()
    return figure


def nanobragg():
    import h5py

    if not NANOBRAGG.exists():
        return None
    figure, panels = plt.subplots(1, 4, figsize=(9, 2.5))
    cell = Cell(67.288, 67.288, 106.582)
    with h5py.File(NANOBRAGG) as file:
        factors_ = StructureFactors(
            cell, "P 43 21 2", file["hkl"][:], file["F"][:].astype(float) ** 2
        )
        reference = file["mono_polarised_x"][:]
        axes = file["mono_polarised_x"].attrs["reciprocal_axes_inv_angstrom"]
    # Their pixels hold the value at 7/8 of each edge: see the tests.
    geometry = square(1024, 0.15, centre=512 - 0.375)
    crystal = Crystal(axes, (20 * cell.a, 20 * cell.b, 20 * cell.c), "parallelepiped", fringes=6)
    points = np.polynomial.legendre.leggauss
    np.polynomial.legendre.leggauss = lambda _: (np.zeros(1), np.full(1, 2.0))
    ours = np.zeros(geometry.shape)
    spots = bragg_spots(
        factors_, geometry, Beam(tophat(6000, 0), 1e24, 1.0), crystal, min_photons=0.1
    )
    np.polynomial.legendre.leggauss = points
    spots.deposit(ours)
    ss, fs = np.unravel_index(reference.argmax(), reference.shape)
    window = np.s_[max(ss - 30, 0) : ss + 31, max(fs - 30, 0) : fs + 31]
    norm = matplotlib.colors.LogNorm(1e-2, reference.max())
    for axis, image, title in zip(
        panels[:2], (reference, ours), ("nanoBragg", "hitfinder"), strict=True
    ):
        axis.imshow(image[window] + 1e-9, norm=norm, cmap="magma", origin="lower")
        axis.set(xticks=[], yticks=[], title=title)
    bright = reference > 1
    ratio = ours[bright] / reference[bright]
    panels[2].loglog(reference[bright], ours[bright], ".", ms=2)
    panels[2].plot([1, 900], [1, 900], "k", lw=0.5)
    panels[2].set(xlabel="nanoBragg (photons)", ylabel="hitfinder")
    panels[3].hist(ratio, np.linspace(0.9, 1.1, 41))
    panels[3].set(xlabel="ratio, pixels over 1 photon")
    return figure


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parent / "docs/physics")
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        for draw in (
            water, factors, footprints, band_edges, blur, others, counting, wilson, nanobragg,
        ):  # fmt: skip
            figure = draw()
            if figure is not None:
                figure.savefig(
                    folder / f"{draw.__name__}.png", dpi=110, metadata={"Software": None}
                )
                plt.close(figure)


if __name__ == "__main__":
    main()
