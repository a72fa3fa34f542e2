"""What the noise of detectors that do not count costs the finder, and what it must cost at least.

Frames of one pulse's background hold Gaussian spots of known place and width. They are read by a
detector of a noise and a gain, values in whole ADU where a photon is more than one. Recall counts
the spots with a peak nearby; false peaks and hits are those of frames without spots.

Beside it stands the likelihood ratio of one spot whose place, width and photons are known, against
the background alone, at a chance of 1 in 10⁸: Σ ln(P(x | b + s) / P(x | b)) over its pixels, P
being Poisson's law folded with the noise. By how much its power falls with the noise
is what any finder must lose. The distribution of the sum is found by folding those of its pixels.
The same ratio of the whole counts that the finder takes values for is what a finder of counts must
lose.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree
from scipy.stats import norm, poisson

from hitfinder.experiment.photons import in_photons
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.noisy import LEVELS_PER_OCTAVE, LOWEST_MEAN, noise_step, thresholds
from hitfinder.geometry.detector import Detector
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.memory import ArraySource
from report import results_header, write_json

SHAPE, STEP, MARGIN = (800, 800), 32, 24
BACKGROUND, WIDTH_PX, OFFSET = 0.005, 0.7, 0.05
PHOTONS = (8, 12, 20)
SIGMAS = (0.0, 0.1, 0.2, 0.3, 0.5)
GAINS = (1, 3, 10)
N_FRAMES, N_BLANKS = 3, 12
NEAR_PX, CHANCE = 2.5, 1e-8
SHARED = (0.0, 0.3)
_GRID, _LOG_STEP, _HALF = 0.01, 0.02, 2


def spot(fs: float, ss: float, reach: int) -> NDArray[np.float64]:
    """Shares of a spot's photons on the pixels around its middle one."""
    edges = np.arange(-reach, reach + 2)
    return np.outer(*(np.diff(norm.cdf(edges, at, WIDTH_PX)) for at in (ss, fs)))


