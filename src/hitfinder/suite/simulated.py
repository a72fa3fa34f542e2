"""Conditions of simulated frames."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.settings import SimulationSettings
from hitfinder.simulation.simulator import Simulator
from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe

SHOTS = (1, 100, 2000)
SCALES = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001)
FAINTER = {1: (0.0003, 0.0001)}
"""Further Bragg scales where hits are found below those of `SCALES`, by shots of water."""

FALSE_LIMITS = {1: 0.05, 100: 0.2, 2000: 0.05}
LEAST_TRUTH = 0.02
"""Expected photons of the faintest spots that are part of the truth, if any of theirs is counted:
two photons of one of very many faint spots are a Bragg peak, and no false one."""

Settings = Mapping[str, float | str]

VARIATIONS: dict[str, dict[str, tuple[str, Settings]]] = {
    "background": {
        "bg-10": ("10 shots of water", {"background.shots": 10}),
        "bg-air": (
            "one shot, 12 cm of air and 0.02 photons everywhere",
            {"background.shots": 1, "background.air_m": 0.12, "background.uniform": 0.02},
        ),
    },
    "detector": {
        "eiger2": (
            "EIGER2 4M with gaps and dead pixels",
            {
                "detector.name": "eiger2-x-4m",
                "detector.dead_fraction": 1e-3,
            },
        ),
        "pilatus": (
            "PILATUS 2M, 172 µm pixels, 12 keV",
            {"detector.name": "pilatus-2m", "beam.photon_energy_ev": 12000},
        ),
        "far": ("8 keV, 0.35 m", {"beam.photon_energy_ev": 8000, "detector.camera_length_m": 0.35}),
    },
    "crystal": {
        "small-cell": (
            "cell 30 × 35 × 40 Å",
            {
                "crystal.structure": "random",
                "crystal.cell": "30,35,40",
                "crystal.space_group": "P 21 21 21",
            },
        ),
        "large-cell": (
            "cell 160 × 160 × 230 Å",
            {
                "crystal.structure": "random",
                "crystal.cell": "160,160,230,90,90,120",
                "crystal.space_group": "P 61 2 2",
                "crystal.d_min_a": 2.2,
                "crystal.size_um": 20,
            },
        ),
        "two-crystals": ("two crystals in a shot", {"crystal.count": 2}),
    },
    "spot width": {
        "blurred": ("point spread of 1 pixel", {"detector.psf_px": 1.0}),
        "mosaic": ("mosaicity 0.2°", {"crystal.mosaicity_deg": 0.2}),
        "divergent": ("divergence 1 mrad", {"beam.divergence_mrad": 1.0}),
    },
    "outside the training": {
        "bright": ("20,000 shots of water, 100 photons a pixel", {"background.shots": 20000}),
        "hard": (
            "18 keV, 0.2 m",
            {"beam.photon_energy_ev": 18000, "detector.camera_length_m": 0.2},
        ),
        "very-far": (
            "12 keV, 1 m",
            {"beam.photon_energy_ev": 12000, "detector.camera_length_m": 1.0},
        ),
        "broad": ("bandwidth of 6 %", {"beam.bandwidth": 0.06}),
        "huge-cell": (
            "cell of 330 Å",
            {
                "crystal.structure": "random",
                "crystal.cell": "330,330,330",
                "crystal.space_group": "I 2 3",
                "crystal.d_min_a": 3.0,
                "crystal.size_um": 40,
                "beam.radius_um": 20,
            },
        ),
    },
}
"""Family -> condition -> title and what differs from 6 keV, 0.15 m, 100 shots, the report's
detector and proteinase K."""


def flux_recipe(shots: int) -> ConditionRecipe:
    """Return proteinase K at 6 keV and 0.15 m, its Bragg photons scaled down, under water."""
    return simulated(flux_condition(shots), flux_settings(shots))


def flux_settings(shots: int) -> Settings:
    """Return what makes the frames of `flux_recipe`."""
    return {"background.shots": shots}


def flux_condition(shots: int) -> Condition:
    """Return the condition of `flux_recipe`."""
    scales = SCALES + FAINTER.get(shots, ())
    return Condition(
        name=f"flux-{shots}",
        title=f"6 keV, 0.15 m; {shot_text(shots)} of water",
        family="flux",
        kind="sim",
        groups=tuple(f"{scale:g}" for scale in scales),
        n_hits=16 * len(scales),
        n_blanks=100,
        false_limit=FALSE_LIMITS[shots],
        scales=scales,
        shots=shots,
    )


def variation_recipes() -> list[ConditionRecipe]:
    """Return the conditions that differ from the plain one in one thing each."""
    out = []
    for family, conditions in VARIATIONS.items():
        for name, (title, settings) in conditions.items():
            given = {"background.shots": 100, **settings}
            condition = Condition(
                name=name,
                title=title,
                family=family,
                kind="sim",
                groups=("1", "0.1"),
                n_hits=24,
                n_blanks=40,
                false_limit=0.2,
                scales=(1.0, 0.1),
                shots=int(given["background.shots"]),
            )
            out.append(simulated(condition, given))
    return out


def shot_text(n: int) -> str:
    """Return a number of shots in words."""
    return "1 shot" if n == 1 else f"{n:,} shots"


def simulated(condition: Condition, settings: Settings) -> ConditionRecipe:
    """Return the recipe of simulated frames, a group for each Bragg scale of the condition.

    Parameters
    ----------
    condition : Condition
        With its scales.
    settings : mapping
        What differs from the preset ``report``, by dotted name.
    """
    frames = SimulatedCondition(condition, settings)
    return ConditionRecipe(condition, [frames.geometry()], np.uint16, frames.hit, frames.blank)


class SimulatedCondition:
    """Simulators that differ in the Bragg scale, made when the first frame is asked for.

    Parameters
    ----------
    condition : Condition
        With its scales.
    settings : mapping
        What differs from the preset ``report``, by dotted name.
    factors : StructureFactors, optional
        |F|² of the crystals, instead of those the settings name.
    """

    def __init__(
        self, condition: Condition, settings: Settings, factors: StructureFactors | None = None
    ) -> None:
        self.condition, self._factors = condition, factors
        self._given: dict[str, Any] = {
            "seed": zlib.crc32(condition.name.encode()),
            "min_photons": LEAST_TRUTH,
            **settings,
        }

    def _settings(self, **more: float) -> SimulationSettings:
        return load_settings(preset="report", overrides={**self._given, **more})

    def geometry(self) -> Geometry:
        """Return what finders are told; the simulator's own geometry is the same."""
        own = self._settings()
        return Geometry(
            named_detector(own.detector.name),
            own.detector.camera_length_m.nominal,
            own.beam.photon_energy_ev.nominal,
        )

    @functools.cached_property
    def _blanks(self) -> Simulator:
        return Simulator.of(self._settings(blank_fraction=1.0), self.factors)

    @functools.cached_property
    def _hits(self) -> list[Simulator]:
        scales = self.condition.scales
        return [Simulator.of(self._settings(bragg_scale=scale), self.factors) for scale in scales]

    def hit(self, rng: np.random.Generator | None, number: int) -> tuple[NDArray, NDArray]:
        """Simulate a hit; its own seed fixes it, not `rng`."""
        made = self._hits[number % len(self._hits)].frame(number)
        truth = made.truth[made.truth["counts"] > 0]
        spots = np.zeros(len(truth), TRUTH_DTYPE)
        spots["fs"], spots["ss"], spots["photons"] = truth["fs"], truth["ss"], truth["counts"]
        spots["must"] = spots["photons"] >= self.condition.min_photons
        return made.counts, spots

    def blank(self, rng: np.random.Generator | None, number: int) -> NDArray:
        """Simulate a blank, which has another number than any hit."""
        return self._blanks.frame(self.condition.n_hits + number).counts

    @functools.cached_property
    def factors(self) -> StructureFactors:
        """Cell and structure factors of the crystals."""
        return structure_factors(self._settings()) if self._factors is None else self._factors

    def axes(self, number: int) -> NDArray[np.float64]:
        """Return the reciprocal axes a*, b*, c* of a hit's first crystal, as columns, in Å⁻¹."""
        simulator = self._hits[number % len(self._hits)]
        return simulator.shot(number).crystals[0].axes

    def expected_bragg(self, number: int) -> NDArray[np.float32]:
        """Return the Bragg photons expected in each pixel of a hit."""
        simulator = self._hits[number % len(self._hits)]
        image = np.zeros(simulator.shape, np.float32)
        simulator.expose(number).expect_bragg(image)
        return image

    def expected_background(self) -> NDArray[np.float32]:
        """Return the other photons expected in each pixel, the same in every frame."""
        return self._blanks.expected(0)
