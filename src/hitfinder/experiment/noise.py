"""What some frames of a job tell of the noise of its detector, and what is doubtful about it."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import GeometryError, SourceError
from hitfinder.experiment.gain import counts_doubt, photon_value, sample, sampled
from hitfinder.experiment.photons import PhotonSource
from hitfinder.experiment.zeropeak import MOST_NOISE
from hitfinder.geometry.crystfel import GeomFile
from hitfinder.geometry.detector import Detector
from hitfinder.io.source import FrameSource

log = logging.getLogger(__name__)

_ANOTHER_PHOTON = 0.15
"""Relative difference from the gain from which the frames' own size of a photon contradicts it."""

_LIT_SIGMAS, _MOST_LIT = 3.0, 0.1
"""Share of the pixels above the noise up to which single photons can be told from the values."""

_MUCH_NOISE = 0.5
"""Photons. With more, one photon is not told from none."""

_SPOT_PIXELS, _SURE_SIGMAS = 9, 6.0

_GAIN_BIT, _PEDESTAL, _MORE_THAN_LIGHT = 14, 100.0, 3.0
_STEP_OF_NORMAL = 0.954
"""Median absolute difference of two normal values, over their standard deviation."""
_MOST_WRAPPED, _WRAPPED, _SIZES_WRAPPED = 128.0, 0.02, 8
"""Range below the top of an unsigned type, and share and number of different values there that
make them values below zero: flags are few values."""
_FEW = 0.001
"""Share of the pixels that may read less than a pedestal, as dead ones do."""


@dataclasses.dataclass(frozen=True)
class DetectorNoise:
    """Noise of a detector that does not count, in photons.

    Attributes
    ----------
    sigma, offset : float
        Standard deviation of the noise and what pixels without a photon read, of the panel and
        frame in the middle.
    largest_offset : float
        The offset furthest from 0 of a panel and frame.
    seen : float
        Share of panels and frames that show where zero photons are. In the others the noise is
        taken from those, or from how much neighbours differ.
    """

    sigma: float
    offset: float
    largest_offset: float
    seen: float

    @property
    def told(self) -> str:
        """The noise in words."""
        text = f"noise {self.sigma:.2f} photons"
        if not self.seen:
            return f"{text}, told by how much neighbouring pixels differ; no pixels without photons"
        return (
            f"{text}, offset {_signed(self.offset)}, at most {_signed(self.largest_offset)}; it is "
            "taken away from each panel of each frame"
        )

    @property
    def doubt(self) -> str:
        """What is lost by it; empty if single photons are told from none."""
        if self.sigma <= _MUCH_NOISE:
            return ""
        least = _SURE_SIGMAS * math.sqrt(_SPOT_PIXELS) * self.sigma
        return (
            f"noise of {self.sigma:.2f} photons a pixel hides single photons: a spot of "
            f"{_SPOT_PIXELS} pixels needs about {least:.0f} photons; is the gain right?"
        )


def noise_of(
    source: FrameSource, geom: GeomFile | None, adu_per_photon: float, detector: Detector
) -> DetectorNoise | None:
    """Measure the noise of a detector on some of its frames.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    geom : GeomFile, optional
        Has the values that mark bad pixels.
    adu_per_photon : float
        Stored value of one photon.
    detector : Detector
        Panels and mask.

    Returns
    -------
    DetectorNoise or None
        None if it counts photons.

    Raises
    ------
    GeometryError
        If there is more of it than with any spot to be seen.
    """
    if source.dtype.kind != "f" and adu_per_photon == 1:
        return None
    found = []
    with copy.deepcopy(source) as frames:
        photons = PhotonSource(frames, geom, adu_per_photon, detector)
        for index in sampled(frames):
            try:
                noise = photons.measure(index)[1]
            except SourceError:
                continue
            if noise is not None:
                found.append(noise)
    if not found:
        return None
    offset, sigma, seen = (
        np.concatenate([getattr(noise, name) for noise in found])
        for name in ("offset", "sigma", "seen")
    )
    of = offset[seen] if seen.any() else offset
    furthest, middle = float(of[np.abs(of).argmax()]), float(np.median(sigma))
    if middle > MOST_NOISE:
        raise GeometryError(
            f"noise of {middle:.0f} photons a pixel hides every spot",
            source.ref(0).file,
            f"Is a photon {adu_per_photon:g}? Give --adu-per-photon.",
        )
    return DetectorNoise(middle, float(np.median(of)), furthest, seen.mean())


def contradiction(photons: FrameSource, detector: Detector) -> float | None:
    """Say whether frames in photons show photons of another size.

    Parameters
    ----------
    photons : FrameSource
        Frames in photons.
    detector : Detector
        Panels and mask.

    Returns
    -------
    float or None
        The size they show, in what was given as one photon; None if it is about 1, or not shown.
    """
    values = sample(photons, detector)
    middle = np.median(values) if values.size else 0.0
    spread = 1.4826 * np.median(np.abs(values - middle)) if values.size else 0.0
    if np.mean(values > middle + _LIT_SIGMAS * spread) > _MOST_LIT:
        return None  # much light makes peaks of its own
    size = photon_value(values)
    return None if size is None or abs(size - 1) <= _ANOTHER_PHOTON else size