def spots(photons: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Expected photons of spots on a grid, each anywhere in its pixel, and their places."""
    rng, image, reach = np.random.default_rng(seed), np.zeros(SHAPE), 5
    rows, columns = np.mgrid[MARGIN : SHAPE[0] - MARGIN : STEP, MARGIN : SHAPE[1] - MARGIN : STEP]
    within = rng.uniform(0, 1, (rows.size, 2))
    for row, column, (fs, ss) in zip(rows.ravel(), columns.ravel(), within, strict=True):
        near = slice(row - reach, row + reach + 1), slice(column - reach, column + reach + 1)
        image[near] += photons * spot(fs, ss, reach)
    return image, np.stack([columns.ravel(), rows.ravel()], 1) + within


def read_out(
    expected: NDArray[np.float64], sigma: float, gain: int, shared: float, seed: int
) -> NDArray:
    """Draw photons and read them out; without noise, count them."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson(expected)
    if not sigma:
        return photons.astype(np.int32)
    values = photons.astype(np.float64)
    for axis, way in ((0, 1), (0, -1), (1, 1), (1, -1)):
        parts = rng.binomial(photons, shared / 4) if shared else np.zeros_like(photons)
        given = np.zeros(SHAPE)
        for n in range(parts.max()):
            given += rng.uniform(0, 0.5, SHAPE) * (parts > n)
        values += np.roll(given, way, axis) - given
    values = gain * (values + rng.normal(OFFSET, sigma, SHAPE))
    return (np.rint(values) if gain > 1 else values).astype(np.float32)


def measured(sigma: float, gain: int, shared: float) -> dict[str, Any]:
    """Recall by photons, false peaks and hits a blank, with the values in ADU."""
    geometry = Geometry(Detector.flat(SHAPE, 75e-6), 0.15, 8000.0)
    find, recall, ratio = LikelihoodFinder(geometry), {}, {}
    factor = gain if sigma else 1

    def found(expected: NDArray[np.float64], seed: int) -> Any:
        stored = ArraySource(read_out(expected, sigma, gain, shared, seed)[None])
        noisy = geometry.detector if sigma else None
        return find(in_photons(stored, None, float(factor), noisy).read(0))

    for photons in PHOTONS:
        near, sums = [], []
        for seed in range(N_FRAMES):
            image, places = spots(photons, seed)
            peaks = found(image + BACKGROUND, 100 * photons + seed).peaks
            if not len(peaks):
                near.append(np.zeros(len(places)))
                continue
            away, which = cKDTree(np.stack([peaks["fs"], peaks["ss"]], 1)).query(places)
            near.append(away < NEAR_PX)
            sums.append(peaks["photons"][which[away < NEAR_PX]])
        recall[str(photons)] = round(float(np.mean(np.concatenate(near))), 4)
        ratio[str(photons)] = round(float(np.mean(np.concatenate(sums))) / photons, 4)
    blanks = [found(np.full(SHAPE, BACKGROUND), 9000 + seed) for seed in range(N_BLANKS)]
    return {
        "sigma": sigma,
        "adu_per_photon": gain,
        "shared": shared,
        "recall": recall,
        "photons_found_over_true": ratio,
        "peaks_a_blank": round(float(np.mean([len(blank.peaks) for blank in blanks])), 3),
        "hits_of_blanks": round(float(np.mean([blank.hit for blank in blanks])), 3),
    }


def likelihood_ratio(photons: float, sigma: float, gain: int, *, counted: bool = False) -> float:
    """Power of the likelihood ratio of a spot in the middle of a pixel, everything known.

    That of the values, or of the counts that the finder takes them for.
    """
    if sigma and gain > 1:
        sigma = float(np.hypot(sigma, 1 / gain / np.sqrt(12)))
    blank, lit = np.ones(1), np.ones(1)
    for signal in photons * spot(0.5, 0.5, _HALF).ravel():
        values, chances = law(BACKGROUND, signal, sigma)
        if counted and sigma:
            level = round(np.log2(BACKGROUND / LOWEST_MEAN) * LEVELS_PER_OCTAVE)
            row = thresholds(noise_step(sigma))[level]
            count = np.searchsorted(row, -6 * sigma + _GRID * np.arange(values.size), "right")
            values, chances = np.bincount(count, values), np.bincount(count, chances)
        ratio = np.clip(np.log(np.maximum(values, 1e-300) / np.maximum(chances, 1e-300)), -20, 60)
        step = np.rint(ratio / _LOG_STEP).astype(int)
        place, size = step - step.min(), int(np.ptp(step)) + 1
        blank = fftconvolve(blank, np.bincount(place, chances, size))
        lit = fftconvolve(lit, np.bincount(place, values, size))
    above = np.cumsum(np.maximum(blank, 0)[::-1])[::-1]
    return float(lit[np.flatnonzero(above <= CHANCE)[0] :].sum())


def ratios(sigma: float, gain: int) -> dict[str, dict[str, float]]:
    """Power by photons, of values and of counts."""
    return {
        name: {str(n): round(likelihood_ratio(n, sigma, gain, counted=counted), 4) for n in PHOTONS}
        for name, counted in (("likelihood_ratio", False), ("likelihood_ratio_of_counts", True))
    }


def law(
    background: float, signal: float, sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities of the values of a pixel, with and without the signal."""
    most = int(signal + 10 * np.sqrt(signal + 1) + 10)
    counts = np.arange(most)
    laws = [poisson.pmf(counts, mean) for mean in (background + signal, background)]
    if not sigma:
        return laws[0], laws[1]
    values = np.arange(-6 * sigma, most, _GRID)
    noise = norm.pdf(values, counts[:, None], sigma) * _GRID
    return laws[0] @ noise, laws[1] @ noise


def main() -> None:
    """Measure everything, and keep it."""
    rows = []
    for sigma in SIGMAS:
        for gain in GAINS if sigma else (1,):
            for shared in SHARED if gain == 1 and sigma else (0.0,):
                row = measured(sigma, gain, shared)
                if not shared:
                    row |= ratios(sigma, gain)
                rows.append(row)
                print(row, flush=True)
    settings = {
        "background": BACKGROUND,
        "width_px": WIDTH_PX,
        "shape": SHAPE,
        "offset": OFFSET,
        "chance": CHANCE,
    }
    write_json("noise.json", {**results_header([]), "settings": settings, "rows": rows})


if __name__ == "__main__":
    main()
