"""How well photon energy and camera length are told from water, against the Cramér-Rao bound.

python benchmarks/estimate.py [--frames 100] [--out benchmarks/results/estimate.json]
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import time
from collections import Counter
from pathlib import Path

import numpy as np

import hitfinder
from hitfinder.estimate.bins import N_AZIMUTHS, block_sum
from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.estimate.gather import BinSums
from hitfinder.estimate.ranges import ENERGY_RANGE_EV
from hitfinder.estimate.run import RunSums
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.simulation.detector import shifted
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.water import expected_water

DETECTOR = "eiger-4m-report"
GRID = [(energy, length) for length in (0.15, 0.25, 0.35) for energy in (6000, 7000, 8000)]
MORE = [(6000, 0.30), (8000, 0.30), (12000, 0.10), (12000, 0.30)]
ENERGIES, LENGTHS = np.arange(5000, 14001, 1000.0), np.arange(0.08, 0.605, 0.01)
DISTURBED = {
    "none": {},
    "beam off by 3 px (1 sigma)": {
        "detector.shift_fs_px": "normal:0,3",
        "detector.shift_ss_px": "normal:0,3",
    },
    "beam stop 3 mm with arm": {"detector.beam_stop_mm": 3.0, "detector.beam_stop_arm_mm": 2.0},
    "water at 26 °C": {"background.temperature_c": 26.0},
    "uniform 1 % of water": {"background.uniform": 2e-5},
    "air, 0.5 mm": {"background.air_m": 0.0005},
    "air, 5 mm": {"background.air_m": 0.005},
    "protein 20 mg/ml": {"background.protein_mg_ml": 20},
    "ice 0.5 µm": {"background.ice_um": 0.5},
    "energy 4 keV": {"beam.photon_energy_ev": 4000},
    "energy 18 keV": {"beam.photon_energy_ev": 18000},
    "camera length 1.2 m": {"detector.camera_length_m": 1.2},
    "no water, uniform": {"background.water_um": 0, "background.uniform": 2e-3},
}


def simulator(preset: str, energy: float, length: float, **overrides) -> Simulator:
    settings = {
        "detector.name": DETECTOR,
        "beam.photon_energy_ev": energy,
        "detector.camera_length_m": length,
    }
    return Simulator.of(load_settings(preset=preset, overrides={**settings, **overrides}))


def bounds(energy: float, length: float) -> dict:
    """Bounds of one shot (3e8 photons, 10 µm), with azimuth bins and without."""
    sim = simulator("single-shot", energy, length)
    estimator = GeometryEstimator(sim.geometry)
    total = float(expected_water(sim.geometry, 3e8, 1e-5).sum())
    exposure = estimator.bins.exposure
    sums = BinSums(exposure * (total / exposure.sum()), exposure)
    with_azimuth = estimator.bound(energy, length, sums)
    # One azimuth bin: the polarised part of each ring is its mean.
    ring = exposure.sum(1, keepdims=True)
    mean = (estimator.model.cells * exposure).sum(2, keepdims=True) / np.maximum(ring, 1)
    estimator.model.cells[:] = mean
    without = estimator.bound(energy, length, sums)
    information = np.linalg.inv(with_azimuth)
    return {
        "energy_ev": energy,
        "length_m": length,
        "photons": total,
        "sigma_energy_ev": with_azimuth[0, 0] ** 0.5,
        "sigma_length_mm": 1e3 * with_azimuth[1, 1] ** 0.5,
        "correlation": with_azimuth[0, 1] / np.sqrt(with_azimuth[0, 0] * with_azimuth[1, 1]),
        "no_azimuth_sigma_energy_ev": without[0, 0] ** 0.5,
        "no_azimuth_sigma_length_mm": 1e3 * without[1, 1] ** 0.5,
        "sigma_energy_length_known_ev": information[0, 0] ** -0.5,
        "sigma_length_energy_known_mm": 1e3 * information[1, 1] ** -0.5,
    }


def estimated(estimate) -> tuple[np.ndarray, ...]:
    """Values, standard deviations, and lower and upper ends of the 68 % intervals."""
    parts = np.array(dataclasses.astuple(estimate)[:8]).reshape(2, 4).T
    return tuple(parts)


def reached(preset: str, energy: float, length: float, n: int, **overrides) -> dict:
    """Errors of single frames, Bragg peaks in every other one, over the bound of each frame."""
    sim = simulator(preset, energy, length, **{"blank_fraction": 0.5, **overrides})
    estimator, finder = GeometryEstimator(sim.geometry), LikelihoodFinder(sim.geometry)
    rows, classes, flags, photons, within = [], [], Counter(), [], []
    for frame in sim.frames(n, reuse=True):
        counts, _ = finder.counts_and_background(frame.counts)
        sums = estimator.sums(counts)
        estimate = estimator.estimate_sums(sums)
        flags[estimate.flag] += 1
        photons.append(estimate.photons)
        if not np.isfinite(estimate.photon_energy_ev):
            continue
        true = np.array([frame.shot.photon_energy_ev, frame.shot.camera_length_m])
        value, sigma, low, high = estimated(estimate)
        error = value - true
        within.append((low <= true) & (true <= high))
        rows.append([error, sigma, np.sqrt(np.diag(estimator.bound(*true, sums)))])
        e, d, _ = estimate.nearest(ENERGIES, LENGTHS)
        both = abs(e - true[0]) < 500 and abs(d - true[1]) < 0.005
        classes.append([*(np.abs(error) < [500, 0.005]), both])
    result = {"preset": preset, "energy_ev": energy, "length_m": length, "frames": n}
    result |= {"photons": float(np.median(photons)), "flags": dict(flags)}
    if not rows:
        return result
    error, sigma, bound = np.array(rows).transpose(1, 0, 2)
    rms, rms_bound = (np.sqrt((x**2).mean(0)) for x in (error, bound))
    held = (np.abs(error) < sigma).mean(0)
    return result | {
        "bound_energy_ev": rms_bound[0],
        "bound_length_mm": 1e3 * rms_bound[1],
        "rms_sigma_energy_ev": float(np.sqrt((sigma[:, 0] ** 2).mean())),
        "rms_sigma_length_mm": 1e3 * float(np.sqrt((sigma[:, 1] ** 2).mean())),
        "rms_energy_ev": rms[0],
        "rms_length_mm": 1e3 * rms[1],
        "ratio_energy": rms[0] / rms_bound[0],
        "ratio_length": rms[1] / rms_bound[1],
        "mean_error_energy_ev": error[:, 0].mean(),
        "mean_error_length_mm": 1e3 * error[:, 1].mean(),
        "held_energy": held[0],
        "held_length": held[1],
        "interval_held_energy": np.mean(within, 0)[0],
        "interval_held_length": np.mean(within, 0)[1],
        "nearest_kev": np.mean(classes, 0)[0],
        "nearest_cm": np.mean(classes, 0)[1],
        "nearest_setting": np.mean(classes, 0)[2],
    }


def calibration(n: int) -> list[dict]:
    """Errors over the posterior's own width, energies and camera lengths over the whole range."""
    estimator = GeometryEstimator(simulator("single-shot", 6000, 0.15).geometry)
    rng = np.random.default_rng(5)
    exposure = estimator.bins.exposure
    rows = []
    edges = 10.0 ** np.array([2, 3, 4, 5, 6, 7])
    for low in edges:
        z, squares, within = [], [], []
        for _ in range(n):
            true = rng.uniform(*ENERGY_RANGE_EV), 0.08 * 7.5 ** rng.random()
            model = estimator.model.per_pixel(*true) * exposure
            photons = low * 10 ** rng.random()
            counts = rng.poisson(model * (photons / model.sum())).astype(float)
            estimate = estimator.estimate_sums(BinSums(counts, exposure))
            if not np.isfinite(estimate.photon_energy_ev):
                continue
            value, sigma, bottom, top = estimated(estimate)
            error = value - true
            within.append((bottom <= true) & (true <= top))
            z.append(error / sigma)
            squares.append([error**2, sigma**2])
        held, ratio = (np.abs(z) < 1).mean(0), np.mean(squares, axis=0)
        ratio = np.sqrt(ratio[0] / ratio[1])
        rows.append(
            {
                "photons": [low, 10 * low],
                "frames": n,
                "estimated": len(z),
                "held_energy": held[0],
                "held_length": held[1],
                "interval_held_energy": np.mean(within, 0)[0],
                "interval_held_length": np.mean(within, 0)[1],
                "rms_over_posterior_energy": ratio[0],
                "rms_over_posterior_length": ratio[1],
            }
        )
    return rows


