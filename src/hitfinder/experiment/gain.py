"""Whether stored values are photons, where nothing says how large one is."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError, SourceError
from hitfinder.geometry.detector import Detector
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_FRAMES, _PIXELS = 4, 250_000
"""Frames that are looked at, spread over the source, and pixels of each at most."""

_NOT_WHOLE = 0.01
"""Share of values other than zero that may be no whole numbers."""

_LEAST_PHOTONS = 100
"""Values above the noise from which the size of a photon can be told."""

_CUTS = (6.0, 4.0, 3.0, 2.0, 1.0)
"""Standard deviations of the noise below which values are left out."""

_LEAST_COMB, _LEAST_OF_EXPECTED, _LEAST_SIGNIFICANCE = 0.3, 0.7, 10.0
"""How clear a comb has to be: by itself, beside one of photons with that noise, and its error."""

_MOST_NOISE = 0.33
"""Noise up to which values show the size of a photon, in photons. Beyond, the tails of the noise
draw what is found outwards: to 1.1 photons at a noise of 0.4, to 1.8 at 1."""

_LIKE_ONE = 0.1
"""Relative difference from 1 that passes for the noise of the guess."""

_RARE = 1e-3
"""Share of the values other than zero from which one is taken into account."""

_BELOW, _SIZES_BELOW = 0.02, 4
"""Share of values below zero, and how many different ones, that make them noise."""

_ONE_SIDE, _MUCH_LIGHT = 0.05, 1.25
"""Share of values below zero that tells the noise of those without a photon, and by how much more
all values differ where light makes them."""

_APART = 8
"""Pixels between two that are compared: neighbours may share the charge of a photon."""

_LEAST_LIT, _MOST_OF_PAIRS, _LEAST_PAIRS = 0.05, 0.95, 2000
"""Share of pairs that have photons, share that is looked at, and how many are needed."""

_SPREADS = 0.6, 1.5
"""How much photon counts may differ of what they should: response that varies adds to it."""


def check_gain(source: FrameSource, detector: Detector) -> None:
    """Look whether floating-point values count photons, where no gain was given.

    Whole numbers are taken to, unless all are multiples of another than 1, or many are below zero,
    as with read-out noise. Otherwise the size of a photon is looked for in the values.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    detector : Detector
        Panels and mask.

    Raises
    ------
    GeometryError
        If a photon is another number than 1, telling which.
    """
    if source.dtype.kind != "f":
        _check_whole(source, detector)
        return
    values = sample(source, detector)
    other = values[values != 0]
    if not other.size or np.mean(np.abs(other - np.rint(other)) > 1e-3) <= _NOT_WHOLE:
        return
    file, photon = source.ref(0).file, photon_value(sample(source, detector, level=True))
    what = "the values are no whole numbers, and nothing says how large a photon is"
    if photon is None:
        log.warning(
            "%s: %s, nor do they show it: they are taken for photons; give --adu-per-photon",
            *(file, what),
        )
    elif abs(photon - 1) > _LIKE_ONE:
        hint = f"Give --adu-per-photon {photon:.3g}, or 1 if the values are photons."
        raise GeometryError(f"{what}; their histogram says about {photon:.3g}", file, hint)


def _check_whole(source: FrameSource, detector: Detector) -> None:
    """Look whether whole numbers count something else than photons.

    Raises
    ------
    GeometryError
        If they do, telling what.
    """
    # Most detectors count, which one frame tells.
    for most in (1, None):
        values = sample(source, detector, most)
        step = _common_step(values)
        noisy = _has_noise(values)
        if step == 1 and not noisy:
            return
    file = source.ref(0).file
    if step > 1:
        hint = f"Give --adu-per-photon {step}, or 1 if the values are photons."
        raise GeometryError(f"all values are multiples of {step}", file, hint)
    photon, what = photon_value(values), "values are spread about zero, as by read-out noise"
    if photon is None:
        log.warning("%s: %s, but taken for photons; give --adu-per-photon", file, what)
    elif abs(photon - 1) > _LIKE_ONE:
        hint = f"Give --adu-per-photon {photon:.3g}, or 1 if the values are photons."
        raise GeometryError(f"{what}; their histogram says a photon is {photon:.3g}", file, hint)


def _common_step(values: NDArray[np.float64]) -> int:
    """Return the largest number that values are multiples of, but for rare ones."""
    lit = values[values > 0].astype(np.int64)
    if lit.size < _LEAST_PHOTONS:
        return 1
    found, times = np.unique(lit, return_counts=True)
    common = found[times >= _RARE * lit.size]
    return int(np.gcd.reduce(common)) if common.size > 1 else 1


def _has_noise(values: NDArray[np.float64]) -> bool:
    """Whether so many values are below zero, of so many sizes, that they are no marks of pixels."""
    below = values[values < 0]
    return below.size > _BELOW * values.size and np.unique(below).size >= _SIZES_BELOW


def spread(photons: FrameSource, detector: Detector) -> float | None:
    """Tell how much values differ a few pixels apart, as a multiple of what photon counts do.

    Of two counts of the same expectation with the sum n, the squared difference is n on average,
    whatever n is. Pairs with the largest sums, which Bragg spots may be part of, are left out.

    Parameters
    ----------
    photons : FrameSource
        Frames in photons.
    detector : Detector
        Panels and mask.

    Returns
    -------
    float or None
        None if too few pixels have photons.
    """
    good, ratios = ~detector.full_mask, []
    step = max(1, good.size // _PIXELS)
    for frame in _some_frames(photons):
        unread = np.iinfo(frame.dtype).max if frame.dtype.kind in "iu" else np.inf
        for panel in detector:
            rows = frame[panel.slices][::step]
            usable = good[panel.slices][::step] & (rows >= 0) & (rows < unread)
            pairs = np.where(usable, rows, np.nan).astype(np.float64)
            one, other = pairs[:, :-_APART], pairs[:, _APART:]
            total = one + other
            both = np.isfinite(total)
            if not both.any() or np.mean(total[both] > 0) < _LEAST_LIT:
                continue
            most = np.quantile(total[both], _MOST_OF_PAIRS)
            used = both & (total > 0) & (total <= most)
            ratios.append(((one - other)[used]) ** 2 / total[used])
    found = np.concatenate([np.empty(0), *ratios])
    return float(found.mean()) if found.size >= _LEAST_PAIRS else None


def counts_doubt(photons: FrameSource, detector: Detector) -> str:
    """Say why values cannot be photon counts; empty if they can.

    All are multiples of a number, or they differ by more or by less than counts do.
    """
    values = sample(photons, detector)
    step = _common_step(values) if (values == np.rint(values)).all() else 1
    if step > 1:
        return f"all values are multiples of {step}: is that one photon? See --adu-per-photon"
    found = spread(photons, detector)
    if found is None or _SPREADS[0] <= found <= _SPREADS[1]:
        return ""
    told = f"values a few pixels apart differ {found:.2g} times as much as photon counts would"
    if found > 1:
        return f"{told}: is a photon another number than 1? See --adu-per-photon"
    return f"{told}: is there a pedestal in them, or are they averages? Hits cannot be trusted"


def sample(
    source: FrameSource, detector: Detector, most: int | None = None, *, level: bool = False
) -> NDArray[np.float64]:
    """Return values of good pixels from some frames that can be read.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    detector : Detector
        Panels and mask.
    most : int, optional
        Frames, at most.
    level : bool
        Take the commonest value of panels and frames away, if their median is within the noise:
        where most pixels have no photon, it is the offset of a common mode.

    Returns
    -------
    ndarray of float64
        Without those at the top of an integer type, which are no readings.
    """
    taken, good = [np.empty(0)], ~detector.full_mask
    step = max(1, int(good.sum()) // _PIXELS)
    for frame in _some_frames(source, most):
        for panel in detector:
            values = frame[panel.slices][good[panel.slices]][::step]
            if values.dtype.kind in "iu":
                values = values[values != np.iinfo(values.dtype).max]
            values = values[np.isfinite(values)].astype(np.float64)
            taken.append(values)
    return np.concatenate(_levelled(taken) if level else taken)


def _levelled(parts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Take away the commonest value of each part whose median is within its noise."""
    levelled = []
    for part in parts:
        middle = float(np.median(part)) if part.size else np.inf
        dark = abs(middle) < np.inf and abs(middle) <= _noise(part, middle)
        levelled.append(part - _commonest(part) if dark else part)
    return levelled


