"""Orientations of weak frames of CrystFEL's pattern_sim, found from all pixels.

The nine frames of proteinase K, at 6, 7 and 8 keV and 0.15, 0.25 and 0.35 m, are thinned to some
photons each and put over fresh water. Their pixels are searched with the structure and with the
cell alone, as `hitfinder index --structure` and `--pixels` do. Counted are the frames whose best
orientation is within 0.5° of the axes that pattern_sim used, up to the crystal's symmetry.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.tables import packaged_structure_factors
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.rating import rated
from hitfinder.indexing.known.search import search
from hitfinder.simulation.water import expected_water
from hitfinder.suite.patternsim import SHOT_PHOTONS, WATER_M
from inputs import PATTERN_SIM
from report import results_header, write_json

PHOTONS = {1: (20, 40, 80), 100: (50, 100, 200), 2000: (150, 300, 600)}
"""Bragg photons of a frame, on average, over so many shots of water."""

KNOWN = ("structure", "cell")
RIGHT_DEG = 0.5


def weak_frame(
    bragg: NDArray, geometry: Geometry, shots: int, photons: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Thin the Bragg photons of a frame to so many on average, and put them over water."""
    water = expected_water(geometry, shots * SHOT_PHOTONS, WATER_M)
    thinned = rng.binomial(bragg, min(1.0, photons / bragg.sum()))
    return np.asarray(thinned + rng.poisson(water), np.uint16)


def is_right(
    frame: NDArray, geometry: Geometry, lattice: Lattice, factors: Any, axes: NDArray[np.float64]
) -> tuple[bool, float]:
    """Search a frame; return whether the best orientation is right, and the seconds it took."""
    crystal = KnownCrystal.of(lattice, geometry, factors=factors)
    finder = LikelihoodFinder(geometry)
    counts, rate = finder.counts_and_background(frame)
    began = time.process_time()
    background = background_image(counts, finder.rings, rate)
    found = rated(crystal, counts, background, search(crystal, counts, background))
    took = time.process_time() - began
    if not found:
        return False, took
    return lattice.angle_deg(found[0].turn @ lattice.cell.reciprocal, axes) < RIGHT_DEG, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(PHOTONS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    structure = packaged_structure_factors()
    lattice = lattice_of(structure.cell, structure.space_group_name)
    detector = named_detector("eiger-4m-report")
    rows: list[dict[str, Any]] = []
    with h5py.File(PATTERN_SIM) as file:
        # Reciprocal axes as columns, in Å⁻¹.
        axes = np.stack([file[f"{name}star_inv_m"][:] * 1e-10 for name in "abc"], 2)
        beams = list(zip(file["camera_length_m"][:], file["photon_energy_ev"][:], strict=True))
        frames = file["entry/data/data"][:]
    for shots, known in itertools.product(given.shots, KNOWN):
        for photons in PHOTONS[shots]:
            right, seconds = 0, []
            for k, (length, energy) in enumerate(beams):
                geometry = Geometry(detector, float(length), float(energy))
                rng = np.random.default_rng([given.seed, shots, photons, k])
                frame = weak_frame(frames[k], geometry, shots, photons, rng)
                factors = structure if known == "structure" else None
                good, took = is_right(frame, geometry, lattice, factors, axes[k])
                right += good
                seconds.append(took)
            row = {"shots": shots, "known": known, "bragg_photons": photons, "right": right}
            rows.append(row | {"of": len(beams), "median_s": round(float(np.median(seconds)), 2)})
            print(rows[-1], flush=True)
    write_json("known_pattern_sim.json", results_header([]) | {"frames": rows})


if __name__ == "__main__":
    main()
