"""What measured intensities are good for: merged over weak frames, against the structure.

Frames of proteinase K over 1, 100 and 2,000 shots of water are integrated in their true
orientations, at the places that `hitfinder index` predicts: by Poisson likelihood, as it does, and
by sums in rings, as CrystFEL does by default (signal within 3 pixels of the prediction, background
the mean between 4 and 5). Both are divided by the weight and averaged over symmetry equivalents,
all frames alike; ours also weighted by the standard deviations. The result is compared with |F|²
by shells of resolution that hold as many observations: Pearson's correlation.

How many of our frames give the correlation of all ring sums is found on nested subsets, of which
the smallest is an eighth. Some frames are also indexed by the search of `hitfinder index
--structure`, and measured in the orientations found.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.intensities.measure import measure
from hitfinder.indexing.intensities.prediction import ReflectionModel
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.search import search
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator
from report import results_header, write_json

SCALES = {1: 0.003, 100: 0.01, 2000: 0.03}
INNER, MIDDLE, OUTER = 3.0, 4.0, 5.0
SPREAD_PX, FOUND_SPREAD_PX = 0.25, 0.4
SHELLS = 6
SHARES = (0.125, 0.25, 0.35, 0.5, 0.7, 1.0)

Floats = NDArray[np.float64]


def settings(shots: int, scale: float) -> dict[str, Any]:
    return {
        "detector.name": "eiger2-x-1m",
        "detector.camera_length_m": 0.075,
        "beam.photon_energy_ev": 7000,
        "background.shots": shots,
        "bragg_scale": scale,
        "seed": 11,
    }


def ring_sums(table: NDArray[np.void], counts: NDArray[np.int32]) -> Floats:
    """Sum the counts about each place, less the mean of a ring around; NaN with few pixels."""
    reach = int(OUTER) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    padded = np.pad(counts, reach, constant_values=-1)
    out = np.full(len(table), np.nan)
    for n, (fs, ss) in enumerate(zip(table["fs"], table["ss"], strict=True)):
        column, row = int(fs), int(ss)
        box = padded[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        far = np.hypot(x + column + 0.5 - fs, y + row + 0.5 - ss)
        signal = (far <= INNER) & (box >= 0)
        ring = (far > MIDDLE) & (far <= OUTER) & (box >= 0)
        if signal.sum() < 0.8 * (far <= INNER).sum() or ring.sum() < 5:
            continue
        out[n] = box[signal].sum() - signal.sum() * box[ring].mean()
    return out


def observations(
    maker: Simulator, model: ReflectionModel, n_frames: int, found: KnownCrystal | None = None
) -> Iterator[tuple[NDArray[np.void], Floats]]:
    """Yield the reflections of each frame and their ring sums."""
    finder = LikelihoodFinder(maker.geometry)
    for number in range(n_frames):
        counts, rate = finder.counts_and_background(maker.frame(number).counts)
        background = background_image(counts, finder.rings, rate)
        axes, spread = maker.shot(number).crystals[0].axes, SPREAD_PX
        if found is not None:
            best = search(found, counts, background)
            if not best:
                continue
            axes, spread = best[0].turn @ found.lattice.cell.reciprocal, FOUND_SPREAD_PX
        ((table, _),) = measure([model.predict(axes, spread)], counts, background)
        yield table, ring_sums(table, counts)


def unique_rows(lattice: Lattice, factors: StructureFactors, hkl: NDArray[np.int32]) -> NDArray:
    """Number the unique reflection of each observation."""
    group = gemmi.find_spacegroup_by_name(factors.space_group_name)
    asu, operations = gemmi.ReciprocalAsu(group), group.operations()
    told: dict[tuple[int, ...], int] = {}
    unique = [tuple(asu.to_asu(list(map(int, one)), operations)[0]) for one in hkl]
    return np.array([told.setdefault(one, len(told)) for one in unique])


def shells(
    value: Floats, weight: Floats, rows: NDArray, true: Floats, inv_d: Floats, edges: Floats
) -> tuple[list[float], list[int]]:
    """Merge observations and correlate them with the truth, shell by shell."""
    n = int(rows.max()) + 1
    total = np.bincount(rows, weight, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        merged = np.bincount(rows, weight * value, n) / total
        truth = np.bincount(rows, weight * true, n) / total
        place = np.bincount(rows, weight * inv_d, n) / total
    told, numbers = [], []
    for low, high in itertools.pairwise(edges):
        some = (total > 0) & (place >= low) & (place < high)
        numbers.append(int(some.sum()))
        told.append(float(np.corrcoef(merged[some], truth[some])[0, 1]))
    return told, numbers


def judged(shots: int, scale: float, n_frames: int, n_found: int) -> dict[str, Any]:
    """Correlations by shell over one background."""
    given = load_settings(preset="report", overrides=settings(shots, scale))
    factors, maker = structure_factors(given), Simulator.of(given)
    lattice = lattice_of(factors.cell, factors.space_group_name)
    model = ReflectionModel.of(lattice, maker.geometry, factors=factors)
    began = time.process_time()
    out = _merged(lattice, factors, list(observations(maker, model, n_frames)))
    out |= {"scale": scale, "seconds_a_frame": round((time.process_time() - began) / n_frames, 2)}
    if n_found:
        known = KnownCrystal.of(lattice, maker.geometry, factors=factors)
        seen = list(observations(maker, model, n_found, known))
        out["orientations_found"] = _merged(lattice, factors, seen)
    return out


def _merged(
    lattice: Lattice, factors: StructureFactors, seen: list[tuple[NDArray[np.void], Floats]]
) -> dict[str, Any]:
    """Correlations of all ways to measure and merge, over nested subsets of frames."""
    table = np.concatenate([one for one, _ in seen])
    rings = np.concatenate([sums for _, sums in seen])
    frame = np.repeat(np.arange(len(seen)), [len(one) for one, _ in seen])
    good = np.isfinite(rings) & (table["f_squared"] > 0) & (table["partiality"] > 0.9)
    table, rings, frame = table[good], rings[good], frame[good]
    rows = unique_rows(lattice, factors, np.stack([table[n] for n in "hkl"], 1))
    ours, inv_d = table["intensity"] / table["weight"], 1 / table["resolution_a"]
    ways = {
        "rings": (rings / table["weight"], np.ones(len(table))),
        "ours": (ours, np.ones(len(table))),
        "ours, by sigma": (ours, (table["weight"] / table["sigma"]) ** 2),
    }
    edges = np.quantile(inv_d, np.linspace(0, 1, SHELLS + 1))
    edges[-1] *= 1.001
    out: dict[str, Any] = {
        "frames": len(seen),
        "observations": len(table),
        "unique": int(rows.max()) + 1,
        "expected_photons": [
            round(float(np.median(table["expected"][(inv_d >= a) & (inv_d < b)])), 4)
            for a, b in itertools.pairwise(edges)
        ],
        "d_a": [round(float(1 / edge), 2) for edge in edges],
    }
    by_share: dict[str, list[list[float]]] = {}
    for name, (value, weight) in ways.items():
        for share in SHARES:
            some = frame < share * len(seen)
            told, n = shells(
                value[some], weight[some], rows[some], table["f_squared"][some], inv_d[some], edges
            )
            by_share.setdefault(name, []).append([round(c, 4) for c in told])
        out["reflections"] = n
    out["correlation"] = {name: told[-1] for name, told in by_share.items()}
    out["correlation_by_share"] = by_share | {"shares": list(SHARES)}
    out["frames_for_what_rings_reach"] = _needed(by_share)
    print({name: told[-1] for name, told in by_share.items()}, out["frames_for_what_rings_reach"])
    return out


def _needed(by_share: dict[str, list[list[float]]]) -> dict[str, list[float]]:
    """Share of the frames with which ours reach what rings reach with all, by shell."""
    goal = by_share["rings"][-1]
    needed = {}
    for name in ("ours", "ours, by sigma"):
        curves = np.array(by_share[name]).T
        needed[name] = [
            round(float(np.interp(aim, np.maximum.accumulate(curve), SHARES)), 2)
            for aim, curve in zip(goal, curves, strict=True)
        ]
    return needed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(SCALES))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--found", type=int, default=20, help="frames that are indexed too")
    parser.add_argument("--out", default="merging.json")
    given = parser.parse_args()
    found = {
        f"flux-{shots}": judged(shots, SCALES[shots], given.frames, given.found)
        for shots in given.shots
    }
    write_json(given.out, results_header([]) | found)


if __name__ == "__main__":
    main()
