"""What measured intensities are good for: merged over weak frames, against the structure.

Frames of proteinase K over 1, 100 and 2,000 shots of water are integrated in their true
orientations, at the places that `hitfinder index` predicts: by Poisson likelihood, as it does, and
by sums in rings, as CrystFEL does by default (signal within 3 pixels of the prediction, background
the mean between 4 and 5). Both are divided by the weight and averaged over symmetry equivalents,
all frames alike; ours also weighted by the standard deviations. The result is compared with |F|²
by shells of resolution that hold as many observations: Pearson's correlation.

The `limit` is what the same counts tell of |F|² if all else is known: footprints, background,
scale, and by how much each pixel scatters. Its estimate, Σ w f (n - b) / v over Σ w² f² / v, is
efficient: no other without bias scatters less (Cramér and Rao), so none needs fewer frames.

How many frames of each give the correlation of all ring sums is found on nested subsets. The first
frames are also indexed by the search of `hitfinder index --structure`, and merged in the
orientations found, every reflection predicted there, beside the same frames in their true ones.
CrystFEL, where it is installed, merges streams of both: of ours as `hitfinder index` writes them,
and of ring sums as its own integration does, without weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gemmi
import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.lattice import lattice_of
from hitfinder.crystal.reflections import StructureFactors
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.indexing.intensities.measure import measure, spread_evidence
from hitfinder.indexing.intensities.prediction import ReflectionModel
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.posterior import posterior
from hitfinder.indexing.known.rating import rated
from hitfinder.indexing.known.search import search
from hitfinder.job.indexing.integrate import SPREADS_PX, likeliest
from hitfinder.simulation.crystals import structure_factors
from hitfinder.simulation.presets import load_settings
from hitfinder.simulation.simulator import Simulator
from merging_crystfel import merged_by_crystfel
from report import RESULTS, results_header, write_json

SCALES = {1: 0.003, 100: 0.01, 2000: 0.03}
INNER, MIDDLE, OUTER = 3.0, 4.0, 5.0
SPREAD_FRAMES = 30
SHARP_PX = 0.01
SHELLS = 6
SHARES = (0.05, 0.125, 0.25, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LEAST_PARTIALITY = 0.9
RIGHT_DEG = 0.5
OUT = "merging.json"

Floats = NDArray[np.float64]


class Observed(NamedTuple):
    """The reflections of a frame: measured, summed in rings, and as well as can be."""

    axes: Floats
    table: NDArray[np.void]
    rings: Floats
    limit: Floats
    information: Floats
    true: Floats


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


class Maker:
    """Frames over one background, and all that is needed to measure them."""

    def __init__(self, shots: int, scale: float) -> None:
        given = load_settings(preset="report", overrides=settings(shots, scale))
        self.factors, self.frames = structure_factors(given), Simulator.of(given)
        self.lattice = lattice_of(self.factors.cell, self.factors.space_group_name)
        self.finder = LikelihoodFinder(self.frames.geometry)
        self.model = ReflectionModel.of(self.lattice, self.frames.geometry, factors=self.factors)

    def counts(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the counts of a frame, and the background that they tell."""
        counts, rate = self.finder.counts_and_background(self.frames.frame(number).counts)
        return counts, background_image(counts, self.finder.rings, rate)

    def true_axes(self, n: int) -> dict[int, Floats]:
        """Return the true reciprocal axes of the first frames."""
        return {number: self.frames.shot(number).crystals[0].axes for number in range(n)}

    def found_axes(self, n: int) -> dict[int, Floats]:
        """Return the axes that `hitfinder index` finds, sure or not."""
        known = KnownCrystal.of(self.lattice, self.frames.geometry, factors=self.factors)
        axes = {}
        for number in range(n):
            seen = self.counts(number)
            for best in rated(known, *seen, search(known, *seen))[:1]:
                turn = posterior(known, *seen, best.turn, best.photons).turn
                axes[number] = turn @ self.lattice.cell.reciprocal
        return axes

    def spread_px(self, axes: dict[int, Floats]) -> float:
        """Choose the spread as `hitfinder index` does, by some of the frames."""
        evidence = np.zeros(len(SPREADS_PX))
        for number in list(axes)[:SPREAD_FRAMES]:
            seen = self.counts(number)
            tried = (self.model.predict(axes[number], spread) for spread in SPREADS_PX)
            evidence += [spread_evidence(one, *seen) for one in tried]
        return likeliest(SPREADS_PX, evidence)

    def observed(self, axes: dict[int, Floats], spread_px: float) -> Iterator[Observed]:
        """Yield the reflections of each frame."""
        for number, turned in axes.items():
            counts, background = self.counts(number)
            ((table, _),) = measure([self.model.predict(turned, spread_px)], counts, background)
            yield Observed(
                turned, table, ring_sums(table, counts), *self._limit(number, table, counts)
            )

    def _limit(
        self, number: int, table: NDArray[np.void], counts: NDArray[np.int32]
    ) -> tuple[Floats, Floats, Floats]:
        """Estimate photons knowing all else; and their information, and the true ones."""
        exposure = self.frames.expose(number)
        image = np.empty(counts.shape, np.float32)
        exposure.expect_background(image)
        exposure.expect_bragg(image)
        expected, (spots, scale) = image.ravel().astype(float), exposure.spots[0]
        sharp = self.model.predict(self.frames.shot(number).crystals[0].axes, SHARP_PX)
        rows = {tuple(hkl): row for row, hkl in enumerate(sharp.hkl.tolist())}
        whole = np.diff(np.concatenate([[0], np.cumsum(sharp.shares)])[sharp.first]) > 0.999
        unit = [
            spot["photons"] * scale / (sharp.weight[row] * sharp.f_squared[row])
            for spot in spots.table
            if (row := rows.get(tuple(int(spot[name]) for name in "hkl"))) is not None
            and whole[row]
        ]
        true = np.median(unit) * sharp.weight * sharp.f_squared if unit else np.nan * sharp.weight
        limit, information, photons = np.full((3, len(table)), np.nan)
        for n, one in enumerate(table):
            row = rows.get(tuple(int(one[name]) for name in "hkl"))
            if row is None:
                continue
            some = slice(sharp.first[row], sharp.first[row + 1])
            pixels, share = sharp.pixels[some], sharp.shares[some]
            read = counts.flat[pixels] >= 0
            pixels, share = pixels[read], share[read]
            rate = np.maximum(expected[pixels], true[row] * share)
            information[n] = (share**2 / rate).sum()
            more = (share * (counts.flat[pixels] - rate) / rate).sum()
            photons[n], limit[n] = true[row], true[row] + more / information[n]
        return limit, information, photons


