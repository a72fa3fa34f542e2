"""What CrystFEL is told in a geometry file besides where the pixels are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from hitfinder.geometry.crystfel.entries import Flag
from hitfinder.geometry.crystfel.geomfile import GeomFile

HIGHEST_FLAG = 2_147_483_000.0
"""CrystFEL keeps flags as signed integers of 32 bits, by way of single precision, and compares in
single precision: it takes 2147483645 for -2147483648, and 4294967295 too (datatemplate.c,
add_flag_value; image.c, mark_flagged_pixels; CrystFEL 0.12)."""


@dataclasses.dataclass(frozen=True)
class Directives:
    """Lines of a geometry file beyond the geometry.

    Parameters
    ----------
    lines : tuple of str
        Lines that hold for all panels, or for the whole file.
    panel_lines : mapping of str to tuple of str
        For panels by their name, further lines without the name.
    """

    lines: tuple[str, ...] = ()
    panel_lines: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def directives_of(
    geom: GeomFile | None, flags: Iterable[Flag] = (), max_adu: float | None = None
) -> Directives:
    """Keep what a geometry file says besides the geometry.

    Its bandwidth, the groups of its panels, the values that mark bad pixels and its saturation
    are kept. Both kinds of groups are: CrystFEL up to 0.10 reads ``rigid_group``, later versions
    ``group``.

    Parameters
    ----------
    geom : GeomFile, optional
        The geometry file.
    flags : iterable of Flag
        Further values that mark bad pixels, on all panels.
    max_adu : float, optional
        Stored value above which a pixel is saturated, where the file gives none.
    """
    common = tuple(flags)
    top: list[str] = []
    own: dict[str, tuple[str, ...]] = {}
    if geom is not None:
        if geom.bandwidth is not None:
            top.append(f"bandwidth = {geom.bandwidth:.15g}")
        top += geom.groups
        for panel in geom.panels:
            flags = (flag for flag in panel.flags if flag not in common)
            lines = [line for flag in flags for line in _flag_lines(flag)]
            if panel.max_adu is not None:
                lines.append(f"max_adu = {panel.max_adu:.15g}")
                max_adu = None
            own[panel.name] = tuple(dict.fromkeys(lines))
    if len(set(own.values())) == 1:
        top += next(iter(own.values()))
        own = {}
    top += dict.fromkeys(line for flag in common for line in _flag_lines(flag))
    if max_adu is not None:
        top.append(f"max_adu = {max_adu:.15g}")
    return Directives(tuple(top), own)


def _flag_lines(flag: Flag) -> tuple[str, ...]:
    """Write a flag so that CrystFEL marks what it says.

    Of values beyond its range it can mark only all together, which no count reaches. Its flags are
    whole, but it rounds counts before it finds them equal: less than -0.5 is less than or equal
    to -1.
    """
    kind, value = flag.kind, flag.value
    if abs(value) > HIGHEST_FLAG:
        if kind == "equal":
            kind = "morethan" if value > 0 else "lessthan"
        return (f"flag_{kind} = {math.copysign(HIGHEST_FLAG, value):.15g}",)
    if kind == "lessthan" and value % 1 == 0.5:
        return tuple(f"flag_{kind} = {math.floor(value)}" for kind in ("lessthan", "equal"))
    return (f"flag_{kind} = {value:.15g}",)