def _commonest(values: NDArray[np.float64]) -> float:
    """Return the half-sample mode (Robertson and Cryer, J. Am. Stat. Assoc. 69, 1012 (1974))."""
    ordered = np.sort(values)
    while ordered.size > max(values.size // 20, 10):
        half = ordered.size // 2
        start = int((ordered[half:] - ordered[: ordered.size - half]).argmin())
        ordered = ordered[start : start + half]
    return float(ordered.mean())


def _noise(values: NDArray[np.floating], middle: float) -> float:
    """Return the standard deviation of the noise of values, most of which are nothing else."""
    return 1.4826 * float(np.median(np.abs(values - middle)))


def _some_frames(source: FrameSource, most: int | None = None) -> Iterator[NDArray]:
    """Yield those of some frames that can be read; the source itself stays unread."""
    with copy.deepcopy(source) as frames:
        for index in sampled(frames)[:most]:
            try:
                frame = frames.read(index)
            except SourceError:
                continue
            yield frame


def sampled(source: FrameSource) -> list[int]:
    """Return the numbers of some frames, spread over a source."""
    return np.unique(np.linspace(0, len(source) - 1, _FRAMES).astype(int)).tolist()


def photon_value(values: NDArray[np.floating]) -> float | None:
    """Tell how large one photon is in stored values most of which are none.

    What the values have on the positive side of their noise, and not on the negative, are photons.
    These are whole multiples of the number g for which the mean of cos(2π v / g) is the largest;
    noise of a standard deviation s lowers it to exp(-2 (π s / g)²). How much of the noise had
    better be left out depends on its size and on the number of photons: what shows best is taken.

    Parameters
    ----------
    values : ndarray
        Values of pixels, noise and all.

    Returns
    -------
    float or None
        None if the values do not show it, or noise hides it.
    """
    middle = float(np.median(values))
    noise = _noise(values, middle)
    below = values[values < 0]
    dark = _noise(below, 0.0) if below.size > _ONE_SIDE * values.size else noise
    much_light = noise > _MUCH_LIGHT * dark
    if much_light:
        noise = dark
    elif abs(middle) > noise:
        return None  # most pixels have photons
    significance, photon = max(_comb(values, noise, k * noise) for k in _CUTS)
    if significance <= _LEAST_SIGNIFICANCE:
        return None
    # Noise draws the teeth of the comb outwards, but not the first peak.
    edges, centres = np.linspace(0, 2 * photon, 401), np.linspace(0, 2 * photon, 801)[1::2]
    heights = np.histogram(values, edges)[0] - np.histogram(-values, edges)[0]
    for _ in range(3):
        near = np.abs(centres - photon) < 0.4 * photon
        photon = float(np.average(centres[near], weights=np.maximum(heights[near], 0) + 1e-9))
    if noise > _MOST_NOISE * photon:
        return None
    if much_light:
        # Then some pixels have two photons, and fewer have one and a half.
        valley, second = (np.mean(np.abs(values / photon - at) < 0.15) for at in (1.5, 2.0))
        return photon if valley < second else None
    return photon


def _comb(values: NDArray[np.floating], noise: float, cut: float) -> tuple[float, float]:
    """Return how much a comb stands out of its error, and the distance of its teeth."""
    photons, mirrored = values[values > max(cut, 1e-6)], -values[values < -max(cut, 1e-6)]
    excess = photons.size - mirrored.size
    if excess < _LEAST_PHOTONS:
        return 0.0, 0.0
    joined = np.concatenate([photons, mirrored])
    order = joined.argsort()
    counted = np.cumsum(np.repeat([1, -1], [photons.size, mirrored.size])[order])
    middle = float(joined[order][np.argmax(counted >= excess / 2)])
    lowest, highest = max(2 * noise, middle / 20), 1.5 * middle
    if not lowest < highest:
        return 0.0, 0.0
    edges = np.linspace(0, np.quantile(photons, 0.99), 4097)
    heights = np.histogram(photons, edges)[0] - np.histogram(mirrored, edges)[0]
    centres = (edges[1:] + edges[:-1]) / 2
    tried = np.geomspace(lowest, highest, 600)
    comb = np.array([heights @ np.cos(2 * np.pi * centres / g) for g in tried])
    best = int(comb.argmax())
    expected = excess * np.exp(-2 * (np.pi * noise / tried[best]) ** 2)
    if comb[best] < max(_LEAST_COMB * excess, _LEAST_OF_EXPECTED * expected):
        return 0.0, 0.0
    return float(comb[best] / np.sqrt(joined.size)), float(tried[best])
