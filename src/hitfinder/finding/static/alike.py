"""Frames that show the same places: those of one crystal that does not turn between them.

A place that is bright in many frames is static if the frames have nothing else in common. The spots
of a crystal that stays as it is are bright in many frames too, but in the same ones: such frames
count as one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special
from scipy.sparse.csgraph import connected_components

from hitfinder.finding.static.drawing import chance_between

FREQUENT, ALWAYS = 0.15, 0.95
"""Parts of the frames: places that are shown by so many tell of a crystal in much of a run; what
all frames show tells nothing."""

_MOST_FRAMES = 48
"""Frames of a place that are compared with one another."""

_CHANCE = 0.01
_LEAST_SHARED = 2
_POWERS = np.geomspace(0.05, 3.0, 25)

_CHANCE_TOGETHER = 1e-4
_GONE, _LEAST_GONE, _CHANCE_GONE = 0.2, 3, 0.05


def separate_visits(
    shown: sparse.csc_array, area: NDArray[np.intp], witness: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Count the frames that show each place and share nothing else, alike ones as one.

    Parameters
    ----------
    shown : sparse array of 0 and 1, shape (n_frames, n_places)
        Which frames show which places.
    area : ndarray of int, shape (n_places,)
        Places close together are of one area, from 0 on.
    witness : ndarray of bool, shape (n_places,)
        Places that may be the spots of a crystal, so that they count as something shared.

    Returns
    -------
    ndarray, shape (n_places,)
        Frames; an estimate where over `_MOST_FRAMES` show a place.
    """
    areas = in_areas(shown, area, witness)
    companions = _companions(areas)
    unrelated = _Unrelated.of(areas)
    out = np.zeros(shown.shape[1])
    for place in range(len(out)):
        frames = shown.indices[shown.indptr[place] : shown.indptr[place + 1]]
        n = min(len(frames), _MOST_FRAMES)
        some = frames[np.linspace(0, len(frames) - 1, n).astype(int)]
        own = area[place]
        rows = areas[some]
        alike = unrelated.hardly(rows, own)
        with_others = rows @ companions[:, [own]].toarray() >= _LEAST_SHARED
        alike |= with_others & with_others.T
        kinds = connected_components(sparse.csr_array(alike), directed=False)[0]
        out[place] = kinds * len(frames) / max(n, 1)
    return out


def _companions(areas: sparse.csr_array) -> sparse.csc_array:
    """Say which areas are shown with which others in more frames than by themselves.

    By Fisher's exact test, where a hundredth of all areas may have one by chance. The spots of a
    crystal that some of the frames show are each other's companions.
    """
    n_frames, n_areas = areas.shape
    both = sparse.coo_array(areas.T @ areas)
    often = np.asarray(areas.sum(axis=0)).ravel()
    one, other = both.coords
    shared = (one != other) & (both.data > _LEAST_SHARED)
    one, other, n_shared = one[shared], other[shared], both.data[shared]
    if len(one):
        chance = chance_between(n_shared, np.inf, n_frames, often[one], often[other])
        keep = chance < _CHANCE / n_areas
        one, other = one[keep], other[keep]
    return sparse.csc_array((np.ones(len(one)), (one, other)), shape=(n_areas, n_areas))


@dataclasses.dataclass(frozen=True, eq=False)
class _Unrelated:
    """What two frames share if all areas come and go by themselves.

    That both show an area which a part p of all frames shows is worth an information of -ln p. How
    likely chance gives as much in all is bounded by its moments (Chernoff). An area that all frames
    show says nothing.

    Attributes
    ----------
    information : ndarray, shape (n_areas,)
        Of sharing each area.
    log_moments : ndarray, shape of `_POWERS`
        Log of the mean of exp(power × information) over pairs of frames.
    """

    information: NDArray[np.float64]
    log_moments: NDArray[np.float64]

    @staticmethod
    def of(areas: sparse.csr_array) -> _Unrelated:
        """Take the areas to be shown as often as they are."""
        often = np.maximum(np.asarray(areas.mean(axis=0)).ravel(), 1e-12)
        information = -np.log(often)
        moments = [np.log1p(often**2 * np.expm1(t * information)).sum() for t in _POWERS]
        return _Unrelated(information, np.array(moments))

    def hardly(self, rows: sparse.csr_array, own: int) -> NDArray[np.bool_]:
        """Say which pairs of frames share too much for that, one area left aside."""
        own_rows = rows[:, [own]].toarray()
        both_own = own_rows @ own_rows.T
        shared = (rows @ rows.T).toarray() - both_own
        told = (sparse.csr_array(rows.multiply(self.information)) @ rows.T).toarray()
        told -= self.information[own] * both_own
        bound = np.min(self.log_moments[:, None, None] - _POWERS[:, None, None] * told, axis=0)
        return np.asarray((shared >= _LEAST_SHARED) & (bound < np.log(_CHANCE)))


