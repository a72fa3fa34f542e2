import fractions
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.sums import ExactSum

NUMBERS = st.floats(-1e9, 1e9) | st.floats(-1e-6, 1e-6) | st.integers(-(2**40), 2**40).map(float)


def summed(numbers):
    total = ExactSum(())
    for number in numbers:
        total.add(number)
    return total


@given(st.lists(NUMBERS, max_size=30), st.randoms())
def test_order_and_grouping_do_not_matter(numbers, shuffler):
    whole = summed(numbers)
    shuffled = random.Random(shuffler.random()).sample(numbers, len(numbers))
    cut = shuffler.randint(0, len(numbers))
    first, rest = summed(shuffled[:cut]), summed(shuffled[cut:])
    rest.merge(first)
    assert np.array_equal(rest.to_array(), whole.to_array())
    again = ExactSum.from_array(rest.to_array())
    assert again.value == whole.value


@given(st.lists(NUMBERS, max_size=30))
def test_the_sum_is_right(numbers):
    exact = sum(map(fractions.Fraction, numbers), fractions.Fraction(0))
    off = fractions.Fraction(float(summed(numbers).value)) - exact
    assert abs(off) <= len(numbers) * 2.0**-60 + abs(float(exact)) * 2.0**-51


def test_floating_point_alone_would_depend_on_the_order():
    """The test above would not pass with a plain sum."""
    numbers = [1e8, 1e-8, -1e8]
    assert sum(numbers) != sum(numbers[::-1]) or sum(numbers) != sum([numbers[0], numbers[2], 1e-8])
    assert summed(numbers).value == pytest.approx(1e-8, rel=1e-9)


@given(st.integers(1, 5))
def test_arrays_are_summed_element_by_element(n):
    arrays = np.random.default_rng(n).normal(size=(n, 3, 4))
    total = ExactSum((3, 4))
    for array in arrays:
        total.add(array)
    np.testing.assert_allclose(total.value, arrays.sum(axis=0), rtol=0, atol=1e-15)


def test_garbage_neither_wraps_around_nor_depends_on_the_order():
    total = summed([1e300] * 3 + [2.0**45] * 128)
    assert total.value == 131 * 2.0**45
    other = summed([2.0**45] * 128 + [1e300] * 3)
    assert np.array_equal(total.to_array(), other.to_array())
    for _ in range(20):
        other.merge(ExactSum.from_array(other.to_array()))
    assert other.value == (1 << 61) * 2.0**-8
    with pytest.raises(ValueError, match="finite"):
        total.add([1.0, np.nan])