class Merging:
    """Observations of all frames, merged in one way or another, against the truth.

    With `predicted`, reflections count that are predicted but not excited in truth, as a wrong
    orientation has; then only `correlations` of "rings" and "ours" mean anything.
    """

    def __init__(
        self, factors: StructureFactors, seen: list[Observed], predicted: bool = False
    ) -> None:
        table = np.concatenate([one.table for one in seen])
        rings, limit, information, true = (
            np.concatenate([getattr(one, name) for one in seen])
            for name in ("rings", "limit", "information", "true")
        )
        frame = np.repeat(np.arange(len(seen)), [len(one.table) for one in seen])
        good = np.isfinite(rings) & (table["f_squared"] > 0)
        good &= (table["partiality"] > LEAST_PARTIALITY) & (np.isfinite(true) | predicted)
        self.good, self.frames, self.frame, self.table = good, len(seen), frame[good], table[good]
        self.true, weight = true[good], self.table["weight"]
        self._group = gemmi.find_spacegroup_by_name(factors.space_group_name)
        self.rows = self.numbered(np.stack([self.table[name] for name in "hkl"], 1))
        self.inv_d = 1 / self.table["resolution_a"]
        self.edges = np.quantile(self.inv_d, np.linspace(0, 1, SHELLS + 1))
        self.edges[-1] *= 1.001
        ones, ours = np.ones(len(weight)), self.table["intensity"] / weight
        self.ways = {
            "rings": (rings[good] / weight, ones),
            "ours": (ours, ones),
            "ours, by sigma": (ours, (weight / self.table["sigma"]) ** 2),
        }
        self.ways["limit"] = (limit[good] / weight, information[good] * weight**2)

    def numbered(self, hkl: NDArray[np.integer]) -> NDArray[np.int64]:
        """Number the unique reflection of each observation."""
        asu, operations = gemmi.ReciprocalAsu(self._group), self._group.operations()
        unique = [asu.to_asu(list(map(int, one)), operations)[0] for one in hkl]
        return np.unique(np.array(unique), axis=0, return_inverse=True)[1].ravel()

    def correlations(self, way: str, share: float = 1.0) -> list[float]:
        """Merge the observations of a share of the frames; correlate them shell by shell."""
        value, weight = self.ways[way]
        some = self.frame < share * self.frames
        rows, weight = self.rows[some], weight[some]
        n = int(self.rows.max()) + 1
        total = np.bincount(rows, weight, n)
        there = total > 0
        merged, truth, place = (
            np.bincount(rows, weight * what[some], n)[there] / total[there]
            for what in (value, self.table["f_squared"], self.inv_d)
        )
        return [
            float(np.corrcoef(merged[shell], truth[shell])[0, 1])
            for shell in self._of_shells(place)
        ]

    def _of_shells(self, inv_d: Floats) -> list[NDArray[np.bool_]]:
        return [(inv_d >= low) & (inv_d < high) for low, high in itertools.pairwise(self.edges)]

    def summary(self) -> dict[str, Any]:
        """Put together what is reported of all ways."""
        shells = self._of_shells(self.inv_d)
        expected = [float(np.median(self.table["expected"][some])) for some in shells]
        by_share = {
            way: [rounded(self.correlations(way, share)) for share in SHARES] for way in self.ways
        }
        return {
            "frames": self.frames,
            "observations": len(self.table),
            "unique": int(self.rows.max()) + 1,
            "expected_photons": rounded(expected),
            "d_a": rounded(1 / self.edges, 2),
            "reflections": [len(np.unique(self.rows[some])) for some in shells],
            "correlation": {way: told[-1] for way, told in by_share.items()},
            "correlation_by_share": by_share | {"shares": list(SHARES)},
            "frames_for_what_rings_reach": {
                way: needed(by_share["rings"][-1], told)
                for way, told in by_share.items()
                if way != "rings"
            },
            "noise_over_that_of_rings": {
                way: rounded([self._noise(way, some) for some in shells], 2)
                for way in ("ours", "limit")
            },
            "scatter": self._scatter(shells),
        }

    def _noise(self, way: str, some: NDArray[np.bool_]) -> float:
        """Mean square of the errors of single observations over that of the ring sums'.

        As the noise of a merge goes with 1 / frames, it is the share of the frames that gives the
        same noise, of however many; and it hangs less on chance than one that is sought there.
        """
        true = self.true / self.table["weight"]
        squares = [
            float(((self.ways[name][0] - true)[some] ** 2).mean()) for name in (way, "rings")
        ]
        return squares[0] / squares[1]

    def _scatter(self, shells: list[NDArray[np.bool_]]) -> dict[str, list[float]]:
        """By shell: how many intensities are within 1 and 2 deviations of the truth, and the mean
        square of errors over that of deviations."""
        error = self.table["intensity"] - self.true
        deviations, squares = np.abs(error / self.table["sigma"]), (error, self.table["sigma"])
        return {
            "within_1": rounded([float((deviations[some] < 1).mean()) for some in shells]),
            "within_2": rounded([float((deviations[some] < 2).mean()) for some in shells]),
            "variance_ratio": rounded(
                [float(np.divide(*((x[some] ** 2).mean() for x in squares))) for some in shells], 2
            ),
            "bias": rounded([float(error[s].sum() / self.true[s].sum()) for s in shells]),
        }