def in_areas(
    shown: sparse.csc_array, area: NDArray[np.intp], witness: NDArray[np.bool_]
) -> sparse.csr_array:
    """Return which frames show a witness in which areas, shape (n_frames, n_areas)."""
    n_places, n_areas = len(area), int(area.max(initial=-1)) + 1
    belongs = sparse.csr_array(
        (witness.astype(float), (np.arange(n_places), area)), shape=(n_places, n_areas)
    )
    return sparse.csr_array((shown.astype(float) @ belongs) > 0).astype(float)


def frames_without_crystal(shown: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Tell the frames that show a crystal which never turns from those that do not.

    The frames are divided where the number of places that they show divides them best (Otsu 1979).

    Parameters
    ----------
    shown : ndarray of bool, shape (n_frames, n_areas)
        Which frames show which areas, each shown by many frames, but not by all.

    Returns
    -------
    ndarray of bool, shape (n_frames,), or None
        None if the areas come and go by themselves, or hardly any is gone in the part of the
        frames that shows fewer.
    """
    if not come_together(shown):
        return None
    number = shown.sum(axis=1)
    levels = np.unique(number)
    spread = [
        (low := number <= level).mean()
        * (~low).mean()
        * (number[~low].mean() - number[low].mean()) ** 2
        for level in levels[:-1]
    ]
    without = number <= levels[int(np.argmax(spread))]
    here, there = shown[without].sum(axis=0), shown[~without].sum(axis=0)
    rare = here / without.sum() <= _GONE * there / (~without).sum()
    chance = chance_between(0, here, len(shown), here + there, without.sum())
    n_gone, by_chance = (rare & (chance < _CHANCE_GONE)).sum(), _CHANCE_GONE * shown.shape[1]
    return without if n_gone >= max(_LEAST_GONE, by_chance + 3 * np.sqrt(by_chance)) else None


def come_together(shown: NDArray[np.generic]) -> bool:
    """Whether areas come and go together, or change their brightness together.

    Then their sum over a frame varies more than the sum of independent ones does.

    Parameters
    ----------
    shown : ndarray, shape (n_frames, n_areas)
        Which frames show which areas, or how bright.
    """
    values = shown.astype(float)
    own = float(values.var(axis=0).sum())
    if own <= 0:
        return False
    spread = values.sum(axis=1).var() * len(values) / own
    return bool(special.chdtrc(len(values) - 1, spread) < _CHANCE_TOGETHER)


def stay_a_while(shown: sparse.csc_array) -> NDArray[np.bool_]:
    """Say which places are shown by frames that follow one another, as a crystal that stays is.

    By the number of stretches of frames that show a place (Wald & Wolfowitz, Ann. Math. Statist.
    11, 147, 1940), with a chance below 1 %. Places that nearly all frames show are not among them.

    Parameters
    ----------
    shown : sparse array of 0 and 1, shape (n_frames, n_places)
        Which frames, in their order, show which places.
    """
    n = shown.shape[0]
    out = np.zeros(shown.shape[1], bool)
    for place in range(len(out)):
        frames = np.sort(shown.indices[shown.indptr[place] : shown.indptr[place + 1]])
        k = len(frames)
        if 0 < k <= ALWAYS * n:
            stretches = 1 + int((np.diff(frames) > 1).sum())
            # Of k frames in a row of n, the number of stretches is hypergeometric.
            chance = chance_between(0, stretches, n, k, n - k + 1)
            out[place] = chance < _CHANCE
    return out
