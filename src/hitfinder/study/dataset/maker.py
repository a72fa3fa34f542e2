"""Frames from our simulation, by the recipe of a tree."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.errors import ConfigError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.background import WaterLayer
from hitfinder.simulation.beam import Beam
from hitfinder.simulation.crystals import turned
from hitfinder.simulation.exposure import Exposure, ScaledSpots, Stage
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.spectrum import tophat
from hitfinder.study.dataset.build import MadeFrame
from hitfinder.study.dataset.framefile import Spots
from hitfinder.study.dataset.layout import Range, Setting
from hitfinder.study.dataset.recipe import NO_VARIATION, Recipe, Variation

REPORT_PIXEL_M = 75e-6
LEAST_SPOT_PHOTONS = 1.0
"""Expected photons of the faintest spots that are written down."""

MOST_ORIENTATIONS = 1000
"""Crystals that are tried for one frame."""

WATER_NUMBER = 2**31
"""Number, beyond any frame's, that the one water image of a setting is drawn with."""

SHOT_COLUMNS = {
    "flux_photons": ("float64", "photon", "photons of the pulse"),
    "water_thickness_m": ("float64", "m", "path of the beam in water"),
    "bragg_scale": ("float64", "1", "factor on the Bragg photons, hit fraction included"),
    "beam_shift_fs": ("float64", "pixel", "how far the beam centre is moved along fast scan"),
    "beam_shift_ss": ("float64", "pixel", "how far the beam centre is moved along slow scan"),
    "true_photon_energy": ("float64", "eV", "photon energy of the pulse"),
}
"""What the files tell of each shot besides, in ``entry/data``: type, unit, meaning."""

PURPOSES = {"shot": 0, "background": 1, "bragg": 2}
"""Random streams of a frame: Bragg photons apart, so that they do not change the water."""


class RecipeSource:
    """The first stage: draws a shot of a setting by the recipe.

    Parameters
    ----------
    recipe : Recipe
        Beam and sample.
    setting : Setting
        Photon energy and camera length.
    variation : Variation
        What differs from shot to shot.
    """

    def __init__(self, recipe: Recipe, setting: Setting, variation: Variation) -> None:
        self.recipe, self.setting, self.variation = recipe, setting, variation

    def __call__(self, exposure: Exposure) -> None:
        """Set pulse and geometry; note what the files are to tell of the shot."""
        rng, conditions = exposure.random.generator("shot"), self.recipe.conditions
        energy_ev = _between(rng, self.setting.photon_energy_ev)
        length_m = _between(rng, self.setting.camera_length_m)
        vary, detector = self.variation, exposure.geometry.detector
        shift = vary.beam_shift_px * REPORT_PIXEL_M / detector.panels[0].pixel_size_m
        low, high = np.log(self.recipe.bragg_scale)
        true_energy_ev = energy_ev * (1 + rng.uniform(-1, 1) * vary.energy_spread)
        exposure.photons = conditions.flux_photons * rng.uniform(*vary.flux_factor)
        thickness_m = conditions.water_thickness_m * rng.uniform(*vary.thickness_factor)
        scale = rng.uniform(*vary.hit_fraction) * float(np.exp(rng.uniform(low, high)))
        shift_px = rng.uniform(-1, 1) * shift, rng.uniform(-1, 1) * shift
        exposure.geometry = Geometry(_moved(detector, *shift_px), length_m, true_energy_ev)
        area_m2 = np.pi * conditions.beam_radius_m**2
        exposure.pulse = Beam(
            tophat(true_energy_ev, conditions.bandwidth),
            exposure.photons / area_m2,
            exposure.geometry.polarisation,
        )
        exposure.pulses = conditions.background_shots
        exposure.notes = {
            "photon_energy_ev": energy_ev,
            "camera_length_m": length_m,
            "flux_photons": exposure.photons,
            "water_thickness_m": thickness_m,
            "bragg_scale": scale,
            "beam_shift_fs": shift_px[0],
            "beam_shift_ss": shift_px[1],
            "true_photon_energy": true_energy_ev,
        }


class BrightCrystal:
    """The stage of the crystal: it is turned until it gives a spot bright enough.

    Parameters
    ----------
    factors : StructureFactors
        |F|² of the crystal.
    edge_a : float
        Edge of the crystal, in Å.
    least_photons : float
        Expected photons of the brightest spot, at the least.
    """

    def __init__(self, factors: StructureFactors, edge_a: float, least_photons: float) -> None:
        self.factors, self.edge_a, self.least_photons = factors, edge_a, least_photons

    def __call__(self, exposure: Exposure) -> None:
        """Add the spots of the crystal, which follow what was drawn for the shot."""
        rng = exposure.random.generator("shot")
        tried = turned(exposure, self.factors, rng, self.edge_a)
        for spots in itertools.islice(tried, MOST_ORIENTATIONS):
            if spots.table["photons"].max(initial=0) >= self.least_photons:
                exposure.spots.append(ScaledSpots(spots, exposure.notes["bragg_scale"]))
                return
        geometry = exposure.geometry
        raise ConfigError(
            f"none of {MOST_ORIENTATIONS} crystals gave a spot of {self.least_photons:g} photons "
            f"at {geometry.photon_energy_ev:g} eV and {geometry.camera_length_m:g} m",
            hint="Choose a shorter camera length, or a smaller --least-spot-photons.",
        )


