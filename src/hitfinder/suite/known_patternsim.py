"""Weak frames of CrystFEL's pattern_sim, searched in all pixels by what is known of the crystal.

The Bragg photons of each frame are thinned to some on average, and put over fresh water.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.errors import ConfigError
from hitfinder.simulation.water import expected_water
from hitfinder.suite.known import Progress
from hitfinder.suite.known_crystals import told
from hitfinder.suite.known_search import PixelSearcher
from hitfinder.suite.patternsim import SHOT_PHOTONS, WATER_M, PatternSimFrames
from hitfinder.suite.simulated import shot_text

PHOTONS = {1: (20, 40, 80), 100: (50, 100, 200), 2000: (150, 300, 600)}
"""Bragg photons of a frame, on average, over so many shots of water."""

KNOWN = ("structure", "cell")

_SAME_CELL = 0.02
"""Relative difference of products of reciprocal axes up to which cells are the same."""


@dataclasses.dataclass(frozen=True, eq=False)
class PatternSimPart:
    """Frames of a file under one background, searched by one knowledge of the crystal.

    Attributes
    ----------
    path : Path
        File of Bragg photons with the reciprocal axes, see `hitfinder.suite.patternsim`.
    n : int
        Its frames.
    factors : StructureFactors
        |F|² of the crystal.
    known : str
        One of `KNOWN`.
    shots : int
        Pulses of water.
    photons : tuple of int
        Bragg photons of a frame, on average.
    seed : int
        Fixes what is drawn.
    """

    path: Path
    n: int
    factors: StructureFactors
    known: str
    shots: int
    photons: tuple[int, ...]
    seed: int = 1

    @property
    def name(self) -> str:
        """Name of the background and of what is known."""
        return f"known-sim-{self.shots}-{self.known}"

    @property
    def n_frames(self) -> int:
        """Frames of the file, once for each number of photons."""
        return self.n * len(self.photons)

    def judged(self, progress: Progress) -> dict[str, Any]:
        """Search the frames, and count the orientations that are right.

        Parameters
        ----------
        progress : callable
            Told the number of frames done since the last call.
        """
        bragg = PatternSimFrames(self.path)
        axes, (lattice, factors) = bragg.axes(), told(self.factors, self.known)
        right, seconds = dict.fromkeys(self.photons, 0), []
        for k, geometry in enumerate(bragg.geometries):
            searcher = PixelSearcher.of(lattice, factors, geometry)
            water = expected_water(geometry, self.shots * SHOT_PHOTONS, WATER_M)
            for photons in self.photons:
                rng = np.random.default_rng([self.seed, self.shots, photons, k])
                one = searcher(weak_frame(bragg.counts[k], water, photons, rng))
                right[photons] += searcher.is_right(one.rated, axes[k])
                seconds.append(one.seconds)
                progress(1)
        return {
            "name": self.name,
            "title": f"{shot_text(self.shots)} of water",
            "frames": "pattern_sim",
            "shots": self.shots,
            "known": self.known,
            "of": self.n,
            "right": {str(photons): n for photons, n in right.items()},
            "seconds_a_frame": round(float(np.median(seconds)), 2),
        }


def weak_frame(
    bragg: NDArray[np.integer],
    water: NDArray[np.floating],
    photons: int,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Thin Bragg photons to so many on average, and put them over water.

    Parameters
    ----------
    bragg : ndarray
        Bragg photons of each pixel.
    water : ndarray
        Photons of water expected in each.
    photons : int
        Bragg photons of the frame, on average; all of them if there are fewer.
    rng : numpy.random.Generator
        Source of randomness.
    """
    thinned = rng.binomial(bragg, min(1.0, photons / bragg.sum()))
    return np.asarray(thinned + rng.poisson(water), np.uint16)


def pattern_sim_parts(
    path: str | Path, factors: StructureFactors, quick: bool = False
) -> list[PatternSimPart]:
    """Return the parts with the frames of a file, for every background and all that is known.

    Parameters
    ----------
    path : path-like
        File of Bragg photons, as for `hitfinder.suite.patternsim.recipes`, that also has the
        reciprocal axes ``astar_inv_m``, ``bstar_inv_m`` and ``cstar_inv_m`` of each frame.
    factors : StructureFactors
        |F|² of the crystal.
    quick : bool
        Only the middle number of photons.

    Raises
    ------
    SourceError
        If the file cannot be read or holds something else.
    ConfigError
        If its frames are of another crystal.
    """
    # A worker of a cluster need not be in this folder.
    path = Path(path).absolute()
    axes = PatternSimFrames(path).axes()
    own = factors.cell.reciprocal.T @ factors.cell.reciprocal
    if np.abs(axes.transpose(0, 2, 1) @ axes - own).max() > _SAME_CELL * own.max():
        what = f"holds frames of another crystal than one of {factors.cell}"
        raise ConfigError(what, str(path), "Leave out --structure and --cell, or --pattern-sim.")
    return [
        PatternSimPart(path, len(axes), factors, known, shots, photons[1:2] if quick else photons)
        for shots, photons in PHOTONS.items()
        for known in KNOWN
    ]
