import pytest

from hitfinder.report.numbers import number


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (7.0, "7"),
        (1234567, "1\u2009234\u2009567"),
        (298.4, "298"),
        (0.02117, "0.0212"),
        (51234.56, "51\u2009235"),
        (1e-5, "10⁻⁵"),
        (2.5e9, "2.5·10⁹"),
        (float("nan"), "–"),
        (-3, "-3"),
    ],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (99.6, 2, "100"),
        (98.4, 2, "98"),
        (9.96, 2, "10"),
        (12.3, 1, "12"),
        (9.7, 1, "10"),
        (0.0961, 1, "0.1"),
        (12398.4, 4, "12\u2009398"),
        (-170.3, 2, "-170"),
    ],
)
def test_what_is_rounded_up_to_another_digit_is_no_power(value, digits, shown):
    assert number(value, digits) == shown
