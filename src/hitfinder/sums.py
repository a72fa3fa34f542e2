"""Sums of floating-point numbers that come out the same in any order and any grouping."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

_HIGH, _LOW = 2.0**-8, 2.0**-60
"""What one means in the two halves of a number."""

_LOW_BITS = 52
_LARGEST_ADDED = 2.0**45
_LARGEST_SUM = 1 << 61


class ExactSum:
    """A sum of arrays of numbers, each rounded to a multiple of 2⁻⁶⁰, and then added exactly.

    Floating-point addition is not associative: the last digits of a sum depend on the order of
    its terms, and so on how many processes had a part in it. Here a number is kept as two
    integers, multiples of 2⁻⁸ and of 2⁻⁶⁰ (less than 2⁻⁸ together), whose sums are exact.
    Numbers up to 2⁴⁵ can be added, and up to 2⁵³ summed; beyond that a sum stays where it is.

    Parameters
    ----------
    shape : tuple of int
        Shape of the arrays that are added up.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._high, self._low = np.zeros((2, *shape), np.int64)

    def add(self, values: ArrayLike) -> None:
        """Add an array.

        Raises
        ------
        ValueError
            If one of its numbers is infinite or not a number.
        """
        numbers = np.asarray(values, np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("only finite numbers can be added up")
        numbers = np.clip(numbers, -_LARGEST_ADDED, _LARGEST_ADDED)
        high = np.floor(numbers / _HIGH)
        # Exact: what is left are the low bits of the number.
        low = np.rint((numbers - high * _HIGH) / _LOW)
        self._add(high.astype(np.int64), low.astype(np.int64))

    def merge(self, other: Self) -> None:
        """Add another sum of arrays of this shape."""
        self._add(other._high, other._low)

    def _add(self, high: NDArray[np.int64], low: NDArray[np.int64]) -> None:
        low = self._low + low
        high = self._high + high + (low >> _LOW_BITS)
        self._high = np.clip(high, -_LARGEST_SUM, _LARGEST_SUM)
        self._low = low & ((1 << _LOW_BITS) - 1)

    @property
    def value(self) -> NDArray[np.float64]:
        """The sum."""
        return self._high * _HIGH + self._low * _LOW

    def to_array(self) -> NDArray[np.int64]:
        """Return everything as one array, whose first axis has length 2."""
        return np.stack([self._high, self._low])

    @classmethod
    def from_array(cls, array: NDArray[np.int64]) -> Self:
        """Return the sum that `to_array` has given."""
        made = cls(array.shape[1:])
        made._high, made._low = array.astype(np.int64)
        return made
