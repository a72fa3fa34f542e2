"""Round values at which axes and scales are marked."""

from __future__ import annotations

import math

_STEPS = (1, 2, 5)
_MOST_DECADES = 3
"""Decades up to which a logarithmic scale is marked at 1, 2 and 5, not at powers of ten alone."""

_MOST_POWERS = 8
"""Powers of ten that are marked, about; of more, every second one, or third."""

_FEW = 5
"""Spaces of a logarithmic scale that is too short for 1, 2 and 5."""

_SLACK = 1e-9
"""Relative error of a number that is meant to be round."""


def round_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Return round values of a linear scale, evenly spaced.

    Parameters
    ----------
    low, high : float
        Its ends.
    most : int
        Spaces between them, at most, as long as there are two values, or one of whole counts.
    whole : bool
        Whether it shows whole counts.
    """
    least = 1 if whole else 2
    power = math.floor(math.log10((high - low) / most))
    steps = ((m, k) for k in (power + 1, power, power - 1) for m in reversed(_STEPS))
    fitting = [step for step in steps if _worth(*step) >= (high - low) / most * (1 - _SLACK)]
    m, k = fitting[-1]
    if whole and _worth(m, k) < 1:
        m, k = 1, 0
    while len(ticks := _multiples(m, k, low, high)) < least and not (whole and (m, k) == (1, 0)):
        m, k = (_STEPS[_STEPS.index(m) - 1], k) if m > 1 else (_STEPS[-1], k - 1)
    return ticks


def _worth(m: int, k: int) -> float:
    """Return ``m * 10**k`` to the last digit."""
    return m * 10.0**k if k >= 0 else m / 10.0**-k


def _multiples(m: int, k: int, low: float, high: float) -> list[float]:
    """Return the multiples of ``m * 10**k`` from `low` to `high`."""
    step = _worth(m, k)
    first, last = math.ceil(low / step - _SLACK), math.floor(high / step + _SLACK)
    return [_worth(n * m, k) for n in range(first, last + 1)]


def log_ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return round values of a logarithmic scale.

    Parameters
    ----------
    low, high : float
        Its ends, ``0 < low < high``.
    whole : bool
        Whether it shows whole counts, of which there are none between 0 and 1.
    """
    steps = _STEPS if high <= 10**_MOST_DECADES * low else _STEPS[:1]
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = math.floor(math.log10(high)) - math.ceil(math.log10(low))
    stride = 1 if len(steps) > 1 else inside // _MOST_POWERS + 1
    least = max(low, 1.0) if whole and high > 1 else low
    round_ = (_worth(m, k) for k in range(first, last + 1, stride) for m in steps)
    ticks = [tick for tick in round_ if least * (1 - _SLACK) <= tick <= high * (1 + _SLACK)]
    return ticks if len(ticks) > 1 or whole else round_ticks(low, high, _FEW)
