"""Which conditions a suite has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hitfinder.suite import patternsim, precision, simulated, thinned
from hitfinder.suite.condition import ConditionRecipe

SUITES = ("low-flux",)
QUICK_HITS, QUICK_BLANKS = 4, 40


def recipes(
    suite: str,
    pattern_sim: str | Path | None = None,
    real: Sequence[thinned.FullFrame] = (),
    quick: bool = False,
    only: Sequence[str] = (),
) -> list[ConditionRecipe]:
    """Return the conditions of a suite, in the order of the report.

    Parameters
    ----------
    suite : str
        One of `SUITES`.
    pattern_sim : path-like, optional
        File of Bragg frames by pattern_sim, see `hitfinder.suite.patternsim.recipes`.
    real : sequence of FullFrame
        Measured frames to thin.
    quick : bool
        Fewer frames.
    only : sequence of str
        Conditions whose name starts with one of these; all if empty.

    Raises
    ------
    ValueError
        If there is no such suite, or no such condition.
    """
    if suite not in SUITES:
        raise ValueError(f"no suite is called {suite!r}; known: {', '.join(SUITES)}")
    out = [simulated.flux_recipe(shots) for shots in simulated.SHOTS]
    if pattern_sim:
        out += patternsim.recipes(pattern_sim)
    for full in real:
        out += thinned.recipes(full)
    out += simulated.variation_recipes()
    if quick:
        out = [recipe.reduced(QUICK_HITS, QUICK_BLANKS) for recipe in out]
    chosen = [recipe for recipe in out if _asked(recipe.condition.name, only)]
    if not (chosen or series(quick, only)):
        names = ", ".join(recipe.condition.name for recipe in out)
        asked = ", ".join(only)
        raise ValueError(f"no condition's name starts with {asked!r}; there are {names}")
    return chosen


def series(
    quick: bool = False, only: Sequence[str] = ()
) -> list[tuple[precision.PrecisionSeries, int]]:
    """Return the series by which energies and lengths are judged, and their frames."""
    n = precision.QUICK_FRAMES if quick else precision.N_FRAMES
    return [(one, n) for one in precision.SERIES if _asked(one.name, only)]


def _asked(name: str, only: Sequence[str]) -> bool:
    return not only or name.startswith(tuple(only))


def skipped(pattern_sim: str | Path | None, real: Sequence[thinned.FullFrame]) -> list[str]:
    """Say which conditions a suite lacks for want of a file."""
    lines = []
    if not pattern_sim:
        lines.append("frames of CrystFEL's pattern_sim: no file was given")
    if not real:
        lines.append("thinned measured frames: none was given")
    return lines
