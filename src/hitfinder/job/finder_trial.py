"""Trying a finder on an empty frame, before anything else is done."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from hitfinder.errors import ConfigError
from hitfinder.executors.contract import Executor, results
from hitfinder.executors.inline import Inline
from hitfinder.finding.contract import Finder
from hitfinder.finding.registry import FINDERS, make_finder
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.source import FrameSource
from hitfinder.job.made_up import small_geometry


@dataclasses.dataclass(frozen=True)
class FinderTold:
    """What a finder that was tried says of itself.

    Attributes
    ----------
    fingerprint : str
        Of what it was trained with, if it was.
    least_score : float or None
        Score of a hit, if its scores are of its own kind.
    """

    fingerprint: str
    least_score: float | None

    @classmethod
    def of(cls, finder: Finder) -> FinderTold:
        """Return what a finder says."""
        return cls(getattr(finder, "fingerprint", ""), getattr(finder, "least_score", None))


@dataclasses.dataclass(frozen=True)
class FinderTrial:
    """The work of trying a finder; see `hitfinder.executors.contract.Work`.

    What is wrong with the settings shows before anything is done. It also compiles, or loads what
    was compiled before, once for all workers.

    Attributes
    ----------
    geometry : Geometry
        Of the frame.
    dtype : numpy.dtype
        Type of the counts.
    settings : FinderSettings
        Which finder.
    """

    geometry: Geometry
    dtype: np.dtype
    settings: FinderSettings

    @classmethod
    def of(cls, source: FrameSource, geometry: Geometry, settings: FinderSettings) -> FinderTrial:
        """Return the trial of a finder for frames of a source."""
        if settings.finder in FINDERS.built_in:
            # Ours find in any frame if they do in a small one, which takes less time and memory.
            geometry = small_geometry()
        return cls(geometry, source.dtype, settings)

    def finder(self) -> Finder:
        """Return the finder when it has processed an empty frame.

        Raises
        ------
        HitfinderError
            If there can be no such finder, or one of another package fails.
        """
        finder = make_finder(self.geometry, self.settings)
        found = FINDERS.find(self.settings.finder)
        fails = f"finder {self.settings.finder!r} fails on an empty frame"
        hint = f"It is from {found.origin}."
        with found.answering(lambda why: ConfigError(f"{fails} ({why})", hint=hint)):
            finder(np.zeros(self.geometry.shape, self.dtype))
        return finder

    @contextlib.contextmanager
    def opened(self) -> Iterator[Callable[[str], FinderTold]]:
        """Return a function that tries the finder."""
        yield lambda _: FinderTold.of(self.finder())

    def begun(self, executor: Executor) -> Callable[[], FinderTold]:
        """Have the finder tried; return what waits until it is.

        Workers try it while this process does something else, which itself tries it at once.

        Raises
        ------
        HitfinderError
            As `finder` does, or if the workers that try it die; then or when it is waited for.
        """
        outcomes = executor.run(self, ["an empty frame"])
        if isinstance(executor, Inline):
            outcomes = iter(list(outcomes))

        def wait() -> FinderTold:
            (told,) = results(outcomes)
            return told

        return wait

    def by(self, executor: Executor) -> FinderTold:
        """Have the finder tried, as `begun` does, and wait for it."""
        return self.begun(executor)()
