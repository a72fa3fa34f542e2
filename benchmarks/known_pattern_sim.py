"""Orientations of weak frames of CrystFEL's pattern_sim, found from all pixels.

The nine frames of proteinase K, at 6, 7 and 8 keV and 0.15, 0.25 and 0.35 m, are thinned to some
photons each, put over fresh water and searched, as in `hitfinder.suite.known_patternsim`, but with
several draws of the noise. The same is done with Bragg photons of our own simulation, for the same
beams and orientations.

`photons` compares the undiluted Bragg photons of each reflection that the true orientation brings
into the band with what is expected, up to a factor for each frame. They are taken to be Poisson
distributed about an intensity that is gamma distributed about the expectation: the larger the
shape, the better expectations hold (very large: exactly; 1: as Wilson's statistics). The gain is
the log likelihood with expectations from the structure over that with those from the cell.

`sampling` sums the interference function of the same reflections at the points where pattern_sim
takes it: 4 x 4 in a pixel, at seven energies. That is done twice, the points an eighth of a pixel
apart, and both sums are compared, with each other (correlation of the logarithms) and with |F|².
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import nbinom

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.predict import (
    FS,
    MOST_PREDICTED,
    N_COLUMNS,
    PHOTONS,
    ROW,
    SS,
    predict,
)
from hitfinder.simulation.beam import Beam, Crystal
from hitfinder.simulation.bragg import bragg_spots
from hitfinder.simulation.spectrum import tophat
from hitfinder.suite.known_crystals import told
from hitfinder.suite.known_patternsim import KNOWN, weak_frame
from hitfinder.suite.known_patternsim import PHOTONS as PHOTONS_OF_SUITE
from hitfinder.suite.known_search import PixelSearcher
from hitfinder.suite.patternsim import SHOT_PHOTONS, PatternSimFrames
from inputs import PATTERN_SIM
from report import RESULTS, results_header, write_json

PROGRAMS = ("pattern_sim", "hitfinder")
PARTS = ("photons", "sampling", "frames")
OUT = "known_pattern_sim.json"
WEAK = PHOTONS_OF_SUITE | {1: (10, *PHOTONS_OF_SUITE[1])}
"""Bragg photons of a frame, on average, over so many shots of water: as in the suite, and fewer
over one shot, where our own frames are nearly all found."""

BANDWIDTH, CRYSTAL_A, BEAM_RADIUS_M = 0.01, 1e5, 5e-6
"""With which pattern_sim made the frames."""

N_ENERGIES = 7
"""At which pattern_sim takes the spectrum; here in the middle of as many equal parts of it."""

REACH_PX = 3
"""Pixels to either side of a predicted reflection whose photons are counted as its own."""

MOST_SHAPE = 1000.0
"""Shape beyond which intensities do not differ from what is expected."""


class Shots:
    """The nine frames' beams, orientations and Bragg photons, by program."""

    def __init__(self) -> None:
        self.theirs = PatternSimFrames(PATTERN_SIM)
        self.geometries, self.axes = self.theirs.geometries, self.theirs.axes()
        self.structure = packaged_structure_factors()

    def searchers(self, k: int) -> dict[str, PixelSearcher]:
        """Return what searches a frame, by what is known of the crystal."""
        geometry = self.geometries[k]
        return {name: PixelSearcher.of(*told(self.structure, name), geometry) for name in KNOWN}

    def bragg(self, k: int, program: str) -> NDArray:
        """Return the Bragg photons of a frame at full flux."""
        if program == "pattern_sim":
            return np.asarray(self.theirs.counts[k])
        return _simulated(self.structure, self.geometries[k], self.axes[k])


