"""Learning what does not move from frames as they come, one by one."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from hitfinder.finding.likelihood import LikelihoodFinder
from hitfinder.finding.rings import Rings
from hitfinder.finding.static.near import grown
from hitfinder.finding.static.places import Places, find_places
from hitfinder.finding.static.seen import persistent_pixels
from hitfinder.finding.static.visits import Visits
from hitfinder.geometry.geometry import Geometry


class StaticLearner:
    """Learns places that do not move, and masks them in the frames that come after.

    It is given frames in any order and asked now and then what it has learnt. What it remembers of
    a frame are its bright pixels (`Visits`), which merge, so that frames may be looked at elsewhere
    too. Not to be shared between threads.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the frames, with the mask known so far.
    most : int, optional
        Frames to remember; of more, those looked at first are forgotten. All if None.

    Attributes
    ----------
    places : Places
        What was learnt so far.
    """

    def __init__(self, geometry: Geometry, most: int | None = None) -> None:
        self._unlearnt, self._most = geometry, most
        # A copy of its own: the maps that are kept for a geometry go with this learner.
        self._geometry = dataclasses.replace(geometry)
        self._finder: LikelihoodFinder | None = None
        self._seen: dict[int, Visits] = {}
        self.places = Places.none(geometry.shape)

    @property
    def n_frames(self) -> int:
        """Frames it remembers."""
        return len(self._seen)

    @property
    def geometry(self) -> Geometry:
        """Geometry of the frames, with what was learnt masked."""
        return self._geometry

    def prepare(self) -> None:
        """Make the maps that it learns with, which it otherwise makes when it has to."""
        persistent_pixels(Rings.of(self._geometry))

    def look(self, number: int, frame: NDArray, mask: NDArray[np.bool_] | None = None) -> None:
        """Take in a frame; one with a number that was there before takes its place.

        Parameters
        ----------
        number : int
            Which frame it is.
        frame, mask
            As for a `hitfinder.finding.contract.Finder`.
        """
        if self._finder is None:
            self._finder = LikelihoodFinder(self._geometry)
        proposed = self._finder.propose(frame, mask)
        self.remember(Visits.of(number, proposed, self._finder.rings))

    def remember(self, visits: Visits) -> None:
        """Take in what one frame showed."""
        number = int(visits.frames[0])
        self._seen.pop(number, None)
        self._seen[number] = visits
        while self._most is not None and len(self._seen) > self._most:
            del self._seen[next(iter(self._seen))]

    def learn(self) -> bool:
        """Find out what does not move in the frames that it remembers.

        Returns
        -------
        bool
            Whether there are more pixels to mask than before. They are masked in what is looked at
            from then on; frames looked at again may show what they hid.
        """
        if not self._seen:
            return False
        rings = Rings.of(self._geometry)
        found = find_places(Visits.merged(*self._seen.values()), self._geometry, rings)
        self.places = self.places.with_more(found)
        if not found.mask.any():
            return False
        detector = self._unlearnt.detector.with_mask(self.places.mask)
        self._geometry = dataclasses.replace(self._unlearnt, detector=detector)
        self._finder = None
        masked = self.places.mask, grown(self.places.mask, 1)
        self._seen = {n: visits.outside(*masked) for n, visits in self._seen.items()}
        return True