def places(n: int) -> list[dict]:
    """How often intervals hold fixed true values, from frames of the model itself.

    The nine settings of the study with one shot, and an end of the range with 2,000.
    """
    sim = simulator("single-shot", 6000, 0.15)
    estimator, detector = GeometryEstimator(sim.geometry), sim.geometry.detector
    rng, rows = np.random.default_rng(6), []
    for shots, true in [*((1, at) for at in GRID), (2000, (ENERGY_RANGE_EV[0], 0.2))]:
        model = estimator.model.per_pixel(*true) * estimator.bins.exposure
        photons = shots * float(expected_water(Geometry(detector, *true[::-1]), 3e8, 1e-5).sum())
        within, close = [], []
        for _ in range(n):
            counts = rng.poisson(model * (photons / model.sum())).astype(float)
            estimate = estimator.estimate_sums(BinSums(counts, estimator.bins.exposure))
            value, sigma, low, high = estimated(estimate)
            within.append((low <= true) & (true <= high))
            close.append(np.abs(value - true) <= sigma)
        rows.append(
            {
                "energy_ev": true[0],
                "length_m": true[1],
                "shots": shots,
                "frames": n,
                "interval_held": np.mean(within, 0).tolist(),
                "sigma_held": np.mean(close, 0).tolist(),
            }
        )
    return rows


