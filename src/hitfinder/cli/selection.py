"""Options that choose frames of a tree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hitfinder.study.dataset.select import Selection


MOST_VALUES = 10_000
"""Numbers of a range: more settings than folders of a tree can have names."""


def selection_options(command: Any) -> Any:
    """Add the options that choose frames of a tree."""
    for option in reversed(
        (
            click.option("--settings", metavar="LIST", help="Settings to use, e.g. 01,02."),
            click.option(
                "--photon-energy-ev", metavar="LIST", help="Photon energies to use, e.g. 6000,7000."
            ),
            click.option(
                "--camera-length-m", metavar="LIST", help="Camera lengths to use, e.g. 0.15,0.25."
            ),
        )
    ):
        command = option(command)
    return command


def selection_from(
    settings: str | None, photon_energy_ev: str | None, camera_length_m: str | None
) -> Selection:
    """Return what the options choose.

    Raises
    ------
    ConfigError
        If a list holds something that is not a number.
    """
    from hitfinder.study.dataset.select import Selection

    names = tuple(name.strip() for name in settings.split(",")) if settings else ()
    return Selection(
        names,
        numbers(photon_energy_ev, "--photon-energy-ev"),
        numbers(camera_length_m, "--camera-length-m"),
    )


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """Return the numbers in a list such as ``6000,7000`` or ``5000:12000:1000`` (ends included).

    Raises
    ------
    ConfigError
        If it holds something else, infinity included.
    """
    import numpy as np

    from hitfinder.errors import ConfigError

    values: list[float] = []
    for item in text.split(",") if text else ():
        try:
            parts = [float(part) for part in item.split(":")]
        except ValueError:
            parts = []
        if not all(map(math.isfinite, parts)):
            raise ConfigError(f"{item!r} is not finite", option)
        if len(parts) == 1:
            values += parts
        elif len(parts) == 3 and parts[2] > 0 and parts[1] >= parts[0]:
            steps = np.floor((parts[1] - parts[0]) / parts[2] + 1e-9)
            if steps >= MOST_VALUES:
                raise ConfigError(f"{item!r} is more than {MOST_VALUES} numbers", option)
            values += [float(f"{parts[0] + i * parts[2]:.9g}") for i in range(int(steps) + 1)]
        else:
            hint = "Give numbers with commas, or first:last:step."
            raise ConfigError(f"{item!r} is no number and no range", option, hint)
    return tuple(values)
