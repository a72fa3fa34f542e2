"""What each condition of the benchmark is made of."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from conditions import TRUTH_DTYPE, Condition, Recipe
from hitfinder.crystal.orientation import random_rotation
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.geometry.experiment import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulate.bragg import Beam, Crystal, bragg_spots
from hitfinder.simulate.panels import PanelArrays
from hitfinder.simulate.spectrum import tophat
from hitfinder.simulate.water import expected_water
from real_spots import REAL_FRAMES, RealFrame

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SHOT_PHOTONS = 3e8
WATER_M = 10e-6
SHOTS = (1, 100, 2000)
FALSE_LIMITS = {1: 0.05, 100: 0.2, 2000: 0.05}
FLUXES = (1.0, 0.1, 0.03, 0.01)
# The spots of the Eiger frame hold too few photons for less than 1 %.
DOSES = {"pilatus6m": (0.3, 0.1, 0.03, 0.01, 0.003), "eiger16m": (0.1, 0.03, 0.01)}
MIN_PHOTONS = 8.0
# The beam and crystal of Everett and Kurth (2024).
BEAM_RADIUS_M = 5e-6
BANDWIDTH = 0.01
CRYSTAL_A = 1e5


def recipes(shared: Path = SHARED) -> Iterator[Recipe]:
    """Every condition, in the order of the tables."""
    bragg = _PatternSim(shared)
    for shots in SHOTS:
        yield bragg.recipe(f"sim6_{shots}", [0], shots, FLUXES, 48, 100)
    for shots in SHOTS:
        yield bragg.recipe(f"sim9_{shots}", list(range(9)), shots, (1.0,), 36, 54)
    own = _OwnSimulator(bragg.geometries[0])
    for shots in SHOTS:
        yield own.recipe(shots)
    for real in REAL_FRAMES:
        for dose in DOSES[real.name]:
            yield _real_recipe(real, shared, dose)


def _shots(n: int) -> str:
    return f"{n} shot{'s' * (n > 1)}"


class _PatternSim:
    """Bragg-only frames by CrystFEL's pattern_sim under Poisson water noise."""

    def __init__(self, shared: Path) -> None:
        import h5py

        with h5py.File(shared / "pattern_sim" / "pattern_sim_1ic6_9.h5") as file:
            self.counts = file["entry/data/data"][:]
            energies, lengths = file["photon_energy_ev"][:], file["camera_length_m"][:]
        detector = named_detector("eiger-4m-report").with_beam_center(1034.5, 1081.5)
        self.geometries = [
            Geometry(detector, float(length), float(energy))
            for length, energy in zip(lengths, energies, strict=True)
        ]
        # A spot is what touches, corners included, at full flux.
        self.labels = functools.cache(lambda k: ndimage.label(self.counts[k], np.ones((3, 3)))[0])

    def recipe(
        self,
        name: str,
        frames: list[int],
        shots: int,
        fluxes: tuple[float, ...],
        n_hits: int,
        n_blanks: int,
    ) -> Recipe:
        geometries = [self.geometries[k] for k in frames]
        water: dict[int, np.ndarray] = {}

        def background(index: int) -> np.ndarray:
            k = frames[index % len(frames)]
            if k not in water:
                water[k] = expected_water(self.geometries[k], shots * SHOT_PHOTONS, WATER_M)
            return water[k]

        def hit(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
            k = frames[index % len(frames)]
            counts = self.counts[k]
            flux = fluxes[index % len(fluxes)]
            if flux < 1:
                counts = rng.binomial(counts, flux)
            frame = counts + rng.poisson(background(index))
            return frame, _spots(counts, self.labels(k), MIN_PHOTONS)

        def blank(rng: np.random.Generator, index: int) -> np.ndarray:
            return rng.poisson(background(index))

        where = "6 keV, 0.15 m" if len(frames) == 1 else "6-8 keV, 0.15-0.35 m"
        condition = Condition(
            name=name,
            title=f"{where}; {_shots(shots)} of water",
            kind="sim",
            groups=tuple(f"{flux * 100:g} %" for flux in fluxes),
            n_hits=n_hits,
            n_blanks=n_blanks,
            min_photons=MIN_PHOTONS,
            tolerance_px=4.0,
            false_limit=FALSE_LIMITS[shots],
        )
        return Recipe(condition, geometries, np.uint16, hit, blank)


def _spots(counts: np.ndarray, labels: np.ndarray, min_photons: float) -> np.ndarray:
    """Photons and centroid of each labelled spot that holds any."""
    ss, fs = np.nonzero(counts)
    weight, label = counts[ss, fs].astype(float), labels[ss, fs]
    photons = np.bincount(label, weight)
    present = np.flatnonzero(photons)
    out = np.zeros(len(present), TRUTH_DTYPE)
    out["photons"] = photons[present]
    out["fs"] = np.bincount(label, weight * (fs + 0.5))[present] / photons[present]
    out["ss"] = np.bincount(label, weight * (ss + 0.5))[present] / photons[present]
    out["must"] = out["photons"] >= min_photons
    return out


class _OwnSimulator:
    """Frames of this project's simulator at 6 keV and 0.15 m: a new crystal each."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.factors = packaged_structure_factors()
        fluence_m2 = SHOT_PHOTONS / (np.pi * BEAM_RADIUS_M**2)
        self.beam = Beam(tophat(geometry.photon_energy_ev, BANDWIDTH), fluence_m2)
        self.panels = PanelArrays.of(geometry)
        self.active = ~geometry.detector.full_mask

    def recipe(self, shots: int) -> Recipe:
        water = functools.cache(
            lambda: expected_water(self.geometry, shots * SHOT_PHOTONS, WATER_M)
        )

        def hit(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
            axes = random_rotation(rng) @ self.factors.cell.reciprocal
            crystal = Crystal(axes, (CRYSTAL_A,) * 3)
            spots = bragg_spots(
                self.factors,
                self.geometry,
                self.beam,
                crystal,
                panels=self.panels,
                active=self.active,
            )
            frame = rng.poisson(water()).astype(np.uint32)
            out = np.zeros(len(spots), TRUTH_DTYPE)
            out["photons"] = spots.count(frame, rng.integers(2**63, size=4, dtype=np.uint64))
            out["fs"], out["ss"] = spots.table["fs"], spots.table["ss"]
            out["must"] = out["photons"] >= MIN_PHOTONS
            return frame, out[out["photons"] > 0]

        def blank(rng: np.random.Generator, index: int) -> np.ndarray:
            return rng.poisson(water())

        condition = Condition(
            name=f"own6_{shots}",
            title=f"own simulator, 6 keV, 0.15 m; {_shots(shots)} of water",
            kind="sim",
            groups=("100 %",),
            n_hits=40,
            n_blanks=60,
            min_photons=MIN_PHOTONS,
            tolerance_px=4.0,
            false_limit=FALSE_LIMITS[shots],
        )
        return Recipe(condition, [self.geometry], np.uint16, hit, blank)


def _real_recipe(real: RealFrame, shared: Path, dose: float) -> Recipe:
    # Below 3 % hardly any spot of these frames holds 8 photons, so the bar is lower there.
    min_photons = {0.01: 4.0, 0.003: 3.0}.get(dose, 8.0)

    def hit(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
        counts, spots = real.read(shared)[0], real.spots(shared)
        frame = rng.binomial(counts, dose)
        out = np.zeros(len(spots.table), TRUTH_DTYPE)
        out["fs"], out["ss"] = spots.table["fs"], spots.table["ss"]
        out["photons"] = spots.net_photons(frame, dose)
        out["must"] = spots.table["certain"] & (out["photons"] >= min_photons)
        return frame, out

    condition = Condition(
        name=f"{real.name}_{dose * 100:g}pc",
        title=real.title,
        kind="real",
        groups=(f"{dose * 100:g} %",),
        n_hits={0.3: 8, 0.1: 12, 0.03: 24}.get(dose, 48),
        n_blanks=0,
        min_photons=min_photons,
        tolerance_px=real.tolerance_px,
        false_limit={0.3: 1.0, 0.1: 1.0, 0.03: 1.0, 0.01: 0.4, 0.003: 0.1}[dose],
    )
    return Recipe(condition, [real.geometry(shared)], np.uint8, hit)