def beam_moved() -> list[dict]:
    """Errors over the posterior's width by a moved beam alone: 2,000 shots, without noise.

    With the beam on the middle of the detector, and off it by 300 and 200 pixels.
    """
    whole, rows = simulator("integrated", 6000, 0.15).geometry.detector, []
    for beam in ((0, 0), (300, 200)):
        detector = shifted(whole, *beam)
        estimator = GeometryEstimator(Geometry(detector, 0.15, 6000))
        for at in ((6000, 0.15), (8000, 0.15), (12000, 0.10), (12000, 0.30)):
            for pixels in (0, 1, 2, 5):
                geometry = Geometry(shifted(detector, pixels, 0), at[1], at[0])
                image = expected_water(geometry, 3e8 * 2000, 1e-5).astype(float)
                image[detector.full_mask] = 0
                counts = estimator.bins.sum_of(block_sum(image, estimator.bins.block_px))
                value, sigma, *_ = estimated(
                    estimator.estimate_sums(BinSums(counts, estimator.bins.exposure))
                )
                rows.append(
                    {
                        "beam_px": beam,
                        "energy_ev": at[0],
                        "length_m": at[1],
                        "moved_px": pixels,
                        "errors": ((value - at) / sigma).tolist(),
                        "sigma": sigma.tolist(),
                    }
                )
    return rows


def of_runs(energy: float, length: float, numbers: tuple[int, ...]) -> list[dict]:
    """Runs of single shots with Bragg peaks in half of the frames."""
    sim = simulator("single-shot", energy, length, blank_fraction=0.5)
    estimator, finder = GeometryEstimator(sim.geometry), LikelihoodFinder(sim.geometry)
    run, rows = RunSums.of(estimator), []
    for i, frame in enumerate(sim.frames(max(numbers), reuse=True)):
        counts, _ = finder.counts_and_background(frame.counts)
        sums = estimator.sums(counts)
        run.add(i, sums, estimator.estimate_sums(sums))
        if i + 1 in numbers:
            result = run.result(estimator)
            estimate = result.estimate
            rows.append(
                {
                    "energy_ev": energy,
                    "length_m": length,
                    "frames": i + 1,
                    "error_energy_ev": estimate.photon_energy_ev - energy,
                    "sigma_energy_ev": estimate.photon_energy_sigma_ev,
                    "error_length_mm": 1e3 * (estimate.camera_length_m - length),
                    "sigma_length_mm": 1e3 * estimate.camera_length_sigma_m,
                    "flag": estimate.flag,
                    "drifts": result.drift.drifts,
                }
            )
    return rows


def speed(preset: str, repeats: int = 200) -> dict:
    """CPU time of one frame in ms: least and median of many."""
    sim = simulator(preset, 6000, 0.15)
    finder = LikelihoodFinder(sim.geometry)
    sim.geometry.pixels  # noqa: B018 - the finder has computed them already
    start = time.process_time()
    estimator = GeometryEstimator(sim.geometry)
    setup = time.process_time() - start
    counts, _ = finder.counts_and_background(sim.frame(0).counts)
    sums = estimator.sums(counts)

    def timed(call, argument) -> dict:
        call(argument)
        times = []
        for _ in range(repeats):
            start = time.process_time()
            call(argument)
            times.append(1e3 * (time.process_time() - start))
        return {"least_ms": min(times), "median_ms": float(np.median(times))}

    return {
        "preset": preset,
        "setup_s": setup,
        "gather": timed(estimator.sums, counts),
        "estimate": timed(estimator.estimate_sums, sums),
        "both": timed(estimator.estimate, counts),
        "load_average": os.getloadavg()[0],
    }


PARTS = {
    "speed": lambda n: [speed(preset) for preset in ("single-shot", "integrated")],
    "bounds_of_one_shot": lambda n: [bounds(*at) for at in GRID + MORE],
    "calibration": lambda n: calibration(40 * n),
    "places": lambda n: places(40 * n),
    "beam_moved": lambda n: beam_moved(),
    "runs": lambda n: [
        row
        for at in ((7000, 0.25), (6000, 0.15), (12000, 0.10))
        for row in of_runs(*at, (10, 100, 10 * n))
    ],
    "integrated": lambda n: [reached("integrated", *at, n) for at in GRID + MORE],
    "single_shot": lambda n: [reached("single-shot", *at, n) for at in GRID + MORE],
    "disturbed": lambda n: {
        name: reached("integrated", 6000, 0.15, max(n // 5, 2), **overrides)
        for name, overrides in DISTURBED.items()
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="keep the other parts' figures")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/estimate.json")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.only and options.out.exists() else {}
    results |= {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "command": "python benchmarks/estimate.py",
        "versions": {"hitfinder": hitfinder.__version__, "numpy": np.__version__},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "detector": DETECTOR,
        "azimuth_bins": N_AZIMUTHS,
    }
    results.setdefault("frames", {})
    for name in options.only or PARTS:
        results[name] = PARTS[name](options.frames)
        results["frames"][name] = options.frames
        text = json.dumps(results, indent=1, default=float, ensure_ascii=False) + "\n"
        options.out.write_text(text)
        print(name, json.dumps(results[name], default=float), flush=True)


if __name__ == "__main__":
    main()