def rounded(values: Any, digits: int = 4) -> list[float]:
    return [round(float(value), digits) for value in values]


def needed(goal: list[float], curves: list[list[float]]) -> list[float]:
    """Return the share of the frames with which a goal is reached, by shell."""
    return [
        round(float(np.interp(aim, np.maximum.accumulate(curve), SHARES)), 2)
        for aim, curve in zip(goal, np.array(curves).T, strict=True)
    ]


def judged(
    shots: int, scale: float, numbers: list[int], n_found: int, crystfel: Path
) -> dict[str, Any]:
    """Correlations by shell over one background, of several numbers of frames."""
    maker = Maker(shots, scale)
    axes = maker.true_axes(max(numbers))
    spread_px = maker.spread_px(axes)
    began = time.process_time()
    seen: list[Observed] = []
    memory = {}
    for one in maker.observed(axes, spread_px):
        seen.append(one)
        if len(seen) in numbers:
            memory[len(seen)] = memory_mib(seen)
    out: dict[str, Any] = {"scale": scale, "spread_px": round(spread_px, 3)}
    out["seconds_a_frame"] = round((time.process_time() - began) / len(seen), 3)
    for n in numbers:
        merging = Merging(maker.factors, seen[:n])
        out[f"frames-{n}"] = merging.summary() | memory[n]
        if n == min(numbers) and crystfel.is_dir():
            out["crystfel"] = merged_by_crystfel(crystfel, maker, seen[:n], merging) | {"frames": n}
    if n_found:
        out["orientations_found"] = in_orientations_found(maker, n_found, axes)
    return out


def memory_mib(seen: list[Observed]) -> dict[str, int]:
    """Return the most memory that was held, and how much of it the observations take."""
    kept = sum(part.nbytes for one in seen for part in one)
    return {
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "observations_mib": kept // 2**20,
    }


def in_orientations_found(maker: Maker, n: int, true_axes: dict[int, Floats]) -> dict[str, Any]:
    """Merge frames in the orientations found, and the same frames in the true ones."""
    found = maker.found_axes(n)
    off = [maker.lattice.angle_deg(axes, true_axes[number]) for number, axes in found.items()]
    out: dict[str, Any] = {
        "of": n,
        "right": int((np.array(off) < RIGHT_DEG).sum()),
        "median_error_deg": round(float(np.median(off)), 4),
    }
    for name, axes in (("found", found), ("true", {k: true_axes[k] for k in found})):
        spread_px = maker.spread_px(axes)
        merging = Merging(maker.factors, list(maker.observed(axes, spread_px)), predicted=True)
        told = {way: rounded(merging.correlations(way)) for way in ("rings", "ours")}
        out[name] = {"spread_px": round(spread_px, 3), "correlation": told}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=list(SCALES))
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--found", type=int, default=200, help="frames that are indexed too")
    parser.add_argument("--crystfel", type=Path, default=Path("/opt/crystfel/bin"))
    given = parser.parse_args()
    for shots in given.shots:
        row = judged(shots, SCALES[shots], given.frames, given.found, given.crystfel)
        print(shots, row, flush=True)
        there = RESULTS / OUT
        before = json.loads(there.read_text()) if there.exists() else {}
        told = results_header([])
        row |= {"command": told.pop("command"), "date": told["date"]}
        write_json(OUT, told | before | {f"flux-{shots}": row})


if __name__ == "__main__":
    main()
