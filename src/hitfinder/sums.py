"""Sums of floating-point numbers that come out the same in any order and any grouping."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from numba import njit
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
        self._halves = np.zeros((2, *shape), np.int64)

    def add(self, values: ArrayLike) -> None:
        """Add an array.

        Raises
        ------
        ValueError
            If one of its numbers is infinite or not a number, or it has another shape.
        """
        numbers = np.asarray(values, np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError("only finite numbers can be added up")
        self._check(numbers.shape)
        _add_numbers(numbers.ravel(), self._halves.reshape(2, -1))

    def merge(self, other: Self) -> None:
        """Add another sum of arrays of this shape."""
        self._check(other._halves.shape[1:])
        _add_halves(other._halves.reshape(2, -1), self._halves.reshape(2, -1))

    def _check(self, shape: tuple[int, ...]) -> None:
        if shape != self._halves.shape[1:]:
            raise ValueError(f"arrays of shape {shape} among those of {self._halves.shape[1:]}")

    @property
    def value(self) -> NDArray[np.float64]:
        """The sum."""
        return self._halves[0] * _HIGH + self._halves[1] * _LOW

    def to_array(self) -> NDArray[np.int64]:
        """Return everything as one array, whose first axis has length 2."""
        return self._halves.copy()

    @classmethod
    def from_array(cls, array: NDArray[np.int64]) -> Self:
        """Return the sum that `to_array` has given."""
        made = cls(array.shape[1:])
        made._halves[:] = array
        return made


@njit(cache=True, nogil=True)
def _add_numbers(numbers, halves):  # type: ignore[no-untyped-def]
    """Add numbers, one to each column of `halves`."""
    for k in range(numbers.size):
        number = min(max(numbers[k], -_LARGEST_ADDED), _LARGEST_ADDED)
        high = math.floor(number / _HIGH)
        # Exact: what is left are the low bits of the number.
        _add(k, np.int64(high), np.int64(np.rint((number - high * _HIGH) / _LOW)), halves)


@njit(cache=True, nogil=True)
def _add_halves(others, halves):  # type: ignore[no-untyped-def]
    """Add the columns of other sums to those of `halves`."""
    for k in range(halves.shape[1]):
        _add(k, others[0, k], others[1, k], halves)


@njit(cache=True, nogil=True, inline="always")
def _add(k, high, low, halves):  # type: ignore[no-untyped-def]
    """Add a number in two halves to column k."""
    low += halves[1, k]
    high += halves[0, k] + (low >> _LOW_BITS)
    halves[0, k] = min(max(high, -_LARGEST_SUM), _LARGEST_SUM)
    halves[1, k] = low & ((1 << _LOW_BITS) - 1)
