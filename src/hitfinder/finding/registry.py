"""Finders by name."""

from __future__ import annotations

from hitfinder.errors import ConfigError
from hitfinder.finding.contract import Finder
from hitfinder.finding.settings import FinderSettings
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


def make_finder(geometry: Geometry, settings: FinderSettings) -> Finder:
    """Return the finder that the settings name, built for a geometry.

    Raises
    ------
    hitfinder.errors.ConfigError
        If there is no such finder, or it is none.
    """
    made = FINDERS.load(settings.finder)(geometry, settings)
    if not isinstance(made, Finder):
        raise ConfigError(f"{settings.finder!r} is no finder: it cannot be called with a frame")
    return made
