import numpy as np
import pytest

from hitfinder.simulation.distributions import Value, fixed

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (5, fixed(5)),
        ("5", fixed(5)),
        ("-1..3", Value("uniform", (-1.0, 3.0))),
        ([1, 3], Value("uniform", (1.0, 3.0))),
        ("loguniform:1e7,3e8", Value("loguniform", (1e7, 3e8))),
        ({"normal": [5, 0.1]}, Value("normal", (5.0, 0.1))),
        ("choice:6000,7000,8000", Value("choice", (6000.0, 7000.0, 8000.0))),
        ({"choice": [6]}, Value("choice", (6.0,))),
    ],
)
def test_ways_to_give_a_value(given, value):
    assert Value.from_setting(given) == value
    assert Value.from_setting(str(value)) == value


@pytest.mark.parametrize(
    "given",
    ["x", "3..1", "normal:1", "normal:1,-2", "loguniform:0,1", "gamma:1,2", "nan", True, [1, 2, 3],
     {"normal": [1, "a"]}, {"normal": [1, 2], "min": 0}, {"uniform": 3}, "choice:"],
)  # fmt: skip
def test_what_is_no_value(given):
    with pytest.raises(ValueError):
        Value.from_setting(given)


@pytest.mark.parametrize(
    ("value", "mean", "sd"),
    [
        (fixed(4), 4, 0),
        (Value("uniform", (2, 6)), 4, 4 / np.sqrt(12)),
        (Value("normal", (4, 0.5)), 4, 0.5),
        (Value("lognormal", (4, 0.1)), 4 * np.exp(0.005), 0.4),
        (Value("loguniform", (1, np.e)), np.e - 1, np.sqrt((np.e**2 - 1) / 2 - (np.e - 1) ** 2)),
        (Value("choice", (1, 3)), 2, 1),
    ],
)
def test_draws_have_the_moments_of_the_distribution(value, mean, sd):
    draws = np.array([value.draw(RNG) for _ in range(4000)])
    assert draws.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(4000) + 1e-9)
    assert draws.std() == pytest.approx(sd, rel=0.1, abs=1e-9)
    low, high = value.extremes
    assert low <= draws.min() <= draws.max() <= high
    assert low <= value.nominal <= high
    assert value.is_fixed == (sd == 0)


def test_tails_beyond_the_limits_are_drawn_again():
    value = Value("normal", (1, 1))
    assert min(value.draw(RNG, low=0) for _ in range(500)) >= 0
    with pytest.raises(ValueError, match="hardly ever"):
        Value("normal", (0, 1)).draw(RNG, low=50)