def noise_in_words(
    source: FrameSource, geom: GeomFile | None, adu_per_photon: float | None, detector: Detector
) -> str:
    """Tell people the noise of a detector, and the size of a photon that its frames show.

    Parameters
    ----------
    source, geom, detector
        As for `noise_of`.
    adu_per_photon : float, optional
        Stored value of one photon, if it is known.

    Returns
    -------
    str
        Empty if it counts photons.
    """
    if adu_per_photon is None and source.dtype.kind != "f":
        return ""
    shown = None
    if adu_per_photon is None:
        values = sample(source, detector, level=True)
        shown = photon_value(values) if values.size else None
    noise = noise_of(source, geom, adu_per_photon or shown or 1.0, detector)
    if noise is None:
        return ""
    size = f"; their values show photons of {shown:.3g}" if shown else ""
    return f"{noise.told}{size}{'; ' if noise.doubt else ''}{noise.doubt}"


def log_noise(
    noise: DetectorNoise | None,
    photons: FrameSource,
    detector: Detector,
    adu_per_photon: float,
    origin: str,
) -> None:
    """Say what is known of the detector's noise and gain, and warn of what is doubtful.

    Parameters
    ----------
    noise : DetectorNoise, optional
        Its noise.
    photons, detector
        As for `contradiction`.
    adu_per_photon : float
        Stored value of one photon.
    origin : str
        Where that is from; ``assumed`` if from nowhere.
    """
    if noise is not None:
        log.info("%s; a photon is %.4g (%s)", noise.told, adu_per_photon, origin)
        if noise.doubt:
            log.warning("%s", noise.doubt)
    else:
        doubt = counts_doubt(photons, detector)
        if doubt:
            log.warning("%s", doubt)
    given = origin != "assumed" and (noise is not None or adu_per_photon != 1)
    size = contradiction(photons, detector) if given else None
    if size is not None:
        log.warning(
            "the frames' single-photon peak is at %.3g, but %.4g are given as one photon (%s); "
            "see --adu-per-photon",
            *(size * adu_per_photon, adu_per_photon, origin),
        )


def _reads_low(values: NDArray[np.float64]) -> bool:
    """Whether there are values below a pedestal, or none at all."""
    return not values.size or bool(np.quantile(values, _FEW) < _PEDESTAL)


def _check_signs(source: FrameSource, values: NDArray[np.float64]) -> None:
    """Look whether noise below zero was stored in an unsigned type: it is at its top then."""
    top = float(np.iinfo(source.dtype).max)
    below = values[values > top - _MOST_WRAPPED]
    if below.size < _WRAPPED * values.size or np.unique(below).size < _SIZES_WRAPPED:
        return
    raise GeometryError(
        f"{100 * below.size / values.size:.2g} % of the values are just below {top:.0f}: they were "
        "below zero, and stored in an unsigned type",
        source.ref(0).file,
        "Write them in a signed type, such as int16 or float32.",
    )


def check_calibrated(source: FrameSource, detector: Detector) -> None:
    """Look whether values of 16 bits are as a detector with gain stages puts them out.

    Raw values of a Jungfrau have the gain stage in their upper two bits, 0, 1 or 3 (Redford et
    al., J. Instrum. 13, C01027 (2018)), over a pedestal of thousands in every pixel, which is not
    the same for any two. Photons as many would differ by their square root.

    Parameters
    ----------
    source : FrameSource
        Frames as they are stored.
    detector : Detector
        Panels and mask.

    Raises
    ------
    GeometryError
        If they are, or if values below zero became large ones when they were stored.
    """
    if source.dtype.kind != "u":
        return
    values = sample(source, detector, 1)
    _check_signs(source, values)
    if source.dtype != np.uint16:
        return
    # Most detectors count, which one frame tells.
    if _reads_low(values) or _reads_low(values := sample(source, detector)):
        return
    stage = values.astype(np.int64) >> _GAIN_BIT
    shares = np.bincount(stage, minlength=4) / stage.size
    first = values[stage == 0]
    if shares[2] or not (shares[1] or shares[3]) or not first.size:
        return
    # From one value to the next, so that light which is brighter in one place is not in the way.
    middle, step = np.median(first), np.median(np.abs(np.diff(first)))
    if step / _STEP_OF_NORMAL < _MORE_THAN_LIGHT * math.sqrt(middle):
        return
    raise GeometryError(
        f"the values are raw: gain stages in bits 14 and 15 ({100 * (1 - shares[0]):.2g} % of the "
        f"pixels), pedestals of about {round(middle, -2):.0f} in the others",
        source.ref(0).file,
        "Correct pedestals and gains first, as the facility's own programs do.",
    )


def _signed(value: float) -> str:
    """Write a number to a hundredth with its sign, of which zero has only the one."""
    return f"{round(value, 2) + 0.0:+.2f}"
