"""Finders by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.finding.contract import Finder
from hitfinder.finding.result import FrameResult
from hitfinder.finding.settings import FinderOptions, FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.plugins import Registry

FINDERS = Registry(
    "finder",
    "hitfinder.finders",
    {
        "network": "hitfinder.network.finder:NetworkFinder",
        "likelihood": "hitfinder.finding.likelihood:LikelihoodFinder",
    },
)
"""What `--finder` takes."""


def make_finder(geometry: Geometry, settings: FinderSettings, cls: type | None = None) -> Finder:
    """Return the finder that the settings name, built for a geometry.

    Parameters
    ----------
    geometry : Geometry
        Of the frames.
    settings : FinderSettings
        What was chosen.
    cls : type, optional
        The class, in place of the one that the settings name.

    Raises
    ------
    hitfinder.errors.ConfigError
        If there is no such finder, it does not take the options, it cannot be built, or what is
        built is none.
    """
    name = settings.finder
    build = cls or FINDERS.load(name)
    _check_options(name, getattr(build, "OPTIONS", {}), settings.options)
    found = FINDERS.find(name)
    hint = f"It is from {found.origin}."
    with found.answering(
        lambda why: ConfigError(f"finder {name!r} cannot be built ({why})", hint=hint)
    ):
        made = build(geometry, settings)
    if not isinstance(made, Finder):
        raise ConfigError(f"{name!r} is no finder: it cannot be called with a frame")
    return made


def _check_options(name: str, taken: Mapping[str, str], given: Mapping[str, str]) -> None:
    for key in given:
        if key not in taken:
            known = f"It takes {', '.join(taken)}." if taken else "It takes none."
            raise ConfigError(f"finder {name!r} takes no option {key!r}", hint=known)


def finders() -> dict[str, str]:
    """Return the finders that are registered, plug-ins included: name and ``module:Class``.

    Examples
    --------
    >>> import hitfinder as hf
    >>> hf.finders()["network"]
    'hitfinder.network.finder:NetworkFinder'
    """
    return FINDERS.paths()


def find_peaks(
    frame: NDArray,
    geometry: Geometry,
    *,
    mask: NDArray[np.bool_] | None = None,
    finder: str | type = "network",
    **settings: Unpack[FinderOptions],
) -> FrameResult:
    """Find the peaks of one frame, and tell whether it is a hit.

    This builds a finder for the one frame. For many frames build one, such as
    `hitfinder.NetworkFinder`, and call it with each.

    Parameters
    ----------
    frame : ndarray, shape of the geometry
        Photon counts. Negative and NaN pixels, and those at the top of an integer type, have no
        reading.
    geometry : Geometry
        Detector, camera length and beam.
    mask : ndarray of bool, optional
        Pixels to ignore in this frame, besides those that the geometry masks.
    finder : str or type
        One of `hitfinder.finders`, or your own: a class, or its ``module:Class``.
    **settings
        Fields of `hitfinder.FinderSettings`, such as ``false_hits=0.001``.

    Returns
    -------
    FrameResult
        With ``hit``, ``score`` and ``peaks``.

    Raises
    ------
    ValueError
        If the frame or the mask has another shape than the geometry, or no counts.
    ConfigError
        If there is no such finder or setting.

    Examples
    --------
    >>> import hitfinder as hf
    >>> import numpy as np
    >>> frame = np.random.default_rng(0).poisson(0.02, (96, 96))
    >>> frame[[20, 40, 70], [30, 80, 25]] += 25
    >>> geometry = hf.Geometry.flat(frame.shape, 75e-6, camera_length_m=0.05, photon_energy_ev=6e3)
    >>> found = hf.find_peaks(frame, geometry)
    >>> found.hit, len(found.peaks)
    (True, 3)
    """
    cls = finder if isinstance(finder, type) else None
    name = f"{cls.__module__}:{cls.__qualname__}" if cls else finder
    chosen = config.override(FinderSettings(), finder=name, **settings)
    return make_finder(geometry, chosen, cls)(frame, mask)