class SimulatedMaker:
    """Makes frames: analytic Bragg spots of a crystal, liquid water, Poisson counting.

    Parameters
    ----------
    recipe : Recipe
        Detector, beam, sample and what varies.
    factors : StructureFactors, optional
        Of the crystal; by default the packaged 1IC6.
    """

    def __init__(self, recipe: Recipe, factors: StructureFactors | None = None) -> None:
        self.recipe = recipe
        self._given = factors
        self.detector = binned(named_detector(recipe.detector), recipe.bin)

    def __getstate__(self) -> dict[str, Any]:
        # Tables that were computed from these are computed anew where they are needed.
        kept = ("recipe", "_given", "detector")
        return {name: value for name, value in vars(self).items() if name in kept}

    @functools.cached_property
    def factors(self) -> StructureFactors:
        """Structure factors of the crystal."""
        return packaged_structure_factors() if self._given is None else self._given

    @functools.lru_cache(maxsize=32)  # noqa: B019 - lives as long as the build
    def _simulator(self, setting: Setting, *, water: bool, crystal: bool) -> Simulator:
        """Return what simulates the frames of a setting, or parts of them."""
        conditions = self.recipe.conditions
        stages: list[Stage] = [RecipeSource(self.recipe, setting, self.recipe.shots)]
        if water:
            stages.append(WaterLayer())
        if crystal:
            edge_a = conditions.crystal_size_m * 1e10
            least = self.recipe.least_spot_photons
            stages.append(BrightCrystal(self.factors, edge_a, least))
        return self._of_stages(setting, stages)

    def _of_stages(self, setting: Setting, stages: list[Stage]) -> Simulator:
        middle = setting.camera_length_m[0], setting.photon_energy_ev[0]
        return Simulator(
            Geometry(self.detector, *middle), stages, seed=self.recipe.seed,
            series=(int(setting.name),), purposes=PURPOSES,
        )  # fmt: skip

    def frame(self, setting: Setting, number: int, has_peaks: bool) -> MadeFrame:
        """Return frame `number` of a setting; it depends on the seed and these alone."""
        paper = self.recipe.protocol == "paper"
        simulator = self._simulator(setting, water=not paper, crystal=has_peaks)
        exposure = simulator.expose(number)
        water = self.water(setting) if paper else _counted_water(exposure)
        bragg = np.zeros(self.detector.shape, np.uint16)
        exposure.count_bragg(bragg)
        told = {name: exposure.notes[name] for name in SHOT_COLUMNS}
        nominal = exposure.notes["photon_energy_ev"], exposure.notes["camera_length_m"]
        return MadeFrame(bragg, water, *nominal, _listed(exposure), told)

    def water(self, setting: Setting) -> NDArray[np.uint16]:
        """Return the one water image of a setting, for the report's protocol."""
        if not setting.is_fixed:
            raise ValueError("one water image cannot serve a range of energies or camera lengths")
        return self._shared_water(setting)

    @functools.lru_cache(maxsize=16)  # noqa: B019
    def _shared_water(self, setting: Setting) -> NDArray[np.uint16]:
        stages: list[Stage] = [RecipeSource(self.recipe, setting, NO_VARIATION), WaterLayer()]
        return _counted_water(self._of_stages(setting, stages).expose(WATER_NUMBER))


def _counted_water(exposure: Exposure) -> NDArray[np.uint16]:
    counts = np.empty(exposure.geometry.shape, np.uint16)
    exposure.count_background(counts)
    return counts


def _moved(detector: Detector, fs_px: float, ss_px: float) -> Detector:
    """Return the detector with the beam moved by pixels along x and y."""
    panels = tuple(
        dataclasses.replace(panel, corner_x=panel.corner_x - fs_px, corner_y=panel.corner_y - ss_px)
        for panel in detector
    )
    return dataclasses.replace(detector, panels=panels)


def binned(detector: Detector, factor: int) -> Detector:
    """Return a detector whose pixels are `factor` times larger along each edge.

    Rows and columns that fill no whole pixel are left out; a pixel is masked if any of its parts
    is. Photons counted by it have the distribution of the sum of its parts.

    Raises
    ------
    ValueError
        If it has several panels, or no pixel is left.
    """
    if factor == 1:
        return detector
    if len(detector.panels) > 1:
        raise ValueError("only detectors of one panel can be binned")
    (panel,) = detector.panels
    rows, columns = (n // factor for n in detector.shape)
    coarse = Panel(
        panel.name,
        fs_start=0,
        ss_start=0,
        n_fs=columns,
        n_ss=rows,
        corner_x=panel.corner_x / factor,
        corner_y=panel.corner_y / factor,
        fs_vector=panel.fs_vector,
        ss_vector=panel.ss_vector,
        pixel_size_m=panel.pixel_size_m * factor,
        coffset_m=panel.coffset_m,
    )
    mask: NDArray[np.bool_] | None = None
    if detector.mask is not None:
        parts = detector.mask[: rows * factor, : columns * factor]
        mask = np.asarray(parts.reshape(rows, factor, columns, factor).any(axis=(1, 3)))
    return Detector(f"{detector.name}-bin{factor}", (rows, columns), (coarse,), mask)


def _listed(exposure: Exposure) -> Spots:
    """Return the spots worth listing."""
    parts = []
    for spots, scale in exposure.spots:
        kept = spots.table[spots.table["photons"] * scale >= LEAST_SPOT_PHOTONS]
        frame = np.zeros(len(kept), np.int64)
        parts.append(Spots(frame, kept["fs"], kept["ss"], kept["photons"] * scale))
    return Spots.joined(parts)


def _between(rng: np.random.Generator, limits: Range) -> float:
    low, high = limits
    return low if low == high else float(rng.uniform(low, high))
