"""Panels and bad regions out of the assignments of a geometry file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import text
from hitfinder.geometry.crystfel.entries import BadRegion, Flag, MaskPlace, PanelEntry
from hitfinder.geometry.crystfel.text import Entry
from hitfinder.geometry.layout import Dim

PANEL_KEY = re.compile(
    r"(min|max)_[fs]s|corner_[xy]|fs|ss|res|clen|coffset|data|dim\d+|adu_per_(eV|photon)|max_adu"
    r"|no_index|flag_(lessthan|morethan|equal)"
    r"|mask(_file|_good|_bad|_edge_pixels)?|mask[0-7]_(data|file|goodbits|badbits)"
)
"""Names of what can be said of a panel."""

REGION_KEY = re.compile("(min|max)_([fs]s|x|y)|panel")
"""Names of what can be said of a bad region."""

_OLD_MASK_NAMES = {
    "mask": "mask0_data",
    "mask_file": "mask0_file",
    "mask_good": "mask0_goodbits",
    "mask_bad": "mask0_badbits",
}

Found = dict[str, Any]


def note(found: Found, entry: Entry) -> None:
    """Add an assignment to those of its panel or region.

    A later one replaces an earlier one, except that flags add up.
    """
    if entry.key.startswith("flag_"):
        found["flags"] = (*found.get("flags", ()), entry)
    else:
        found[_OLD_MASK_NAMES.get(entry.key, entry.key)] = entry


def panel_entry(name: str, found: Found, where: str) -> PanelEntry:
    """Make a panel.

    Parameters
    ----------
    name : str
        Panel name.
    found : dict
        What `note` gathered.
    where : str
        ``file:line`` that first names the panel.

    Raises
    ------
    GeometryError
        If something is missing or makes no sense.
    """

    def need(key: str, parse: Callable[[Entry], Any]) -> Any:
        if key not in found:
            raise GeometryError(f"panel {name!r} has no {key}", where)
        return parse(found[key])

    def may(key: str, parse: Callable[[Entry], Any], default: Any = None) -> Any:
        return parse(found[key]) if key in found else default

    panel = PanelEntry(
        name,
        min_fs=need("min_fs", text.whole),
        max_fs=need("max_fs", text.whole),
        min_ss=need("min_ss", text.whole),
        max_ss=need("max_ss", text.whole),
        corner_x=need("corner_x", text.number),
        corner_y=need("corner_y", text.number),
        fs=need("fs", text.direction),
        ss=need("ss", text.direction),
        res=need("res", text.positive),
        coffset_m=may("coffset", text.length_m, 0.0),
        clen=may("clen", lambda e: text.quantity(e, "length")),
        data=may("data", text.path),
        dims=_dims(name, found, where),
        adu_per_photon=may("adu_per_photon", text.positive),
        adu_per_ev=may("adu_per_eV", text.positive),
        max_adu=may("max_adu", _saturation),
        no_index=may("no_index", text.switch, False),
        mask_edge_pixels=may("mask_edge_pixels", text.whole, 0),
        masks=_masks(found),
        flags=tuple(
            Flag(e.key.removeprefix("flag_"), text.number(e)) for e in found.get("flags", ())
        ),
    )
    for axis in ("fs", "ss"):
        low, high = found[f"min_{axis}"], found[f"max_{axis}"]
        if text.whole(low) < 0:
            raise low.error("must not be negative")
        if text.whole(high) < text.whole(low):
            raise high.error(f"is less than min_{axis}")
    if text.are_parallel(panel.fs, panel.ss):
        raise found["ss"].error("is zero or parallel to fs")
    return panel


def _dims(name: str, found: Found, where: str) -> tuple[Dim, ...]:
    """Axes of a panel's dataset; without any told, they are ss and fs."""
    dims: dict[int, Dim | None] = {0: "ss", 1: "fs"}
    for key, entry in found.items():
        if re.fullmatch(r"dim\d+", key):
            dims[text.axis_number(entry)] = text.axis(entry)
    listed = [dims.get(axis) for axis in range(max(dims) + 1)]
    right = None not in listed and listed.count("%") <= 1
    if not right or listed.count("ss") != 1 or listed.count("fs") != 1:
        shown = ", ".join("nothing" if d is None else str(d) for d in listed)
        hint = "ss and fs are needed once each, % at most once, and no axis may be left out"
        raise GeometryError(f"panel {name!r} has dimensions {shown}", where, hint)
    return tuple(d for d in listed if d is not None)


def _saturation(entry: Entry) -> float | None:
    """Return the limit of the counts; None for infinity, which is none."""
    value = text.limit(entry)
    return None if value == math.inf else text.number(entry)


def idle_mask_bits(found: Found) -> list[Entry]:
    """Entries that say how to read a mask for which no location is given."""
    bits = re.compile(r"(mask\d_)(good|bad)bits")
    matches = [(key, match[1]) for key in found if (match := bits.fullmatch(key))]
    return [found[key] for key, mask in matches if f"{mask}data" not in found]


def _masks(found: Found) -> tuple[MaskPlace, ...]:
    places = []
    for n in range(8):
        location, file, good, bad = (
            found.get(f"mask{n}_{part}") for part in ("data", "file", "goodbits", "badbits")
        )
        if location is not None:
            places.append(
                MaskPlace(
                    text.path(location),
                    file.value if file else None,
                    text.bits(good) if good else 0,
                    text.bits(bad) if bad else 0,
                )
            )
        elif file is not None:
            raise file.error("there is no location of the mask", f"give mask{n}_data as well")
    return tuple(places)


def bad_region(name: str, found: Found, where: str) -> BadRegion:
    """Make a bad region; parameters and errors as for `panel_entry`."""
    in_lab = {key[-2:] not in ("fs", "ss") for key in found if key != "panel"}
    if len(in_lab) != 1:
        what = "mixes fs/ss and x/y" if in_lab else "has no bounds"
        raise GeometryError(f"bad region {name!r} {what}", where)
    lab = in_lab.pop()
    axes, parse = (("x", "y"), text.limit) if lab else (("fs", "ss"), text.whole)
    bounds: list[float] = []
    for key in (f"{end}_{axis}" for end in ("min", "max") for axis in axes):
        if key not in found:
            raise GeometryError(f"bad region {name!r} has no {key}", where)
        bounds.append(parse(found[key]))
    panel = found["panel"].value if "panel" in found else None
    return BadRegion(name, (bounds[0], bounds[1]), (bounds[2], bounds[3]), lab, panel)
