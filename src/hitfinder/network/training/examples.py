"""Candidates of training frames with the truth about each, as arrays."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hitfinder.executors.choose import executor_for
from hitfinder.executors.contract import results
from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.network.channels import radial_direction
from hitfinder.network.crops import crops_of
from hitfinder.network.training.experiment import EDGE_PX, draw_experiment
from hitfinder.network.training.frames import BLANK_SHARE, TrainingFrame, draw_frame

FRAMES_PER_EXPERIMENT = 12
LEAST_SHARE = 0.3
"""Share of a candidate's photons that must be Bragg photons for it to be a true peak."""

LABEL_DTYPE = np.dtype(
    [
        ("true", "?"),
        ("d_fs", "f4"),
        ("d_ss", "f4"),
        ("photons", "f4"),
        ("found_photons", "f4"),
        ("log_p", "f4"),
        ("texture", "f4"),
        ("inside", "f4"),
    ]
)
"""Whether a candidate is a Bragg peak; where the spot is from the middle of the crop's middle
pixel (pixels) and its photons; what the finder says of it; the texture of its frame; see
`hitfinder.finding.result.Proposal.inside`."""

FRAME_DTYPE = np.dtype(
    [
        ("background", "f4"),
        ("n_chance", "f4"),
        ("n_read", "i4"),
        ("texture", "f4"),
        ("hit", "?"),
        ("n", "i4"),
    ]
)
"""Mean background (photons per pixel), chance candidates expected, pixels with a reading, texture,
whether there are Bragg photons, and the candidates taken, of a frame."""

_NEAR_PX = 4.0
_REACH_PX = 1.5


@dataclasses.dataclass(frozen=True)
class Sample:
    """What frames to draw and what to take of them.

    Parameters
    ----------
    blank_share : float
        Share of frames without a crystal.
    most : int, optional
        Candidates taken of one frame, at most; all by default.
    edge_px : tuple of int
        Range of the sides of the frames.
    """

    blank_share: float
    most: int | None
    edge_px: tuple[int, int]


