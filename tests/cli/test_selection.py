"""Lists of numbers on the command line."""

import pytest

from hitfinder.cli.selection import numbers
from hitfinder.errors import ConfigError


def test_numbers_and_ranges():
    assert numbers("6000,7000", "--x") == (6000, 7000)
    assert numbers("0.1:0.3:0.1", "--x") == (0.1, 0.2, 0.3)
    assert numbers(None, "--x") == ()


@pytest.mark.parametrize("text", ["1:1e9:1e-9", "1:2:1e-320", "0:1e300:1"])
def test_ranges_without_end_are_refused(text):
    with pytest.raises(ConfigError, match="is more than 10000 numbers"):
        numbers(text, "--x")
