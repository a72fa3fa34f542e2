"""Errors of photon energy and camera length, over the least that any estimate could have."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.result import GeometryEstimate
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.detector import shot_geometry
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.shot import Shot
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.water import expected_water
from hitfinder.suite.simulated import Settings, shot_text

N_FRAMES, QUICK_FRAMES = 1000, 40
KEV = 1e3 * np.arange(5, 13)
CM = 1e-2 * np.arange(10, 51)
"""What nearest values are chosen from: 5 to 12 keV and 10 to 50 cm."""

_NINE = {
    "beam.photon_energy_ev": "choice:6000,7000,8000",
    "detector.camera_length_m": "choice:0.15,0.25,0.35",
}
_MANY = {
    "beam.photon_energy_ev": "choice:" + ",".join(f"{e:g}" for e in KEV),
    "detector.camera_length_m": "choice:" + ",".join(f"{d:.2f}" for d in CM if d < 0.305),
}
_COARSE = 6
_STEP = 0.01


@dataclasses.dataclass(frozen=True)
class PrecisionSeries:
    """Frames of known energy and length, half of them with a crystal.

    Parameters
    ----------
    name, title : str
        For the results and for tables.
    settings : mapping
        What differs from the preset ``report``.
    """

    name: str
    title: str
    settings: Settings


SERIES = (
    *(
        PrecisionSeries(
            f"geometry-{n}",
            f"6-8 keV, 0.15-0.35 m; {shot_text(n)} of water",
            {**_NINE, "background.shots": n},
        )
        for n in (1, 100, 2000)
    ),
    PrecisionSeries(
        "geometry-many",
        "5-12 keV, 0.10-0.30 m; 2,000 shots of water",
        {**_MANY, "background.shots": 2000},
    ),
)


def bound(geometry: Geometry, flux_photons: float, water_m: float) -> NDArray[np.float64]:
    """Return the Cramér-Rao bound from the water in one frame.

    The inverse of the Fisher information of Poisson counts, Σ (∂μ/∂θᵢ)(∂μ/∂θⱼ) / μ over the
    pixels, with the thickness of the water unknown (Kay, Fundamentals of Statistical Signal
    Processing, vol. 1, chapter 3). Pixels are taken six by six, as the scattering is smooth.

    Parameters
    ----------
    geometry : Geometry
        True geometry.
    flux_photons : float
        Photons on the water.
    water_m : float
        Thickness, in m.

    Returns
    -------
    ndarray, shape (2,)
        Least standard deviations of photon energy, in eV, and camera length, in m.
    """
    detector = geometry.detector
    panel = detector.panels[0]
    coarse = dataclasses.replace(
        panel,
        n_fs=panel.n_fs // _COARSE,
        n_ss=panel.n_ss // _COARSE,
        corner_x=panel.corner_x / _COARSE,
        corner_y=panel.corner_y / _COARSE,
        pixel_size_m=panel.pixel_size_m * _COARSE,
    )
    shape = coarse.n_ss, coarse.n_fs
    detector = dataclasses.replace(detector, shape=shape, panels=(coarse,), mask=None)

    def photons(energy: float, length: float) -> NDArray[np.float64]:
        there = Geometry(detector, length, energy, geometry.polarisation)
        return expected_water(there, flux_photons, water_m).astype(np.float64).ravel()

    energy, length = geometry.photon_energy_ev, geometry.camera_length_m
    here = photons(energy, length)
    slopes = np.stack(
        [
            (photons(energy * (1 + _STEP), length) - photons(energy * (1 - _STEP), length)),
            (photons(energy, length * (1 + _STEP)) - photons(energy, length * (1 - _STEP))),
            2 * _STEP * here,
        ]
    ) / (2 * _STEP)
    information = (slopes / here) @ slopes.T
    return np.sqrt(np.diag(np.linalg.inv(information)))[:2] * (energy, length)


def measured(series: PrecisionSeries, n: int, progress: Callable[[int], object]) -> dict[str, Any]:
    """Estimate the geometry of every frame of a series, and compare with the truth.

    Parameters
    ----------
    series : PrecisionSeries
        What to simulate.
    n : int
        Frames.
    progress : callable
        Told the number of frames done since the last call.
    """
    settings = load_settings(
        preset="report",
        overrides={
            "seed": zlib.crc32(series.name.encode()),
            "blank_fraction": 0.5,
            **series.settings,
        },
    )
    simulator = Simulator.of(settings)
    estimator = GeometryEstimator(simulator.geometry)
    mask = simulator.geometry.detector.full_mask
    bounds: dict[tuple[float, float], NDArray[np.float64]] = {}
    true, least, estimates = [], [], []
    for frame in simulator.frames(n, reuse=True):
        counts = np.where(mask, -1, frame.counts).astype(np.int32)
        shot = frame.shot
        key = shot.photon_energy_ev, shot.camera_length_m
        if key not in bounds:
            bounds[key] = _bound_of(simulator.geometry, shot)
        true.append(key)
        least.append(bounds[key])
        estimates.append(estimator.estimate(counts))
        progress(1)
    return {
        "name": series.name,
        "title": series.title,
        **summary(estimates, np.array(true), np.array(least)),
    }


def _bound_of(nominal: Geometry, shot: Shot) -> NDArray[np.float64]:
    geometry = shot_geometry(nominal, shot)
    return bound(geometry, shot.flux * max(shot.shots, 1), shot.water_um * 1e-6)


def summary(
    estimates: list[GeometryEstimate], true: NDArray[np.float64], least: NDArray[np.float64]
) -> dict[str, Any]:
    """Summarise estimates against true (energy, length) and the least standard deviations.

    Returns
    -------
    dict
        Frames, those without an estimate, and for each of the two: root-mean-square error, the
        same of errors over their bound, the shares that 68 % intervals and one standard deviation
        about the mean hold, and the share whose nearest value is right.
    """
    value = np.array([[e.photon_energy_ev, e.camera_length_m] for e in estimates])
    sigma = np.array([[e.photon_energy_sigma_ev, e.camera_length_sigma_m] for e in estimates])
    low = np.array([[e.photon_energy_low_ev, e.camera_length_low_m] for e in estimates])
    high = np.array([[e.photon_energy_high_ev, e.camera_length_high_m] for e in estimates])
    nearest = np.array([e.nearest(KEV, CM)[:2] for e in estimates])
    given = np.isfinite(value).all(1)
    out: dict[str, Any] = {
        "n": len(estimates),
        "n_without": int((~given).sum()),
        "flags": {
            flag: sum(e.flag == flag for e in estimates) for flag in {e.flag for e in estimates}
        },
    }
    error = value - true
    held = (low <= true) & (true <= high)
    right = np.isclose(nearest, true, rtol=1e-6)
    for k, name in enumerate(("photon_energy", "camera_length")):
        own, spread = error[given, k], sigma[given, k]
        if not len(own):
            continue
        out[name] = {
            "rms": _rms(own),
            "rms_over_bound": _rms(own / least[given, k]),
            "bias_over_bound": float(np.mean(own / least[given, k])),
            "within_68": float(np.mean(held[given, k])),
            "within_sigma": float(np.mean(np.abs(own) <= spread)),
            # A frame without an estimate has no nearest value, and is not right.
            "nearest": float(np.mean(right[:, k])),
        }
    return out


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(values**2)))
