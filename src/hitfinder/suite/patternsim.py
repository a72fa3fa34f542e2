"""Conditions of Bragg frames by CrystFEL's pattern_sim under fresh water noise."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.errors import SourceError
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.handles import open_file
from hitfinder.simulation.water import expected_water
from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe
from hitfinder.suite.simulated import FALSE_LIMITS, SHOTS, shot_text

SHOT_PHOTONS, WATER_M = 3e8, 10e-6
FLUXES = (1.0, 0.1, 0.03, 0.01)
_DETECTOR = "eiger-4m-report"


def recipes(path: str | Path) -> list[ConditionRecipe]:
    """Return the conditions of a file of Bragg photons: its first frame, and all of them.

    Parameters
    ----------
    path : path-like
        HDF5 file with ``entry/data/data`` (Bragg photons, frames of the report's detector),
        ``photon_energy_ev`` and ``camera_length_m``, one of each a frame.

    Raises
    ------
    SourceError
        If the file cannot be read or holds something else.
    """
    bragg = PatternSimFrames(Path(path))
    everything = list(range(len(bragg.geometries)))
    first = [bragg.recipe(f"sim6-{n}", [0], n, FLUXES, 48, 100) for n in SHOTS]
    return first + [bragg.recipe(f"sim9-{n}", everything, n, (1.0,), 36, 54) for n in SHOTS]


class PatternSimFrames:
    """Bragg photons of some frames, their geometries and the water expected in each.

    Parameters
    ----------
    path : Path
        As for `recipes`.

    Attributes
    ----------
    counts : ndarray, shape (n, *frame)
        Bragg photons.
    geometries : list of Geometry
        Of each frame.

    Raises
    ------
    SourceError
        If the file cannot be read or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        detector = named_detector(_DETECTOR)
        try:
            with open_file(path) as file:
                self.counts = file["entry/data/data"][:]
                energies, lengths = file["photon_energy_ev"][:], file["camera_length_m"][:]
        except (OSError, KeyError) as error:
            what = f"is no file of pattern_sim frames ({error})"
            raise SourceError("unreadable", what, str(path)) from error
        if self.counts.shape != (len(energies), *detector.shape) or len(lengths) != len(energies):
            what = f"holds frames of shape {self.counts.shape}, expected n of {detector.shape}"
            raise SourceError("wrong-shape", what, str(path))
        self.geometries = [
            Geometry(detector, float(length), float(energy))
            for length, energy in zip(lengths, energies, strict=True)
        ]

    def axes(self) -> NDArray[np.float64]:
        """Return the reciprocal axes of each frame as columns, in Å⁻¹, shape (n, 3, 3).

        Raises
        ------
        SourceError
            If the file does not have them.
        """
        try:
            with open_file(self.path) as file:
                axes = [file[f"{name}star_inv_m"][:] for name in "abc"]
            stacked = np.stack(axes, 2) * 1e-10
        except (OSError, KeyError, ValueError) as error:
            what = f"does not have the reciprocal axes of its frames ({error})"
            raise SourceError("unreadable", what, str(self.path)) from error
        if stacked.shape != (len(self.geometries), 3, 3):
            what = f"holds reciprocal axes of shape {stacked.shape}, one set a frame is needed"
            raise SourceError("wrong-shape", what, str(self.path))
        return stacked

    @functools.cache  # noqa: B019 - lives as long as the recipes
    def labels(self, k: int) -> NDArray[np.int32]:
        """Return the number of the spot each pixel belongs to: what touches at full flux."""
        return ndimage.label(self.counts[k], np.ones((3, 3)))[0]

    @functools.cache  # noqa: B019
    def water(self, k: int, shots: int) -> NDArray[np.float32]:
        """Return the photons of water expected in each pixel of a frame."""
        return expected_water(self.geometries[k], shots * SHOT_PHOTONS, WATER_M)

    def recipe(
        self,
        name: str,
        frames: list[int],
        shots: int,
        fluxes: tuple[float, ...],
        n_hits: int,
        n_blanks: int,
    ) -> ConditionRecipe:
        """Return the condition of some of the frames, thinned to each of the fluxes."""

        def hit(rng: np.random.Generator, number: int) -> tuple[NDArray, NDArray]:
            k = frames[number % len(frames)]
            counts, flux = self.counts[k], fluxes[number % len(fluxes)]
            if flux < 1:
                counts = rng.binomial(counts, flux)
            spots = labelled_spots(counts, self.labels(k), condition.min_photons)
            return counts + rng.poisson(self.water(k, shots)), spots

        def blank(rng: np.random.Generator, number: int) -> NDArray:
            return rng.poisson(self.water(frames[number % len(frames)], shots))

        where = "6 keV, 0.15 m" if len(frames) == 1 else "6-8 keV, 0.15-0.35 m"
        condition = Condition(
            name=name,
            title=f"pattern_sim, {where}; {shot_text(shots)} of water",
            family="pattern_sim",
            kind="sim",
            groups=tuple(f"{flux:g}" for flux in fluxes),
            n_hits=n_hits,
            n_blanks=n_blanks,
            false_limit=FALSE_LIMITS[shots],
            scales=fluxes,
            shots=shots,
        )
        return ConditionRecipe(
            condition, [self.geometries[k] for k in frames], np.uint16, hit, blank
        )


def labelled_spots(
    counts: NDArray[np.integer], labels: NDArray[np.integer], min_photons: float
) -> NDArray:
    """Return photons and centroid of each labelled spot that holds any, as `TRUTH_DTYPE`."""
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
