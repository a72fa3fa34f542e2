"""What the peaks are good for: how many hits have their orientation found from them.

The suite's frames of proteinase K (flux-1, -100, -2000) are indexed from the peaks of each finder:
ours at their defaults, and the network with a stricter list as well; peers at each of their tuned
settings, of which the best is taken; and from the true spots of three photons and more. The
indexer is the same for all and exhaustive: the cell is known, and of very many orientations the one
is taken, after refinement, that brings most peaks near whole indices. A frame is right if it is
within 1.5° of the truth, up to the crystal's symmetry.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.evaluate.suite import finders, peers, simulated
from hitfinder.evaluate.suite.condition import Frames
from hitfinder.evaluate.suite.measure import rate
from hitfinder.geometry.experiment import Geometry
from hitfinder.inference.settings import FinderSettings
from inputs import PEERS, condition
from report import results_header, write_json

SCALES = {1: (0.01, 0.003), 100: (0.01, 0.003), 2000: (0.03, 0.01)}
LEAST_PEAKS, TRUE_PHOTONS = 5, 3
RIGHT_DEG = 1.5

STRICT = dataclasses.replace(
    finders.NETWORK,
    name="network, probability 0.9",
    settings=(FinderSettings(peak_probability=0.9),),
)

Points = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Indexer:
    """Finds the orientation of a crystal whose cell is known.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Columns a*, b*, c* of the unturned crystal, in Å⁻¹.
    symmetry : ndarray, shape (n, 3, 3)
        Rotations of its point group.
    tried : ndarray of float32, shape (n, 3, 3)
        Orientations to try.
    """

    reciprocal: Points
    symmetry: Points
    tried: NDArray[np.float32]

    REFINED, NEAR, NEAR_AT_LAST = 400, 0.3, 0.12
    ROUNDS = (0.35, 0.3, 0.25, 0.2, 0.15, 0.15, 0.15)

    @staticmethod
    def of(factors: StructureFactors, n: int) -> Indexer:
        """Prepare for a crystal, to try `n` random orientations."""
        reciprocal = factors.cell.reciprocal
        direct = np.linalg.inv(reciprocal).T
        operations = gemmi.SpaceGroup(factors.space_group_name).operations().sym_ops
        turns = [np.array(op.rot, float) / op.DEN for op in operations]
        symmetry = np.array([direct @ turn @ np.linalg.inv(direct) for turn in turns])
        tried = Rotation.random(n, random_state=1).as_matrix().astype(np.float32)
        return Indexer(reciprocal, symmetry, tried)

    def index(self, vectors: Points) -> Points | None:
        """Return the rotation of the crystal; None from too few peaks.

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
        return max(refined, key=lambda turn: self._fit(turn, vectors, inverse))

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

    def is_right(self, turn: Points | None, axes: Points) -> bool:
        """Whether a rotation gives these reciprocal axes, up to symmetry."""
        if turn is None:
            return False
        true = axes @ np.linalg.inv(self.reciprocal)
        off = np.trace(true.T @ turn @ self.symmetry, axis1=1, axis2=2)
        return bool(np.degrees(np.arccos(np.clip((off.max() - 1) / 2, -1, 1))) < RIGHT_DEG)


def _nearness(distance: NDArray[np.floating], reach: float) -> NDArray[np.floating]:
    return np.clip(1 - (distance / reach) ** 2, 0, None).sum(axis=-1)


def scattering(geometry: Geometry, fs: Points, ss: Points) -> Points:
    """Return the scattering vectors of positions on a detector of one panel, in Å⁻¹."""
    panel = geometry.detector.panels[0]
    place = np.stack(panel.positions(fs, ss, geometry.camera_length_m), axis=-1)
    out = place / np.linalg.norm(place, axis=1, keepdims=True)
    return (out - [0, 0, 1]) / geometry.wavelength_a


def lists(frames: Frames, index: int) -> Iterator[tuple[str, str, Points]]:
    """Yield finder, setting and peaks (fs, ss in the first columns) of a frame."""
    frame, geometry = np.array(frames.frames[index]), frames.geometry(index)
    for finder in (*finders.finders(), STRICT):
        found = finder.processor(geometry, 0).process(frame).peaks
        yield finder.name, "default", np.stack([found["fs"], found["ss"]], 1)
    for name in peers.names(PEERS) if PEERS.is_dir() else ():
        answer = peers.read(PEERS, name, frames)
        for k, peaks in enumerate(answer.peaks if answer else ()):
            yield name, str(k), peaks[index][:, :2]
    spots = frames.spots(index)
    spots = spots[spots["photons"] >= TRUE_PHOTONS]
    yield "true spots", f"{TRUE_PHOTONS} photons", np.stack([spots["fs"], spots["ss"]], 1)


def judged(shots: int, n_orientations: int) -> list[dict[str, Any]]:
    """Count the frames indexed right, by Bragg scale and finder."""
    frames = condition(f"flux-{shots}")
    c = frames.condition
    maker = simulated.Maker(simulated.flux_condition(shots), simulated.flux_settings(shots))
    indexer = Indexer.of(maker.factors, n_orientations)
    right: dict[tuple[float, str, str], list[tuple[bool, int]]] = collections.defaultdict(list)
    for index in range(c.n_hits):
        scale = c.scales[index % len(c.scales)]
        if scale not in SCALES[shots]:
            continue
        for name, setting, peaks in lists(frames, index):
            turn = indexer.index(scattering(frames.geometry(index), *peaks.T))
            known = indexer.is_right(turn, maker.axes(index))
            right[scale, name, setting].append((known, len(peaks)))
    out = []
    for scale in SCALES[shots]:
        by_finder: dict[str, tuple[int, float, int]] = {}
        for (s, name, _), told in right.items():
            if s == scale:
                one = sum(known for known, _ in told), float(np.mean([n for _, n in told]))
                by_finder[name] = max(by_finder.get(name, (0, 0.0, len(told))), (*one, len(told)))
        row = {n: rate(k, total) | {"peaks": round(p, 1)} for n, (k, p, total) in by_finder.items()}
        print(shots, scale, {name: (one["value"], one["peaks"]) for name, one in row.items()})
        out.append({"shots": shots, "scale": scale, "finders": row})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orientations", type=int, default=300_000)
    arguments = parser.parse_args()
    rows = [row for shots in SCALES for row in judged(shots, arguments.orientations)]
    write_json("indexing.json", results_header([]) | {"rows": rows})


if __name__ == "__main__":
    main()
