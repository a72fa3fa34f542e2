"""Which conditions a suite has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hitfinder.crystal.reflections import StructureFactors
from hitfinder.suite import known, known_patternsim, patternsim, precision, simulated, thinned
from hitfinder.suite.condition import ConditionRecipe

LOW_FLUX, KNOWN_CRYSTAL = "low-flux", "known-crystal"
SUITES = (LOW_FLUX, KNOWN_CRYSTAL)
QUICK_HITS, QUICK_BLANKS = 4, 40


def check(suite: str) -> None:
    """Raise ValueError if there is no such suite."""
    if suite not in SUITES:
        raise ValueError(f"no suite is called {suite!r}; known: {', '.join(SUITES)}")


def recipes(
    pattern_sim: str | Path | None = None,
    real: Sequence[thinned.FullFrame] = (),
    quick: bool = False,
    only: Sequence[str] = (),
) -> list[ConditionRecipe]:
    """Return the conditions of the suite ``low-flux``, in the order of the report.

    Parameters
    ----------
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
        If there is no such condition.
    """
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
        raise _none_asked([recipe.condition.name for recipe in out], only)
    return chosen


def known_parts(
    factors: StructureFactors,
    pattern_sim: str | Path | None = None,
    quick: bool = False,
    only: Sequence[str] = (),
) -> list[known.KnownPart]:
    """Return the parts of the suite ``known-crystal``, in the order of the report.

    Parameters
    ----------
    factors : StructureFactors
        |F|² of the crystal.
    pattern_sim : path-like, optional
        File of Bragg frames, see `hitfinder.suite.known_patternsim.pattern_sim_parts`.
    quick : bool
        Fewer frames.
    only : sequence of str
        Parts whose name starts with one of these; all if empty.

    Raises
    ------
    ValueError
        If there is no such part.
    HitfinderError
        If the file cannot be used.
    """
    numbers = (known.QUICK_HITS, known.QUICK_BLANKS) if quick else ()
    out: list[known.KnownPart] = [*known.simulated_parts(factors, *numbers)]
    if pattern_sim:
        out += known_patternsim.pattern_sim_parts(pattern_sim, factors, quick)
    chosen = [part for part in out if _asked(part.name, only)]
    if not chosen:
        raise _none_asked([part.name for part in out], only)
    return chosen


def series(
    quick: bool = False, only: Sequence[str] = ()
) -> list[tuple[precision.PrecisionSeries, int]]:
    """Return the series by which energies and lengths are judged, and their frames."""
    n = precision.QUICK_FRAMES if quick else precision.N_FRAMES
    return [(one, n) for one in precision.SERIES if _asked(one.name, only)]


def _asked(name: str, only: Sequence[str]) -> bool:
    return not only or name.startswith(tuple(only))


def _none_asked(names: Sequence[str], only: Sequence[str]) -> ValueError:
    asked = ", ".join(only)
    return ValueError(f"no condition's name starts with {asked!r}; there are {', '.join(names)}")


def skipped(
    suite: str, pattern_sim: str | Path | None, real: Sequence[thinned.FullFrame]
) -> list[str]:
    """Say which conditions a suite lacks for want of a file."""
    lines = []
    if not pattern_sim:
        lines.append("frames of CrystFEL's pattern_sim: no file was given")
    if suite == LOW_FLUX and not real:
        lines.append("thinned measured frames: none was given")
    return lines