def _simulated(
    structure: StructureFactors, geometry: Geometry, axes: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Draw Bragg photons of our own simulation, for pattern_sim's beam and crystal."""
    fluence = SHOT_PHOTONS / (np.pi * BEAM_RADIUS_M**2)
    beam = Beam(tophat(geometry.photon_energy_ev, BANDWIDTH), fluence, None)
    expected = np.zeros(geometry.shape)
    bragg_spots(structure, geometry, beam, Crystal(axes, (CRYSTAL_A,) * 3)).deposit(expected)
    return np.random.default_rng(0).poisson(expected)


def weak_frames(shots: Shots, program: str, n_shots: int, draws: int) -> list[dict[str, Any]]:
    """Count the right orientations over one background, by what is known and photons."""
    right: collections.Counter[tuple[str, int]] = collections.Counter()
    for k in range(len(shots.geometries)):
        bragg, water = shots.bragg(k, program), shots.theirs.water(k, n_shots)
        searchers = shots.searchers(k)
        for photons, draw in itertools.product(WEAK[n_shots], range(draws)):
            rng = np.random.default_rng([1 + draw, n_shots, photons, k])
            frame = weak_frame(bragg, water, photons, rng)
            for name, searcher in searchers.items():
                right[name, photons] += searcher.is_right(searcher(frame).rated, shots.axes[k])
    of = len(shots.geometries) * draws
    return [
        {"known": name, "bragg_photons": photons, "right": n, "of": of}
        for (name, photons), n in sorted(right.items(), reverse=True)
    ]


def photons_of_reflections(shots: Shots, program: str) -> list[dict[str, Any]]:
    """Compare the photons of reflections with what is expected of them, frame by frame."""
    rows = []
    for k, geometry in enumerate(shots.geometries):
        bragg = shots.bragg(k, program)
        predicted = {
            name: _predicted(one.crystal, shots.axes[k]) for name, one in shots.searchers(k).items()
        }
        # The cell alone does not say which reflections the space group makes extinct.
        both = sorted(predicted["structure"].keys() & predicted["cell"].keys())
        places = np.array([predicted["structure"][hkl][[FS, SS]] for hkl in both])
        counted, share = _photons_at(places, bragg)
        fits = {
            name: _gamma_shape(counted, np.array([found[hkl][PHOTONS] for hkl in both]))
            for name, found in predicted.items()
        }
        rows.append({
            "photon_energy_ev": geometry.photon_energy_ev,
            "camera_length_m": geometry.camera_length_m, "reflections": len(both),
            "photons": int(bragg.sum()), "share_in_them": round(share, 2),
            "shape_structure": fits["structure"][0],
            "shape_cell": fits["cell"][0],
            "gain_structure": round(fits["structure"][1] - fits["cell"][1], 1),
        })  # fmt: skip
        print(program, rows[-1], flush=True)
    return rows


def _predicted(
    crystal: KnownCrystal, axes: NDArray[np.float64]
) -> dict[tuple[int, ...], NDArray[np.float64]]:
    """Return the reflections that the true orientation brings into the band, by their indices."""
    found = np.empty((MOST_PREDICTED, N_COLUMNS))
    turn = axes @ np.linalg.inv(crystal.lattice.cell.reciprocal)
    n = predict(turn, crystal.judging, crystal.geometry.polarisation, crystal.detector, found)
    hkl = crystal.expected.hkl[found[:n, ROW].astype(int)]
    return {tuple(map(int, indices)): row for indices, row in zip(hkl, found[:n], strict=True)}


def _photons_at(places: NDArray[np.float64], bragg: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return the photons near each place (fs, ss), and the share of all that is near any."""
    counted, taken = [], np.zeros(bragg.shape, bool)
    for fs, ss in places.astype(int):
        near = np.s_[max(ss - REACH_PX, 0) : ss + REACH_PX + 1,
                     max(fs - REACH_PX, 0) : fs + REACH_PX + 1]  # fmt: skip
        counted.append(float(bragg[near].sum()))
        taken[near] = True
    return np.array(counted), float(bragg[taken].sum() / bragg.sum())


def sampling(shots: Shots) -> dict[str, Any]:
    """Say how far the photons of reflections depend on where pattern_sim takes its points."""
    rows, sums = [], []
    for k, geometry in enumerate(shots.geometries):
        predicted = _predicted(shots.searchers(k)["structure"].crystal, shots.axes[k])
        two = np.array([
            [_sum_at_points(geometry, shots.axes[k], hkl, row, offset) for offset in (0.0, 0.125)]
            for hkl, row in predicted.items()
        ])  # fmt: skip
        two *= shots.theirs.counts[k].sum() / two.sum(axis=0)
        sums.append(np.log(two + 1))
        expected = np.array([row[PHOTONS] for row in predicted.values()])
        shapes = [_gamma_shape(np.rint(some), expected)[0] for some in two.T]
        rows.append({"reflections": len(two), "shapes_structure": shapes})
    correlation = float(np.corrcoef(np.concatenate(sums).T)[0, 1])
    return {"frames": rows, "correlation": round(correlation, 2)}


def _sum_at_points(
    geometry: Geometry, axes: NDArray[np.float64], hkl: tuple[int, ...],
    row: NDArray[np.float64], offset_px: float,
) -> float:  # fmt: skip
    """Sum one reflection over the points near it, in any unit."""
    points = np.arange(-4 * REACH_PX, 4 * REACH_PX + 4) / 4 + offset_px
    ss, fs = np.meshgrid(int(row[SS]) + points, int(row[FS]) + points, indexing="ij")
    q = geometry.scattering_vectors(fs.ravel(), ss.ravel())
    energies = 1 + BANDWIDTH * ((np.arange(N_ENERGIES) + 0.5) / N_ENERGIES - 0.5)
    off = energies[:, None, None] * (q @ np.linalg.inv(axes).T) - np.array(hkl)
    # The rows of the inverse are the crystal's axes a, b, c, in Å.
    cells = CRYSTAL_A / np.linalg.norm(np.linalg.inv(axes), axis=1)
    shape = (cells * np.sinc(cells * off) / np.sinc(off)) ** 2
    # Photons of a whole reflection go as |F|² / g².
    strength = row[PHOTONS] * float(((axes @ np.array(hkl)) ** 2).sum())
    return strength * float(shape.prod(axis=-1).sum())


def _gamma_shape(
    counted: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the likeliest shape of the gamma distribution, and the log likelihood at it."""

    def minus_log(of: NDArray[np.float64]) -> float:
        shape, mean = min(np.exp(of[0]), MOST_SHAPE), expected * np.exp(of[1])
        return -float(nbinom.logpmf(counted, shape, shape / (shape + mean)).sum())

    factor = np.log(counted.sum() / expected.sum())
    # From one start only, it may end at a side maximum.
    tried = [minimize(minus_log, [start, factor], method="Nelder-Mead") for start in (-1, 1, 4)]
    best = min(tried, key=lambda one: one.fun)
    return round(min(float(np.exp(best.x[0])), MOST_SHAPE), 2), -float(best.fun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shots", type=int, nargs="+", choices=WEAK, default=list(WEAK))
    parser.add_argument("--draws", type=int, default=3, help="of the noise, for each frame")
    given = parser.parse_args()
    shots = Shots()
    there = RESULTS / OUT
    found = json.loads(there.read_text()) if there.exists() else {}
    if "photons" in given.parts:
        found["photons"] = {name: photons_of_reflections(shots, name) for name in PROGRAMS}
    if "sampling" in given.parts:
        found["sampling"] = sampling(shots)
        print(found["sampling"], flush=True)
    write_json(OUT, found | results_header([]))
    if "frames" not in given.parts:
        return
    for n_shots, program in itertools.product(given.shots, PROGRAMS):
        rows = weak_frames(shots, program, n_shots, given.draws)
        found.setdefault("frames", {}).setdefault(f"shots-{n_shots}", {})[program] = rows
        print(n_shots, program, rows, flush=True)
        write_json(OUT, found | results_header([]))


if __name__ == "__main__":
    main()
