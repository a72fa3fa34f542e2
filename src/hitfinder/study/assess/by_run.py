"""What `hitfinder run` answers on shots of the study, at the detector's full size.

The networks of a small study see joined pixels. Here some of its test shots are made again as the
detector would have counted them: the same crystals, orientations, photons and water. They are
searched by the finder and estimated from the water, as in a run, by the frame alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.estimate.estimator import GeometryEstimator
from hitfinder.executors.contract import Executor, results
from hitfinder.finding.contract import Finder
from hitfinder.finding.registry import make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.metrics.comparison import compare
from hitfinder.progress import Advance
from hitfinder.study.assess.metrics import fraction
from hitfinder.study.assess.predictions import LEAST_PHOTONS
from hitfinder.study.dataset.build import MadeFrame, add_counts
from hitfinder.study.dataset.layout import Setting
from hitfinder.study.dataset.maker import SimulatedMaker
from hitfinder.study.dataset.recipe import Recipe
from hitfinder.study.dataset.tree import Tree
from hitfinder.study.networks.attribute import Attribute

FAINT = 0.01
"""Factor on the Bragg photons that parts the frames of extremely low flux in two."""


@dataclasses.dataclass(frozen=True)
class StudyShot:
    """A shot of a tree: a task.

    Attributes
    ----------
    setting : Setting
        Its photon energy and camera length, or their ranges.
    number : int
        Number of the frame in the setting.
    has_peaks : bool
        Whether the pulse meets a crystal.
    """

    setting: Setting
    number: int
    has_peaks: bool

    def __str__(self) -> str:
        return f"frame {self.number} of setting {self.setting.name}"


@dataclasses.dataclass(frozen=True)
class OwnAnswer:
    """What was said of a shot, and the truth.

    Attributes
    ----------
    has_peaks, hit : bool
        Whether there is a crystal, and whether the frame was called a hit.
    bragg_scale : float
        Factor on the Bragg photons.
    n_true, n_matched, n_false : int
        True spots of 8 expected photons and more, those of them that were found, and found peaks
        that are at no true spot.
    true_energy_ev, true_length_m : float
        What the frame's attributes say.
    energy_ev, length_m : float
        Estimated from the water in the frame; NaN if it cannot be.
    """

    has_peaks: bool
    hit: bool
    bragg_scale: float
    n_true: int
    n_matched: int
    n_false: int
    true_energy_ev: float
    true_length_m: float
    energy_ev: float
    length_m: float


def shots_of(tree: Tree, recipe: Recipe, settings: Sequence[Setting]) -> list[StudyShot]:
    """Return the shots of the frames of a tree that was built by a recipe."""
    by_name = {setting.name: setting for setting in settings}
    shots = []
    for index in range(len(tree)):
        part = tree.sets[tree.set_index[index]]
        file = int(part.key.rsplit("_", 1)[1]) - 1
        number = file * recipe.frames_per_file + int(tree.row[index])
        has_peaks = bool(tree.attributes.peak[index] == 1)
        shots.append(StudyShot(by_name[part.setting], number, has_peaks))
    return shots


@dataclasses.dataclass(frozen=True, eq=False)
class ShotWork:
    """The work of making and judging any shot; see `hitfinder.executors.contract.Work`.

    Attributes
    ----------
    recipe : Recipe
        How the frames are made.
    settings : FinderSettings
        How peaks are found.
    """

    recipe: Recipe
    settings: FinderSettings = dataclasses.field(default_factory=FinderSettings)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[StudyShot], OwnAnswer]]:
        """Return a function that makes a shot and says what was found in it."""
        yield _Judge(self.recipe, self.settings).judge


class _Judge:
    """Makes shots and judges them; what a setting needs is kept until the next one."""

    def __init__(self, recipe: Recipe, settings: FinderSettings) -> None:
        self.maker, self.settings = SimulatedMaker(recipe), settings
        self._setting: Setting | None = None
        self._finder: Finder | None = None
        self._estimator: GeometryEstimator | None = None

    def judge(self, shot: StudyShot) -> OwnAnswer:
        finder, estimator = self._tools(shot.setting)
        made = self.maker.frame(shot.setting, shot.number, shot.has_peaks)
        found = finder(add_counts(made.bragg, made.water))
        energy, length = np.nan, np.nan
        if found.counts is not None:
            estimate = estimator.estimate_sums(
                estimator.sums(found.counts, found.lit, found.squares)
            )
            energy, length = estimate.photon_energy_ev, estimate.camera_length_m
        return _answer(made, shot.has_peaks, found.hit, found.peaks, energy, length)

    def _tools(self, setting: Setting) -> tuple[Finder, GeometryEstimator]:
        if self._finder is None or self._estimator is None or self._setting != setting:
            # Of a range the middle is told, as a run without the shot's values would be.
            middle = np.mean(setting.camera_length_m), np.mean(setting.photon_energy_ev)
            geometry = Geometry(self.maker.detector, *map(float, middle))
            self._finder, self._setting = make_finder(geometry, self.settings), setting
            self._estimator = GeometryEstimator(geometry)
        return self._finder, self._estimator


def _answer(
    made: MadeFrame,
    has_peaks: bool,
    hit: bool,
    peaks: NDArray[np.void],
    energy_ev: float,
    length_m: float,
) -> OwnAnswer:
    spots = {name: getattr(made.spots, name) for name in ("fs", "ss", "photons")}
    # A frame that is no hit is handed on without its peaks.
    judged = compare(peaks if hit else peaks[:0], spots, min_photons=LEAST_PHOTONS)
    return OwnAnswer(
        has_peaks,
        bool(hit),
        made.extra["bragg_scale"],
        judged.n_true,
        judged.n_matched,
        judged.n_false,
        made.photon_energy_ev,
        made.camera_length_m,
        energy_ev,
        length_m,
    )


def answers(
    shots: Sequence[StudyShot], recipe: Recipe, executor: Executor, advance: Advance
) -> list[OwnAnswer]:
    """Make the shots at full size and judge them.

    Parameters
    ----------
    shots : sequence of StudyShot
        Which; those of a setting together.
    recipe : Recipe
        Of the study's tree; its pixels are not joined here.
    executor : Executor
        Has the work done.
    advance : Advance
        Told of each shot.
    """
    listed = []
    with executor:
        work = ShotWork(dataclasses.replace(recipe, bin=1))
        for answer in results(executor.run(work, iter(shots), ordered=True)):
            listed.append(answer)
            advance(1)
    return listed


def numbers(
    listed: Sequence[OwnAnswer], classes: Mapping[Attribute, Sequence[float]]
) -> dict[str, Any]:
    """Sum up answers, ready for JSON.

    Parameters
    ----------
    listed : sequence of OwnAnswer
        The answers.
    classes : mapping of sequences of float
        Photon energies (eV) and camera lengths (m) of which the nearest counts as the answer.
    """
    table = {
        field.name: np.array([getattr(answer, field.name) for answer in listed])
        for field in dataclasses.fields(OwnAnswer)
    }
    crystal, faint = table["has_peaks"], table["bragg_scale"] < FAINT
    matched, true, false = (int(table[f"n_{what}"].sum()) for what in ("matched", "true", "false"))
    return {
        "frames": len(listed),
        "found": _share(table["hit"], crystal),
        "found_brighter": _share(table["hit"], crystal & ~faint),
        "found_fainter": _share(table["hit"], crystal & faint),
        "false_hits": _share(table["hit"], ~crystal),
        "recall": fraction(matched, true),
        "precision": fraction(matched, matched + false),
        "photon_energy": _values(
            table["energy_ev"], table["true_energy_ev"], classes["photon_energy"]
        ),
        "camera_length": _values(
            table["length_m"], table["true_length_m"], classes["camera_length"]
        ),
    }


def _share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> dict[str, float | None]:
    return fraction(int((hit & of).sum()), int(of.sum()))


def _values(
    estimated: NDArray[np.float64], truth: NDArray[np.float64], classes: Sequence[float]
) -> dict[str, Any]:
    """Return how often the nearest class is the true one, and the error of what was estimated."""
    values, known = np.asarray(classes), np.isfinite(estimated)
    nearest = [np.abs(values - x).argmin() for x in estimated[known]]
    right = nearest == np.abs(values - truth[known, None]).argmin(axis=1)
    error = estimated[known] - truth[known]
    return {
        "right": fraction(int(np.sum(right)), len(truth)),
        "rms_error": float(np.sqrt(np.mean(error**2))) if known.any() else None,
        "without": int((~known).sum()),
    }
