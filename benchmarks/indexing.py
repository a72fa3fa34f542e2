"""What the peaks are good for: how many hits have their orientation found from them.

The suite's frames of proteinase K (flux-1, -100, -2000) are indexed from the peaks of each finder:
ours at their defaults, and the network with a stricter and a looser list as well; peers at each of
their tuned settings, of which the best is taken; and from the true spots of three photons and more.
The cell is known. Two indexers take all lists: an exhaustive one, which of very many orientations
takes the one, after refinement, that brings most peaks near whole indices; and that of `hitfinder
index`, for which peers' peaks have no probabilities. A frame is right if it is within 1.5° of the
truth, up to the crystal's symmetry.

With `--pixels` all pixels of the same frames are searched instead, with the structure and with the
cell alone. What chance reaches is learnt from scrambled blanks, as `hitfinder index` learns it.
Where the right orientation is not found, it is judged too: if it is better than what was found, the
search lost it; if not, the counts do not tell it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hitfinder.crystal.lattice import Lattice, lattice_of
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.indexing.batch import LEAST_SCORE
from hitfinder.indexing.indexer import Indexer
from hitfinder.indexing.known.background import background_image
from hitfinder.indexing.known.chance import scrambled
from hitfinder.indexing.known.crystal import KnownCrystal
from hitfinder.indexing.known.rating import rated
from hitfinder.indexing.known.search import Hypothesis, search
from hitfinder.job.indexing.by_pixels import is_sure
from hitfinder.job.indexing.pixels import CHANCE_FRAMES, Judge
from hitfinder.suite import finders, peers, simulated
from hitfinder.suite.condition import Frames
from hitfinder.suite.measure import rate
from inputs import PEERS, condition
from report import RESULTS, results_header, write_json

SCALES = {1: (0.01, 0.003), 100: (0.01, 0.003), 2000: (0.03, 0.01)}
LEAST_PEAKS, TRUE_PHOTONS = 5, 3
RIGHT_DEG = 1.5
KNOWN, FALSE_SHARE = ("structure", "cell"), 0.01
STRENGTHS = np.geomspace(3, 3000, 19)
"""Bragg photons of a crystal, on average over orientations, that are tried in its true one."""

OTHER_LISTS = [
    dataclasses.replace(
        finders.NETWORK,
        name=f"network, probability {least}",
        settings=(FinderSettings(peak_probability=least),),
    )
    for least in (0.9, 0.05)
]

Points = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Exhaustive:
    """Finds the orientation of a crystal whose cell is known.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Columns a*, b*, c* of the unturned crystal, in Å⁻¹.
    tried : ndarray of float32, shape (n, 3, 3)
        Orientations to try.
    """

    reciprocal: Points
    tried: NDArray[np.float32]

    REFINED, NEAR, NEAR_AT_LAST = 400, 0.3, 0.12
    ROUNDS = (0.35, 0.3, 0.25, 0.2, 0.15, 0.15, 0.15)

    @staticmethod
    def of(lattice: Lattice, n: int) -> Exhaustive:
        """Prepare for a crystal, to try `n` random orientations."""
        tried = Rotation.random(n, random_state=1).as_matrix().astype(np.float32)
        return Exhaustive(lattice.cell.reciprocal, tried)

    def index(self, vectors: Points) -> Points | None:
        """Return the crystal's reciprocal axes; None from too few peaks.

        Parameters
        ----------
        vectors : ndarray, shape (n, 3)
            Scattering vectors of the peaks, in Å⁻¹.
        """
        if len(vectors) < LEAST_PEAKS:
            return None
        inverse = np.linalg.inv(self.reciprocal)
        h = (inverse.astype("f4") @ self.tried.transpose(0, 2, 1)) @ vectors.T.astype("f4")
        fit = _nearness(np.abs(h - np.rint(h)).max(axis=1), self.NEAR)
        best = np.argpartition(-fit, self.REFINED)[: self.REFINED]
        refined = [self._refined(self.tried[k].astype(float), vectors, inverse) for k in best]
        best_turn = max(refined, key=lambda turn: self._fit(turn, vectors, inverse))
        return best_turn @ self.reciprocal

    def _fit(self, turn: Points, vectors: Points, inverse: Points) -> float:
        h = vectors @ (turn @ inverse.T)
        return float(_nearness(np.abs(h - np.rint(h)).max(axis=1), self.NEAR_AT_LAST))

    def _refined(self, turn: Points, vectors: Points, inverse: Points) -> Points:
        """Turn the crystal so that the peaks that are near whole indices come nearer.

        The best rotation between two sets of vectors: W. Kabsch, Acta Cryst. A32, 922 (1976).
        """
        for near in self.ROUNDS:
            h = vectors @ (turn @ inverse.T)
            whole = np.rint(h)
            use = (np.abs(h - whole).max(axis=1) < near) & whole.any(axis=1)
            if use.sum() < 3:
                return turn
            ideal = whole[use] @ self.reciprocal.T
            weight = 1 / np.linalg.norm(ideal, axis=1, keepdims=True)
            u, _, v = np.linalg.svd((vectors[use] * weight).T @ ideal)
            turn = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        return turn


def _nearness(distance: NDArray[np.floating], reach: float) -> NDArray[np.floating]:
    return np.clip(1 - (distance / reach) ** 2, 0, None).sum(axis=-1)


def lists(frames: Frames, index: int) -> Iterator[tuple[str, str, Points]]:
    """Yield finder, setting and peaks (fs, ss, probability) of a frame."""
    frame, geometry = np.array(frames.frames[index]), frames.geometry(index)
    for finder in (*finders.finders(), *OTHER_LISTS):
        found = finder.processor(geometry, 0)(frame).peaks
        columns = [found[name] for name in ("fs", "ss", "probability")]
        yield finder.name, "default", np.stack(columns, 1).astype(float)
    for name in peers.names(PEERS) if PEERS.is_dir() else ():
        answer = peers.read(PEERS, name, frames)
        for k, peaks in enumerate(answer.peaks if answer else ()):
            yield name, str(k), _without_probability(peaks[index][:, :2])
    spots = frames.spots(index)
    spots = spots[spots["photons"] >= TRUE_PHOTONS]
    true = np.stack([spots["fs"], spots["ss"]], 1)
    yield "true spots", f"{TRUE_PHOTONS} photons", _without_probability(true)


def _without_probability(places: Points) -> Points:
    return np.column_stack([places, np.full(len(places), np.nan)])


def judged(shots: int, n_orientations: int) -> list[dict[str, Any]]:
    """Count the frames indexed right, by Bragg scale, finder and indexer."""
    frames = condition(f"flux-{shots}")
    c = frames.condition
    maker = simulated.SimulatedCondition(
        simulated.flux_condition(shots), simulated.flux_settings(shots)
    )
    lattice = lattice_of(maker.factors.cell, maker.factors.space_group_name)
    exhaustive, own = Exhaustive.of(lattice, n_orientations), _own(lattice, frames.geometry(0))
    told: dict[tuple[float, str, str], list[Any]] = collections.defaultdict(list)
    for index in range(c.n_hits):
        scale = c.scales[index % len(c.scales)]
        if scale not in SCALES[shots]:
            continue
        axes = maker.axes(index)
        for name, setting, peaks in lists(frames, index):
            q = frames.geometry(index).scattering_vectors(*peaks[:, :2].T)
            theirs, found = exhaustive.index(q), own.index(q, peaks[:, 2])
            right = [
                one is not None and lattice.angle_deg(one, axes) < RIGHT_DEG
                for one in (theirs, None if found is None else found.axes)
            ]
            sure = found is not None and found.score >= LEAST_SCORE
            told[scale, name, setting].append((*right, sure, len(peaks)))
    return [_row(shots, scale, told) for scale in SCALES[shots]]


def _own(lattice: Lattice, geometry: Geometry) -> Indexer:
    longest = float(np.nanmax(geometry.pixels.q)) / (2 * np.pi)
    return Indexer(lattice, longest, geometry.pixel_inv_a)


def _row(shots: int, scale: float, told: dict[tuple[float, str, str], Any]) -> dict[str, Any]:
    """What came out at a Bragg scale: of several settings of a finder the best for each indexer."""
    out: dict[str, dict[str, Any]] = {}
    for (s, name, _), rows in told.items():
        if s != scale:
            continue
        right, own, sure, n = np.array(rows).T
        total, peaks = len(rows), round(float(n.mean()), 1)
        best = out.setdefault(name, {"exhaustive": {"value": -1}, "hitfinder index": {"value": -1}})
        for indexer, good in (("exhaustive", right), ("hitfinder index", own)):
            one = rate(int(good.sum()), total) | {"peaks": peaks}
            if indexer == "hitfinder index":
                one |= {"sure": int((own & sure).sum()), "sure_but_wrong": int((sure & ~own).sum())}
            if one["value"] > best[indexer]["value"]:
                best[indexer] = one
    print(shots, scale, {k: [one["value"] for one in v.values()] for k, v in out.items()})
    return {"shots": shots, "scale": scale, "finders": out}


def by_pixels(shots: int, known: str) -> list[dict[str, Any]]:
    """Count the frames indexed right from all their pixels, by Bragg scale."""
    condition = simulated.flux_condition(shots)
    maker = simulated.SimulatedCondition(condition, simulated.flux_settings(shots))
    geometry, factors = maker.geometry(), maker.factors
    lattice = lattice_of(factors.cell, factors.space_group_name)
    told = factors if known == "structure" else None
    crystal, finder = KnownCrystal.of(lattice, geometry, factors=told), LikelihoodFinder(geometry)

    def found(frame: NDArray[Any], mixed: int | None = None) -> list[Hypothesis]:
        counts, level = finder.counts_and_background(frame)
        if mixed is not None:
            counts = scrambled(counts, finder.rings, np.random.default_rng(mixed))
        background = background_image(counts, finder.rings, level)
        return rated(crystal, counts, background, search(crystal, counts, background))

    blanks = [found(maker.blank(None, k), k) for k in range(CHANCE_FRAMES)]
    judge = Judge.learnt(lattice, blanks)
    rows = []
    for scale in SCALES[shots]:
        numbers = range(condition.scales.index(scale), condition.n_hits, len(condition.scales))
        right = sure_right = sure_wrong = better = 0
        for number in numbers:
            frame = maker.hit(None, number)[0]
            one = judge.judged(number, found(frame))
            axes = one.orientations[0].turn @ lattice.cell.reciprocal
            good = lattice.angle_deg(axes, maker.axes(number)) < RIGHT_DEG
            sure = is_sure(one, FALSE_SHARE)
            right, sure_right = right + good, sure_right + (sure and good)
            sure_wrong += sure and not good
            if not good:
                true = of_truth(crystal, finder, frame, maker.axes(number), lattice)
                better += true > one.orientations[0].log_ratio
        row = {"shots": shots, "scale": scale, "known": known} | rate(right, len(numbers))
        rows.append(row | {
            "sure": sure_right, "sure_but_wrong": sure_wrong, "lost_by_the_search": better,
        })  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def of_truth(
    crystal: KnownCrystal,
    finder: LikelihoodFinder,
    frame: NDArray[Any],
    axes: Points,
    lattice: Lattice,
) -> float:
    """Log likelihood ratio of the true orientation, at the likeliest strength."""
    counts, level = finder.counts_and_background(frame)
    turn = axes @ np.linalg.inv(lattice.cell.reciprocal)
    tried = [Hypothesis(turn, 0.0, photons) for photons in STRENGTHS]
    background = background_image(counts, finder.rings, level)
    return rated(crystal, counts, background, tried)[0].log_ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orientations", type=int, default=300_000)
    parser.add_argument("--pixels", action="store_true", help="search all pixels instead of peaks")
    parser.add_argument("--known", nargs="+", choices=KNOWN, default=list(KNOWN))
    parser.add_argument("--shots", type=int, nargs="+", default=list(SCALES))
    arguments = parser.parse_args()
    path = RESULTS / "indexing.json"
    if arguments.pixels:
        for known, shots in itertools.product(arguments.known, arguments.shots):
            rows = by_pixels(shots, known)
            before = json.loads(path.read_text())
            kept = [
                row
                for row in before["pixels"]["rows"]
                if (row["known"], row["shots"]) != (known, shots)
            ]
            told = results_header([]) | {"rows": kept + rows}
            write_json(path.name, before | {"pixels": told})
    else:
        rows = [row for shots in SCALES for row in judged(shots, arguments.orientations)]
        write_json(path.name, json.loads(path.read_text()) | results_header([]) | {"rows": rows})


if __name__ == "__main__":
    main()
