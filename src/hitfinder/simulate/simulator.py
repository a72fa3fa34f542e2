"""Frames with their truth: the stages of a simulation put together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from numpy.lib import recfunctions
from numpy.typing import NDArray

from hitfinder.crystal.orientation import read_orientations
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulate.background import background_profile, expected_total
from hitfinder.simulate.bragg import SPOT_DTYPE, Beam, BraggSpots, Crystal, bragg_spots
from hitfinder.simulate.effects import BeamStop, DetectorEffects
from hitfinder.simulate.ingredients import (
    SERIES_KEY,
    named_or_read,
    shifted,
    shot_spectrum,
    structure_factors,
)
from hitfinder.simulate.noise import poisson_frame
from hitfinder.simulate.panels import PanelArrays
from hitfinder.simulate.radial import RadialProfile, expected_image
from hitfinder.simulate.rng import frame_seed, random_state
from hitfinder.simulate.settings import SimulationSettings
from hitfinder.simulate.shot import Shot, draw_shot
from hitfinder.simulate.sparse import add_sparse_photons

TRUTH_DTYPE = np.dtype([*SPOT_DTYPE.descr, ("crystal", "i4"), ("counts", "i8")])
"""A spot of the truth: as `SPOT_DTYPE`, the number of its crystal in the frame, and the photons
of it that were counted before the detector's losses (its expected photons, rounded, without
noise)."""

_SPARSE_BELOW = 0.08
"""Expected photons per pixel below which drawing photons is faster than drawing pixels."""

_NEGLIGIBLE = 0.01
"""Expected photons below which a spot is left out of the frame."""


@dataclasses.dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """A frame and what is in it.

    Attributes
    ----------
    counts : ndarray, shape of a frame
        Counts, or expected photons (float32) without noise. Masked pixels hold 0.
    truth : structured ndarray of `TRUTH_DTYPE`
        Spots of `min_photons` expected photons and more, brightest first.
    shot : Shot
        The parameters.
    """

    counts: NDArray
    truth: NDArray
    shot: Shot


class Simulator:
    """Makes any frame of a series from its number.

    Parameters
    ----------
    settings : SimulationSettings
        The simulation.
    factors : StructureFactors, optional
        Instead of those the settings name.
    detector : Detector, optional
        Instead of that the settings name.

    Raises
    ------
    HitfinderError
        If a file the settings name cannot be used.
    """

    def __init__(
        self,
        settings: SimulationSettings,
        factors: StructureFactors | None = None,
        detector: Detector | None = None,
    ) -> None:
        self.settings = settings
        self.factors = structure_factors(settings) if factors is None else factors
        detector = named_or_read(settings.detector.name) if detector is None else detector
        if settings.detector.beam_center is not None:
            detector = detector.with_beam_center(*settings.detector.beam_center)
        own = settings.detector
        try:
            self.effects = DetectorEffects(
                own.bits, own.dead_fraction, own.hot_fraction, own.hot_counts, own.most_counts,
                own.one_count_per_pulse,
            )  # fmt: skip
            stop = BeamStop(own.beam_stop_mm, own.beam_stop_arm_mm, own.beam_stop_arm_deg)
            self.geometry = Geometry(
                detector,
                own.camera_length_m.nominal,
                settings.beam.photon_energy_ev.nominal,
                1.0 if settings.polarisation is None else settings.polarisation,
            )
            PanelArrays.of(self.geometry)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        path = settings.crystal.orientations
        self.orientations = read_orientations(path) if path else None
        self._active = ~detector.full_mask
        self._shadow = stop.shadow(self.geometry) & self._active
        self._lit = self._active & ~self._shadow if self._shadow.any() else self._active
        self._off = np.flatnonzero(~self._lit)
        rng = np.random.default_rng(frame_seed(settings.seed, SERIES_KEY, 0))
        self._bad_pixels = self.effects.pixels(self._active, rng)
        shot_spectrum(settings, self.shot(0))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.geometry.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of a frame's values."""
        return self.effects.dtype if self.settings.noise else np.dtype(np.float32)

    def shot(self, frame: int) -> Shot:
        """Draw the parameters of a frame."""
        reciprocal = self.factors.cell.reciprocal
        return draw_shot(self.settings, frame, reciprocal, self.orientations)

    def frame(self, number: int, out: NDArray | None = None) -> SimulatedFrame:
        """Simulate one frame.

        Parameters
        ----------
        number : int
            Number of the frame, from 0; with the seed it fixes everything.
        out : ndarray, optional
            Buffer of the simulator's `shape` and `dtype` to fill.

        Raises
        ------
        ConfigError
            If what was drawn for this frame is impossible together.
        ValueError
            If the buffer does not fit.
        """
        shot = self.shot(number)
        image = np.empty(self.shape, self.dtype) if out is None else out
        if image.shape != self.shape or image.dtype != self.dtype:
            raise ValueError(f"buffer must be {self.dtype} of shape {self.shape}")
        try:
            return self._compose(shot, image)
        except ValueError as error:
            raise ConfigError(str(error), f"frame {number}") from error

    def _compose(self, shot: Shot, image: NDArray) -> SimulatedFrame:
        geometry = self.shot_geometry(shot)
        state = random_state(self.settings.seed, shot.frame, 1)
        self._background(shot, geometry, state, image)
        image.reshape(-1)[self._off] = 0
        tables = []
        for index, spots in enumerate(self.spots(shot, geometry)):
            tables.append(self._truth(spots, shot, index, self._add(spots, shot, state, image)))
        if self.settings.noise:
            self.effects.apply(image, self._bad_pixels, state, max(shot.shots, 1))
        truth = np.concatenate(tables) if tables else np.empty(0, TRUTH_DTYPE)
        return SimulatedFrame(image, truth[np.argsort(-truth["photons"], kind="stable")], shot)

    def frames(
        self, n: int | None = None, start: int = 0, reuse: bool = False
    ) -> Iterator[SimulatedFrame]:
        """Yield frames, for training on the fly.

        Parameters
        ----------
        n : int, optional
            Number of frames; without end if None.
        start : int
            Number of the first one.
        reuse : bool
            Give every frame in the same buffer, which the next one overwrites: faster, as large
            fresh arrays cost as much as filling them.
        """
        buffer = np.empty(self.shape, self.dtype) if reuse else None
        number = start
        while n is None or number < start + n:
            yield self.frame(number, buffer)
            number += 1

    def expected(self, number: int) -> NDArray[np.float32]:
        """Return the expected photons of a frame, without the detector's effects."""
        shot = self.shot(number)
        geometry = self.shot_geometry(shot)
        image = self._expected_background(shot, geometry, None)
        image.reshape(-1)[self._off] = 0
        for spots in self.spots(shot, geometry):
            spots.deposit(image, shot.bragg_scale)
        return image

    def shot_geometry(self, shot: Shot) -> Geometry:
        """Return the geometry of a shot: camera length, photon energy and beam position."""
        detector = shifted(self.geometry.detector, shot.shift_fs_px, shot.shift_ss_px)
        return dataclasses.replace(
            self.geometry,
            detector=detector,
            camera_length_m=shot.camera_length_m,
            photon_energy_ev=shot.photon_energy_ev,
        )

    def spots(self, shot: Shot, geometry: Geometry | None = None) -> Iterator[BraggSpots]:
        """Yield the Bragg spots of each crystal of a shot, before `bragg_scale`."""
        geometry = self.shot_geometry(shot) if geometry is None else geometry
        panels = PanelArrays.of(geometry)
        own = self.settings.crystal
        fluence = shot.axis_fluence_m2(self.settings.beam.profile)
        if not shot.bragg_scale > 0:
            return
        for one in shot.crystals:
            edge = one.size_um * 1e4
            crystal = Crystal(
                axes=one.axes,
                edges_a=(edge * own.aspect[0], edge * own.aspect[1], edge * own.aspect[2]),
                shape=own.shape,
                mosaicity_rad=np.radians(one.mosaicity_deg),
                fringes=own.fringes,
            )
            beam = Beam(
                shot_spectrum(self.settings, shot),
                fluence * one.hit_fraction,
                self.settings.polarisation,
                shot.divergence_mrad * 1e-3,
            )
            yield bragg_spots(
                self.factors, geometry, beam, crystal, psf_px=shot.psf_px,
                min_photons=_NEGLIGIBLE / shot.bragg_scale, panels=panels, active=self._lit,
            )  # fmt: skip

    def _background(
        self, shot: Shot, geometry: Geometry, state: NDArray[np.uint64], image: NDArray
    ) -> None:
        """Fill the frame with everything but Bragg photons."""
        if not self.settings.noise:
            self._expected_background(shot, geometry, image)
            return
        profile = background_profile(self.settings.background, shot, geometry)
        uniform = shot.uniform * shot.shots
        n_pixels = image.size
        if expected_total(profile) + uniform * n_pixels < _SPARSE_BELOW * n_pixels:
            image[:] = 0
            add_sparse_photons(geometry, profile, self.settings.polarisation, state, image, uniform)
        else:
            expected = self._image_of(profile, geometry, uniform, self._scratch)
            poisson_frame(expected, state, image)

    def _expected_background(
        self, shot: Shot, geometry: Geometry, out: NDArray | None
    ) -> NDArray[np.float32]:
        profile = background_profile(self.settings.background, shot, geometry)
        return self._image_of(profile, geometry, shot.uniform * shot.shots, out)

    def _image_of(
        self, profile: RadialProfile, geometry: Geometry, uniform: float, out: NDArray | None
    ) -> NDArray[np.float32]:
        return expected_image(geometry, profile, self.settings.polarisation, uniform, out)

    @functools.cached_property
    def _scratch(self) -> NDArray[np.float32]:
        return np.empty(self.shape, np.float32)

    def _add(
        self, spots: BraggSpots, shot: Shot, state: NDArray[np.uint64], image: NDArray
    ) -> NDArray[np.int64]:
        """Add a crystal's spots to the frame; return the photons of each."""
        if self.settings.noise:
            return spots.count(image, state, shot.bragg_scale)
        spots.deposit(image, shot.bragg_scale)
        return np.rint(spots.table["photons"] * shot.bragg_scale).astype(np.int64)

    def _truth(
        self, spots: BraggSpots, shot: Shot, crystal: int, counts: NDArray[np.int64]
    ) -> NDArray:
        table = np.empty(len(spots), TRUTH_DTYPE)
        recfunctions.assign_fields_by_name(table, spots.table)
        table["crystal"], table["counts"] = crystal, counts
        table["photons"] *= shot.bragg_scale
        table["peak_photons"] *= shot.bragg_scale
        return table[table["photons"] >= self.settings.min_photons]

    def __getstate__(self) -> dict:
        # The scratch image is made again where it is needed.
        return {key: value for key, value in vars(self).items() if key != "_scratch"}
