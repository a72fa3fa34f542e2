"""Conditions of measured frames thinned to low doses.

Binomial thinning of the counts of a photon-counting detector gives exactly what a weaker beam would
have given, and the full frame knows where the spots are.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import SourceError
from hitfinder.experiment.open import experiment_of
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.open import open_source
from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe
from hitfinder.suite.fullspots import FullDoseSpots, full_spots, read_seen

POLARISATION = 0.99
"""Fraction polarised along x of a synchrotron's beam."""

TOLERANCE_PX = 4.0
_BEAM_STOP_PX = 50
_HOT_COUNTS = 20


@dataclasses.dataclass(frozen=True)
class Dose:
    """How far a frame is thinned, and what is asked of finders there.

    Parameters
    ----------
    share : float
        Share of the photons that is left.
    min_photons : float
        Photons from which a spot must be found: at low doses hardly any holds 8.
    false_limit : float
        False peaks allowed per frame.
    n_frames : int
        Frames drawn.
    """

    share: float
    min_photons: float
    false_limit: float
    n_frames: int


DOSES = (Dose(0.03, 8.0, 1.0, 20), Dose(0.01, 4.0, 0.4, 32), Dose(0.003, 3.0, 0.1, 40))


class FullFrame:
    """A measured frame at full dose.

    Parameters
    ----------
    path : path-like
        A file that gives the geometry.
    seen : path-like, optional
        Positions at which other finders saw peaks at full dose, see
        `hitfinder.suite.fullspots.read_seen`.
    number : int, optional
        Which of the file's frames; there must be one only if this is not given.

    Raises
    ------
    HitfinderError
        If the file cannot be read, or does not say enough of its geometry.
    """

    def __init__(
        self, path: str | Path, seen: str | Path | None = None, number: int | None = None
    ) -> None:
        self.path, self.number = Path(path), number or 0
        source = open_source([str(path)])
        try:
            if not source.n_readable and source.problems:
                raise source.problems[0]
            if number is None and len(source) != 1:
                raise SourceError("wrong-shape", f"holds {len(source)} frames, not one", str(path))
            experiment = experiment_of(GeometrySettings(polarisation=POLARISATION), None, source)
            data = experiment.source.read(self.number)
        finally:
            source.close()
        detector = experiment.geometry.detector
        mask = detector.full_mask | _unusable(data, detector.beam_center or (np.nan, np.nan))
        detector = dataclasses.replace(detector, mask=mask)
        self.geometry: Geometry = dataclasses.replace(experiment.geometry, detector=detector)
        self.counts: NDArray[np.int64] = np.where(mask, 0, data).astype(np.int64)
        self._seen = read_seen(seen) if seen else {}

    @property
    def name(self) -> str:
        """Name of the file without its suffixes."""
        return self.path.name.split(".")[0]

    @functools.cached_property
    def spots(self) -> FullDoseSpots:
        """The spots at full dose."""
        mask = self.geometry.detector.full_mask
        return full_spots(self.counts, mask, self._seen, TOLERANCE_PX)


def _unusable(data: NDArray, beam: tuple[float, float]) -> NDArray[np.bool_]:
    """Mask what any user masks: the beam stop's edge, and pixels that are hot on their own."""
    ss, fs = np.ogrid[: data.shape[0], : data.shape[1]]
    mask = np.hypot(fs + 0.5 - beam[0], ss + 0.5 - beam[1]) < _BEAM_STOP_PX
    for row, column in np.argwhere(data >= _HOT_COUNTS):
        around = data[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        mask[row, column] |= np.count_nonzero(around > 0) <= 2
    return np.asarray(mask)


def recipes(full: FullFrame, doses: tuple[Dose, ...] = DOSES) -> list[ConditionRecipe]:
    """Return a condition for each dose at which a spot is bright enough to be asked for."""
    certain = full.spots.table["certain"]
    brightest = full.spots.table["photons"][certain].max(initial=0)
    # By chance a spot holds twice what is expected of it.
    some = [dose for dose in doses if 2 * dose.share * brightest >= dose.min_photons]
    return [_recipe(full, dose) for dose in some]


def _recipe(full: FullFrame, dose: Dose) -> ConditionRecipe:
    def hit(rng: np.random.Generator, number: int) -> tuple[NDArray, NDArray]:
        spots = full.spots
        frame = rng.binomial(full.counts, dose.share)
        out = np.zeros(len(spots.table), TRUTH_DTYPE)
        out["fs"], out["ss"] = spots.table["fs"], spots.table["ss"]
        out["photons"] = spots.net_photons(frame, dose.share)
        out["must"] = spots.table["certain"] & (out["photons"] >= dose.min_photons)
        return frame, out

    condition = Condition(
        name=f"{full.name}-{dose.share * 100:g}pc",
        title=f"{full.name} thinned to {dose.share * 100:g} %",
        family="thinned",
        kind="real",
        groups=(f"{dose.share * 100:g} %",),
        n_hits=dose.n_frames,
        n_blanks=0,
        false_limit=dose.false_limit,
        min_photons=dose.min_photons,
        tolerance_px=TOLERANCE_PX,
    )
    return ConditionRecipe(condition, [full.geometry], np.uint8, hit)
