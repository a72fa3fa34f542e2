"""What options have in common: numbers are finite, and one without a meaning is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import click
from click.core import ParameterSource


class _FiniteOnly(click.ParamType):
    """Refuses infinity and not-a-number; to be put before a type of numbers."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail as a wrong value of its option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Finite(_FiniteOnly, click.types.FloatParamType):
    """Any finite number."""


class FiniteRange(_FiniteOnly, click.FloatRange):
    """A range of finite numbers."""


def reader_option(command: Any) -> Any:
    """Add the option that says what opens the files."""
    return click.option(
        "--reader",
        metavar="NAME",
        help="Open files with this reader: a name of 'hitfinder plugins', or your own as"
        " module:Class.  [default: the first that can]",
    )(command)


def bandwidth_option(
    use: str = "", *, may_be_zero: bool = True, default: float | None = None
) -> Callable[[Any], Any]:
    """Make the option that says how wide the spectrum of the beam is, and what for."""
    told = "the geometry file's, else 0.01" if default is None else str(default)
    return click.option(
        "--bandwidth",
        type=FiniteRange(0, 0.2, min_open=not may_be_zero),
        metavar="SHARE",
        default=default,
        help=f"Relative bandwidth of the beam, full width{use}.  [default: {told}]",
    )


FINITE = Finite()
POSITIVE = FiniteRange(min=0, min_open=True)


def refuse_all_but(ctx: click.Context, taken: Collection[str], what: str) -> None:
    """Refuse the options that were given and are not among those named.

    Parameters
    ----------
    ctx : click.Context
        Of the command.
    taken : collection of str
        Names of the parameters that have a meaning.
    what : str
        What takes no others, for the message.

    Raises
    ------
    click.UsageError
        Naming the first one.
    """
    refuse(ctx, {param.name or "" for param in ctx.command.params} - set(taken), what)


def refuse(ctx: click.Context, names: Collection[str], what: str) -> None:
    """Refuse options that have no meaning, if they were given.

    Parameters
    ----------
    ctx : click.Context
        Of the command.
    names : collection of str
        Names of the parameters that have none.
    what : str
        What takes them not, for the message.

    Raises
    ------
    click.UsageError
        Naming the first one.
    """
    for param in ctx.command.params:
        name = param.name or ""
        if name in names and ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{what} takes no {max(param.opts, key=len)}")
