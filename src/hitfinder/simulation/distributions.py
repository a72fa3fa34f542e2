"""Parameters that are fixed, or drawn anew for every shot."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {
    "uniform": 2,
    "loguniform": 2,
    "normal": 2,
    "lognormal": 2,
    "choice": None,
}
"""Distributions and their number of arguments (any number for a choice)."""

_HINT = (
    "a number, LOW..HIGH, or uniform:LOW,HIGH loguniform:LOW,HIGH normal:MEAN,SD "
    "lognormal:MEDIAN,SIGMA choice:A,B,..."
)


@dataclasses.dataclass(frozen=True)
class Value:
    """A number, or a distribution of numbers.

    Parameters
    ----------
    kind : str
        ``fixed``, ``uniform`` (low, high), ``loguniform`` (low, high), ``normal`` (mean, standard
        deviation), ``lognormal`` (median, standard deviation of the logarithm) or ``choice``
        (values, each as likely).
    arguments : tuple of float
        What the kind needs.

    Raises
    ------
    ValueError
        If the arguments make no such distribution.
    """

    kind: str
    arguments: tuple[float, ...]

    def __post_init__(self) -> None:
        a = self.arguments
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in a):
            raise ValueError(f"{self} needs finite numbers")
        if self.kind == "fixed":
            good = len(a) == 1
        elif self.kind in ("uniform", "loguniform"):
            good = len(a) == 2 and a[0] <= a[1] and (self.kind == "uniform" or a[0] > 0)
        elif self.kind in ("normal", "lognormal"):
            good = len(a) == 2 and a[1] >= 0 and (self.kind == "normal" or a[0] > 0)
        else:
            good = self.kind == "choice" and len(a) > 0
        if not good:
            raise ValueError(f"{self} is no distribution; give {_HINT}")

    def __str__(self) -> str:
        numbers = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in self.arguments)
        return numbers if self.kind == "fixed" else f"{self.kind}:{numbers}"

    @staticmethod
    def from_setting(given: float | str | list | Mapping[str, Any] | Value) -> Value:
        """Read a value from a setting or an option.

        Parameters
        ----------
        given : number, str, list or mapping
            ``5``; ``"1..3"`` or ``[1, 3]`` for a range; ``"normal:5,0.1"`` or
            ``{"normal": [5, 0.1]}``.

        Raises
        ------
        ValueError
            If it cannot be understood.
        """
        if isinstance(given, Value):
            return given
        if isinstance(given, bool):
            raise ValueError(f"{given!r} is not {_HINT}")
        if isinstance(given, (int, float)):
            return fixed(given)
        if isinstance(given, str):
            return _parse_text(given)
        if isinstance(given, Mapping) and len(given) == 1:
            ((kind, arguments),) = given.items()
            if isinstance(arguments, (list, tuple)) and kind in KINDS:
                return _checked(kind, arguments, given)
        if isinstance(given, (list, tuple)) and len(given) == 2:
            return _checked("uniform", given, given)
        raise ValueError(f"{given!r} is not {_HINT}")

    def to_setting(self) -> float | dict[str, list[float]]:
        """Return what `from_setting` reads back to the same."""
        numbers = [float(number) for number in self.arguments]
        return numbers[0] if self.kind == "fixed" else {self.kind: numbers}

    @property
    def is_fixed(self) -> bool:
        """Whether every draw gives the same number."""
        return self.kind == "fixed" or (len(set(self.arguments)) == 1 and self.kind == "choice")

    @property
    def nominal(self) -> float:
        """The fixed value, or the middle of the distribution."""
        a = self.arguments
        if self.kind == "uniform":
            return (a[0] + a[1]) / 2
        if self.kind == "loguniform":
            return math.sqrt(a[0] * a[1])
        if self.kind == "choice":
            return float(np.mean(a))
        return float(a[0])

    @property
    def extremes(self) -> tuple[float, float]:
        """Least and largest number that can be drawn; infinite for the tails of a normal one."""
        if self.kind == "normal":
            return (-math.inf, math.inf) if self.arguments[1] else (self.arguments[0],) * 2
        if self.kind == "lognormal":
            return (0.0, math.inf) if self.arguments[1] else (self.arguments[0],) * 2
        return min(self.arguments), max(self.arguments)

    def draw(
        self, rng: np.random.Generator, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """Draw a number; those of a tail outside `low` to `high` are drawn again."""
        a = self.arguments
        if self.kind == "fixed":
            return float(a[0])
        if self.kind == "uniform":
            return float(rng.uniform(a[0], a[1]))
        if self.kind == "loguniform":
            return float(math.exp(rng.uniform(math.log(a[0]), math.log(a[1]))))
        if self.kind == "choice":
            return float(a[int(rng.integers(len(a)))])
        for _ in range(1000):
            normal = rng.standard_normal()
            value = (
                a[0] + a[1] * normal if self.kind == "normal" else a[0] * math.exp(a[1] * normal)
            )
            if low <= value <= high:
                return float(value)
        raise ValueError(f"{self} hardly ever lies in {low:g} to {high:g}")


def fixed(number: float) -> Value:
    """Return the value that is always `number`."""
    return Value("fixed", (float(number),))


def _checked(kind: str, arguments: Any, given: Any) -> Value:
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in arguments):
        raise ValueError(f"{given!r} is not {_HINT}")
    return Value(kind, tuple(float(v) for v in arguments))


def _parse_text(text: str) -> Value:
    kind, colon, rest = text.partition(":")
    if not colon:
        low, dots, high = text.partition("..")
        kind, rest = ("uniform", f"{low},{high}") if dots else ("fixed", text)
    try:
        arguments = tuple(float(part) for part in rest.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not {_HINT}") from error
    kind = kind.strip()
    if kind != "fixed" and kind not in KINDS:
        raise ValueError(f"{text!r} is not {_HINT}")
    return Value(kind, arguments)
