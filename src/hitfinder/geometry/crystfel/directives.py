"""What CrystFEL is told in a geometry file besides where the pixels are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from hitfinder.geometry.crystfel.entries import Flag
from hitfinder.geometry.crystfel.geomfile import GeomFile


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
            lines = [_flag_line(flag) for flag in dict.fromkeys(panel.flags) if flag not in common]
            if panel.max_adu is not None:
                lines.append(f"max_adu = {panel.max_adu:.15g}")
                max_adu = None
            own[panel.name] = tuple(lines)
    if len(set(own.values())) == 1:
        top += next(iter(own.values()))
        own = {}
    top += map(_flag_line, common)
    if max_adu is not None:
        top.append(f"max_adu = {max_adu:.15g}")
    return Directives(tuple(top), own)


def _flag_line(flag: Flag) -> str:
    return f"flag_{flag.kind} = {flag.value:.15g}"
