"""The check that a finder keeps its contract, for ours and for those of others."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hitfinder.contracts import BrokenContractError, require, requires
from hitfinder.finding.contract import Finder
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry

BACKGROUND, SPOT_PHOTONS = 0.05, 400
"""Photons per pixel of the background, and on each of the 3 × 3 pixels of a spot, of the frames
that a finder is tried on."""

N_SPOTS, _SOME = 12, 3
_MARGIN, _NEAR_PX = 4, 2.5
_LARGEST_ERROR_PX = 0.35


def check_finder(
    build: Callable[[Geometry, FinderSettings], Finder],
    geometry: Geometry,
    settings: FinderSettings | None = None,
) -> None:
    """Check that a finder can be used wherever hitfinder uses one.

    It need not find anything. If it finds the bright spots of the frames that it is tried on, they
    must be where they are: the first pixel's centre at (0.5, 0.5), fs before ss.

    Parameters
    ----------
    build : callable
        The finder's class.
    geometry : Geometry
        Of the frames to try it on, 24 pixels or more along each edge.
    settings : FinderSettings, optional
        To build it with.

    Raises
    ------
    hitfinder.contracts.BrokenContractError
        If it does not keep `hitfinder.finding.contract.Finder`, saying how.
    """
    settings = settings or FinderSettings()
    with requires("building the finder"):
        finder = build(geometry, settings)
    require(isinstance(finder, Finder), "a finder can be called with a frame and a mask")
    _check_attributes(build, finder)
    trial = _Trial(finder, geometry)
    blank, spots = trial.blank(), trial.spots()
    first = trial.find(spots, "a frame with spots")
    _check_places(first, trial.places)
    trial.find(blank, "a blank frame")
    again = trial.find(spots, "the same frame again")
    alike(first, again, "the same frame must give the same, whatever was searched before")
    _check_types(trial, spots, first)
    _check_masks(trial, spots, first)
    trial.check_kept()
    for wrong in (spots[:-1], spots[0]):
        try:
            with requires(f"a frame of shape {wrong.shape}", ValueError):
                finder(wrong)
        except ValueError:
            continue
        raise BrokenContractError(f"a frame of shape {wrong.shape} must raise ValueError")


def alike(one: FrameResult, other: FrameResult, what: str) -> None:
    """Require that two results are the same, but for the frame that they may hold and its sums."""
    for field in dataclasses.fields(one):
        if field.name == "support":
            require(one.support == other.support, f"{what}; support differs")
        elif field.name not in ("counts", "squares"):
            a, b = (np.asarray(getattr(result, field.name)) for result in (one, other))
            same = a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
            require(same, f"{what}; {field.name} differs")


@dataclasses.dataclass(eq=False)
class _Trial:
    """A finder, and frames to try it on."""

    finder: Finder
    geometry: Geometry
    _results: list[tuple[FrameResult, NDArray[np.void], str]] = dataclasses.field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        n_ss, n_fs = self.geometry.shape
        rng = np.random.default_rng(8)
        room = ~self.geometry.detector.full_mask
        self.places: list[tuple[int, int]] = []
        for _ in range(50 * N_SPOTS):
            ss, fs = rng.integers(_MARGIN, n_ss - _MARGIN), rng.integers(_MARGIN, n_fs - _MARGIN)
            around = slice(ss - _MARGIN, ss + _MARGIN + 1), slice(fs - _MARGIN, fs + _MARGIN + 1)
            if len(self.places) < N_SPOTS and room[around].all():
                room[around] = False
                self.places.append((int(ss), int(fs)))

    def check_kept(self) -> None:
        """Check that no result has changed since, whatever was searched after it."""
        for found, before, what in self._results:
            kept = found.peaks.tobytes() == before.tobytes()
            require(kept, f"{what}: its peaks must not change when others are searched")

    def blank(self) -> NDArray[np.uint16]:
        counts = np.random.default_rng(9).poisson(BACKGROUND, self.geometry.shape)
        return counts.astype(np.uint16)

    def spots(self) -> NDArray[np.uint16]:
        frame = self.blank()
        for ss, fs in self.places:
            frame[ss - 1 : ss + 2, fs - 1 : fs + 2] += SPOT_PHOTONS
        return frame

    def find(self, frame: NDArray, what: str, mask: NDArray[np.bool_] | None = None) -> FrameResult:
        """Search a frame, and check what can be checked of any result."""
        given = frame.copy()
        with requires(what):
            found = self.finder(given) if mask is None else self.finder(given, mask)
        require(isinstance(found, FrameResult), f"{what}: a FrameResult is due, got {type(found)}")
        same = np.array_equal(given, frame, equal_nan=frame.dtype.kind == "f")
        require(same, f"{what}: the frame must stay as it is")
        require(found.peaks.dtype == PEAK_DTYPE, f"{what}: peaks are made by peak_table")
        given[:] = 1
        self._results.append((found, found.peaks.copy(), what))
        _check_result(found, self.geometry, what)
        return found


def _check_result(found: FrameResult, geometry: Geometry, what: str) -> None:
    require(isinstance(found.hit, (bool, np.bool_)), f"{what}: hit must be True or False")
    require(math.isfinite(found.score), f"{what}: the score must be finite, is {found.score}")
    n_ss, n_fs = geometry.shape
    fs, ss = found.peaks["fs"], found.peaks["ss"]
    inside = (fs >= 0) & (fs <= n_fs) & (ss >= 0) & (ss <= n_ss)
    require(inside.all(), f"{what}: peaks must lie in the frame, fs up to {n_fs}, ss up to {n_ss}")
    require(found.photons >= 0, f"{what}: photons must not be negative, are {found.photons}")
    for name in ("hit_probability", "probability"):
        values = found.peaks[name] if name == "probability" else np.array([found.hit_probability])
        known = values[np.isfinite(values)]
        require(((known >= 0) & (known <= 1)).all(), f"{what}: {name} must be in 0..1 or NaN")


def _check_attributes(build: object, finder: Finder) -> None:
    options = getattr(build, "OPTIONS", {})
    told = all(isinstance(text, str) for pair in dict(options).items() for text in pair)
    require(told, "OPTIONS must map names of options to what they mean")
    least = getattr(finder, "least_score", 0.0)
    require(isinstance(least, (int, float)), f"least_score must be a number, is {least!r}")
    mark = getattr(finder, "fingerprint", "")
    require(isinstance(mark, str), f"fingerprint must be a string, is {mark!r}")


def _check_places(found: FrameResult, places: list[tuple[int, int]]) -> None:
    """Check the positions of the spots that were found."""
    peaks = np.stack([found.peaks["fs"], found.peaks["ss"]], 1)
    true = np.array([(fs + 0.5, ss + 0.5) for ss, fs in places]).reshape(-1, 2)
    if not (len(peaks) and len(true)):
        return
    error = _nearest(true, peaks)
    seen = np.hypot(*error.T) < _NEAR_PX
    swapped = np.hypot(*_nearest(true[:, ::-1], peaks).T) < _NEAR_PX
    # One or two may lie near spots by chance.
    of_some = min(_SOME, len(places))
    is_swapped = swapped.sum() >= of_some > seen.sum()
    require(not is_swapped, "fs and ss of the peaks are swapped")
    if seen.sum() >= of_some:
        off = np.median(error[seen], axis=0)
        right = np.abs(off).max() <= _LARGEST_ERROR_PX
        require(
            right,
            f"peaks are off by {off[0]:+.2f} (fs) and {off[1]:+.2f} (ss) pixels; the centre of the "
            "first pixel is (0.5, 0.5)",
        )


def _nearest(places: NDArray, peaks: NDArray) -> NDArray:
    """Return the difference of the nearest peak to each place."""
    apart = peaks[None] - places[:, None]
    nearest = np.square(apart).sum(2).argmin(1)
    difference: NDArray = apart[np.arange(len(places)), nearest]
    return difference


def _check_types(trial: _Trial, spots: NDArray, first: FrameResult) -> None:
    """Check that counts mean the same in any type."""
    for dtype in ("u4", "i4", "f4", "f8"):
        found = trial.find(spots.astype(dtype), f"a frame of type {np.dtype(dtype)}")
        message = f"the same counts as {np.dtype(dtype)} must give the same"
        require(found.hit == first.hit and len(found.peaks) == len(first.peaks), message)


def _check_masks(trial: _Trial, spots: NDArray, first: FrameResult) -> None:
    """Check that masked pixels, and those without a reading, give no peaks."""
    n_ss, n_fs = trial.geometry.shape
    mask = np.zeros((n_ss, n_fs), bool)
    mask[:, : n_fs // 2] = True
    unread = {"u2": 65535, "i4": -1, "f4": np.nan}
    tries: list[tuple[NDArray, NDArray[np.bool_] | None, str]]
    tries = [(spots, mask, "a frame half of which is masked")]
    for dtype, value in unread.items():
        frame = spots.astype(dtype)
        frame[mask] = value
        tries.append((frame, None, f"a frame half of which reads {value} ({np.dtype(dtype)})"))
    for frame, given, what in tries:
        found = trial.find(frame, what, given)
        lost = found.peaks["fs"] < n_fs // 2 - _NEAR_PX
        require(not lost.any(), f"{what}: there must be no peak in that half")
    everything = np.ones((n_ss, n_fs), bool)
    nothing = trial.find(spots, "a frame all of which is masked", everything)
    none = not len(nothing.peaks) and not nothing.hit
    require(none, "a frame all of which is masked must be no hit and have no peaks")
    after = trial.find(spots, "a frame after one that was masked")
    alike(first, after, "a mask must hold for its own frame only")
