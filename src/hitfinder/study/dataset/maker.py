"""Frames from our simulation, by the recipe of a tree."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.orientation import random_rotation
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.errors import ConfigError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulate.bragg import Beam, BraggSpots, Crystal, bragg_spots
from hitfinder.simulate.noise import poisson_frame
from hitfinder.simulate.rng import frame_seed, random_state
from hitfinder.simulate.spectrum import tophat
from hitfinder.simulate.water import expected_water
from hitfinder.study.dataset.build import MadeFrame
from hitfinder.study.dataset.framefile import Spots
from hitfinder.study.dataset.layout import Range, Setting
from hitfinder.study.dataset.recipe import Recipe

REPORT_PIXEL_M = 75e-6
LEAST_SPOT_PHOTONS = 1.0
"""Expected photons of the faintest spots that are written down."""

MOST_ORIENTATIONS = 1000
"""Crystals that are tried for one frame."""

WATER_NUMBER = 2**31
"""Number, beyond any frame's, that the one water image of a setting is drawn with."""


@dataclasses.dataclass(frozen=True)
class Shot:
    """What one pulse was like.

    Parameters
    ----------
    photon_energy_ev, camera_length_m : float
        True energy and camera length.
    flux_photons : float
        Photons in the pulse.
    water_thickness_m : float
        Path of the beam in water, in m.
    bragg_scale : float
        Factor on the Bragg photons: hit fraction and flux level together.
    beam_shift_px : tuple of float
        Shift of the beam centre along fs and ss, in pixels of the detector.
    """

    photon_energy_ev: float
    camera_length_m: float
    flux_photons: float
    water_thickness_m: float
    bragg_scale: float
    beam_shift_px: tuple[float, float]


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

    @functools.cached_property
    def _masked(self) -> NDArray[np.bool_]:
        return self.detector.full_mask

    def frame(self, setting: Setting, number: int, has_peaks: bool) -> MadeFrame:
        """Return frame `number` of a setting; it depends on the seed and these alone."""
        key = (int(setting.name), number)
        rng = np.random.default_rng(frame_seed(self.recipe.seed, *key, 0))
        nominal = (_between(rng, setting.photon_energy_ev), _between(rng, setting.camera_length_m))
        shot = self._shot(rng, *nominal)
        if self.recipe.protocol == "paper":
            water = self.water(setting)
        else:
            water = self._count_water(shot, key)
        bragg = np.zeros(self.detector.shape, np.uint16)
        table = np.empty(0, [(name, float) for name in ("fs", "ss", "photons")])
        if has_peaks:
            spots = self._spots(shot, rng)
            spots.count(bragg, random_state(self.recipe.seed, *key, 2), shot.bragg_scale)
            table = spots.table
        extra = {
            name: getattr(shot, name)
            for name in ("flux_photons", "water_thickness_m", "bragg_scale")
        }
        extra |= {"beam_shift_fs": shot.beam_shift_px[0], "beam_shift_ss": shot.beam_shift_px[1]}
        extra["true_photon_energy"] = shot.photon_energy_ev
        return MadeFrame(bragg, water, *nominal, _listed(table, shot.bragg_scale), extra)

    def water(self, setting: Setting) -> NDArray[np.uint16]:
        """Return the one water image of a setting, for the report's protocol."""
        if not setting.is_fixed:
            raise ValueError("one water image cannot serve a range of energies or camera lengths")
        return self._shared_water(setting)

    @functools.lru_cache(maxsize=16)  # noqa: B019 - lives as long as the build
    def _shared_water(self, setting: Setting) -> NDArray[np.uint16]:
        conditions = self.recipe.conditions
        shot = Shot(
            setting.photon_energy_ev[0],
            setting.camera_length_m[0],
            conditions.flux_photons,
            conditions.water_thickness_m,
            1.0,
            (0.0, 0.0),
        )
        return self._count_water(shot, (int(setting.name), WATER_NUMBER))

    def _shot(self, rng: np.random.Generator, energy_ev: float, length_m: float) -> Shot:
        vary, conditions = self.recipe.shots, self.recipe.conditions
        shift = vary.beam_shift_px * REPORT_PIXEL_M / self.detector.panels[0].pixel_size_m
        low, high = np.log(self.recipe.bragg_scale)
        return Shot(
            photon_energy_ev=energy_ev * (1 + rng.uniform(-1, 1) * vary.energy_spread),
            camera_length_m=length_m,
            flux_photons=conditions.flux_photons * rng.uniform(*vary.flux_factor),
            water_thickness_m=conditions.water_thickness_m * rng.uniform(*vary.thickness_factor),
            bragg_scale=rng.uniform(*vary.hit_fraction) * float(np.exp(rng.uniform(low, high))),
            beam_shift_px=(rng.uniform(-1, 1) * shift, rng.uniform(-1, 1) * shift),
        )

    def geometry(self, shot: Shot) -> Geometry:
        """Return the geometry of a shot."""
        panels = tuple(
            dataclasses.replace(
                panel,
                corner_x=panel.corner_x - shot.beam_shift_px[0],
                corner_y=panel.corner_y - shot.beam_shift_px[1],
            )
            for panel in self.detector
        )
        detector = dataclasses.replace(self.detector, panels=panels)
        return Geometry(detector, shot.camera_length_m, shot.photon_energy_ev)

    def _count_water(self, shot: Shot, key: tuple[int, int]) -> NDArray[np.uint16]:
        photons = shot.flux_photons * self.recipe.conditions.background_shots
        expected = expected_water(self.geometry(shot), photons, shot.water_thickness_m)
        expected[self._masked] = 0
        out = np.empty(self.detector.shape, np.uint16)
        return poisson_frame(expected, random_state(self.recipe.seed, *key, 1), out)

    def _spots(self, shot: Shot, rng: np.random.Generator) -> BraggSpots:
        """Turn the crystal until it gives a spot bright enough."""
        conditions, least = self.recipe.conditions, self.recipe.least_spot_photons
        geometry = self.geometry(shot)
        area = np.pi * conditions.beam_radius_m**2
        beam = Beam(
            tophat(shot.photon_energy_ev, conditions.bandwidth),
            shot.flux_photons / area,
            geometry.polarisation,
        )
        edge = conditions.crystal_size_m * 1e10
        for _ in range(MOST_ORIENTATIONS):
            axes = random_rotation(rng) @ self.factors.cell.reciprocal
            crystal = Crystal(axes, (edge, edge, edge))
            spots = bragg_spots(self.factors, geometry, beam, crystal, active=~self._masked)
            if spots.table["photons"].max(initial=0) >= least:
                return spots
        raise ConfigError(
            f"none of {MOST_ORIENTATIONS} crystals gave a spot of {least:g} photons at "
            f"{shot.photon_energy_ev:g} eV and {shot.camera_length_m:g} m",
            hint="Choose a shorter camera length, or a smaller --least-spot-photons.",
        )


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


def _listed(table: NDArray, scale: float) -> Spots:
    """Return the spots worth listing."""
    kept = table[table["photons"] * scale >= LEAST_SPOT_PHOTONS]
    frame = np.zeros(len(kept), np.int64)
    return Spots(frame, kept["fs"].copy(), kept["ss"].copy(), kept["photons"] * scale)


def _between(rng: np.random.Generator, limits: Range) -> float:
    low, high = limits
    return low if low == high else float(rng.uniform(low, high))