LEARNT = Sample(BLANK_SHARE, 60, EDGE_PX)
"""What the network learns from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Candidates and what they are.

    Attributes
    ----------
    counts : ndarray of int16, shape (n, SIZE, SIZE)
        -1 where there is no reading.
    background : ndarray of float32, shape (n, SIZE, SIZE)
        Expected photons.
    direction : ndarray of float32, shape (n, 2)
        See `hitfinder.network.channels.radial_direction`.
    labels : structured ndarray of `LABEL_DTYPE`, shape (n,)
        The truth.
    frames : structured ndarray of `FRAME_DTYPE`
        The frames they are from, in order; some have none.
    """

    counts: NDArray[np.int16]
    background: NDArray[np.float32]
    direction: NDArray[np.float32]
    labels: NDArray[np.void]
    frames: NDArray[np.void]

    @property
    def frame(self) -> NDArray[np.intp]:
        """Place of each candidate's frame in `frames`."""
        return np.repeat(np.arange(len(self.frames)), self.frames["n"])

    def __len__(self) -> int:
        return len(self.labels)

    @staticmethod
    def joined(parts: list[Examples]) -> Examples:
        """Put parts together."""
        names = [field.name for field in dataclasses.fields(Examples)]
        return Examples(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def draw_examples(seed: int, number: int, sample: Sample = LEARNT) -> Examples:
    """Candidates of all frames of one experiment, which `seed` and `number` fix."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    experiment = draw_experiment(rng, sample.edge_px)
    finder = LikelihoodFinder(experiment.assumed)
    parts = []
    for _ in range(FRAMES_PER_EXPERIMENT):
        frame = draw_frame(experiment, rng, sample.blank_share)
        parts.append(_of_frame(frame, finder, rng, sample.most))
    return Examples.joined(parts)


def _of_frame(
    frame: TrainingFrame, finder: LikelihoodFinder, rng: np.random.Generator, most: int | None
) -> Examples:
    proposed = finder.propose(frame.counts)
    peaks = proposed.peaks
    counts, background = crops_of(proposed, finder.rings)
    keep = np.arange(len(peaks))
    if most is not None and len(keep) > most:
        keep = np.sort(rng.choice(keep, most, replace=False))
    peaks = peaks[keep]
    labels = label(peaks, frame)
    labels["texture"], labels["inside"] = proposed.texture, proposed.inside[keep]
    found = finder.result(proposed, peaks[:0], 0.0)
    about = (found.background_per_pixel, proposed.n_chance, proposed.n_read, proposed.texture,
             frame.bragg.any(), len(keep))  # fmt: skip
    i, j = peaks["ss"].astype(int), peaks["fs"].astype(int)
    return Examples(
        np.minimum(counts[keep], np.iinfo(np.int16).max).astype(np.int16),
        background[keep],
        radial_direction(*finder.geometry.pixels.at(i, j)),
        labels,
        np.array([about], FRAME_DTYPE),
    )


def label(peaks: NDArray[np.void], frame: TrainingFrame) -> NDArray[np.void]:
    """Say which candidates of a frame are Bragg peaks, and of which spot."""
    out = np.zeros(len(peaks), LABEL_DTYPE)
    out["found_photons"], out["log_p"] = peaks["photons"], peaks["log_p"]
    i, j = peaks["ss"].astype(int), peaks["fs"].astype(int)
    padded = np.pad(frame.bragg, 2)
    own = sum(padded[i + a, j + b].astype(np.int64) for a in range(5) for b in range(5))
    out["true"] = (own >= 2) & (own >= LEAST_SHARE * peaks["photons"])
    out["photons"] = own
    if len(frame.spots) and len(peaks):
        # Of the spots nearby, the one most of the photons are likely of.
        tree = cKDTree(frame.spots[:, :2])
        for c in np.flatnonzero(out["true"]):
            near = tree.query_ball_point((peaks["fs"][c], peaks["ss"][c]), _NEAR_PX)
            if near:
                spots = frame.spots[near]
                squared = (spots[:, 0] - peaks["fs"][c]) ** 2 + (spots[:, 1] - peaks["ss"][c]) ** 2
                spot = spots[np.argmax(spots[:, 2] * np.exp(-squared / (2 * _REACH_PX**2)))]
                out["d_fs"][c] = spot[0] - (j[c] + 0.5)
                out["d_ss"][c] = spot[1] - (i[c] + 0.5)
                out["photons"][c] = spot[2]
            else:
                # The far end of a long streak: nothing is learnt of its position.
                out["d_fs"][c] = out["d_ss"][c] = np.nan
    return out


class ExperimentNumber(int):
    """Number of an experiment to draw: a task."""

    def __str__(self) -> str:
        return f"experiment {int(self)}"


@dataclasses.dataclass(frozen=True)
class ExampleWork:
    """The work of drawing any experiment; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    seed : int
        Fixes all experiments.
    sample : Sample
        What frames to draw and what to take of them.
    """

    seed: int
    sample: Sample

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[ExperimentNumber], Examples]]:
        """Return a function that draws the examples of an experiment."""
        yield lambda number: draw_examples(self.seed, number, self.sample)


def simulate_examples(
    seed: int, numbers: range, n_workers: int, sample: Sample = LEARNT
) -> Iterator[Examples]:
    """Yield the examples of experiment after experiment, the same for any number of workers.

    Parameters
    ----------
    seed : int
        Fixes everything.
    numbers : range
        Which experiments of `FRAMES_PER_EXPERIMENT` frames.
    n_workers : int
        Processes.
    sample : Sample
        What frames to draw and what to take of them.
    """
    if not numbers:
        return
    work, tasks = ExampleWork(seed, sample), map(ExperimentNumber, numbers)
    with executor_for(n_workers) as executor:
        yield from results(executor.run(work, tasks, ordered=True))
