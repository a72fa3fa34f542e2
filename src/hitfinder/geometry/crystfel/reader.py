"""Reading CrystFEL geometry files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import text
from hitfinder.geometry.crystfel.build import (
    PANEL_KEY,
    REGION_KEY,
    bad_region,
    idle_mask_bits,
    note,
    panel_entry,
)
from hitfinder.geometry.crystfel.entries import BadRegion, PanelEntry
from hitfinder.geometry.crystfel.geomfile import GeomFile
from hitfinder.geometry.crystfel.overlaps import overlapping
from hitfinder.geometry.crystfel.text import Entry
from hitfinder.geometry.layout import check_frame_size

Corner = tuple[int, int]

MOST_PANELS = 10_000
"""More than any detector has: AGIPD 1M has 128, LPD 256."""

MOST_BYTES = 1 << 26
"""Size of a geometry file, beyond which it is none."""

_TOP_KEY = re.compile(
    "photon_energy|wavelength|electron_voltage|bandwidth|detector_shift_[xy]"
    "|peak_list|peak_list_type"
)
# Bodies that are refined as a whole, which only CrystFEL has a use for.
_GROUP_KEY = re.compile("rigid_group.*|group_.*")
# Without any use: the direction of read-out noise, limits per pixel that CrystFEL itself does not
# apply yet.
_IGNORED_KEY = re.compile("badrow_direction|saturation_map(_file)?")


def read_geom(path: str | os.PathLike[str]) -> GeomFile:
    """Read a CrystFEL geometry file.

    The rules are those of crystfel_geometry(5) for CrystFEL 0.9 to 0.11: a line without a panel's
    name sets the default for panels first named after it, a panel's own line counts wherever it
    stands.

    Parameters
    ----------
    path : str or PathLike
        The ``.geom`` file.

    Raises
    ------
    GeometryError
        If the file cannot be read or a line of it cannot be used, with file, line and text. Names
        that are unknown are no error; `GeomFile.warnings` lists them.

    Examples
    --------
    >>> import hitfinder as hf
    >>> geometry = hf.read_geom("detector.geom").geometry()
    >>> geometry.shape, geometry.camera_length_m
    ((512, 512), 0.1)
    """
    return geom_of(geometry_text(path), str(path))


def geometry_text(path: str | os.PathLike[str]) -> str:
    """Return the content of a geometry file of any program.

    Raises
    ------
    GeometryError
        If it cannot be read, or is too large for one.
    """
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise GeometryError("is too large for a geometry file", str(path))
        return Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        raise GeometryError(f"cannot be read ({_reason(error)})", str(path)) from error


def geom_of(content: str, name: str) -> GeomFile:
    """Make a geometry of the content of a CrystFEL geometry file.

    Raises
    ------
    GeometryError
        As `read_geom`.
    """
    statements = _Statements(name)
    for entry in text.entries(content, name):
        statements.take(entry)
    return statements.geom_file()


def _reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be read; a ValueError is of a path that is none."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class _Statements:
    """The assignments of one file, sorted by what they speak of."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.top: dict[str, Entry] = {}
        self.defaults: dict[str, Any] = {}
        self.panels: dict[str, dict[str, Any]] = {}
        self.regions: dict[str, dict[str, Any]] = {}
        self.first: dict[str, Entry] = {}
        self.without_panel: list[Entry] = []
        self.groups: list[str] = []
        self.warnings: list[str] = []

    def take(self, entry: Entry) -> None:
        """Put one assignment in its place."""
        is_region = entry.owner.startswith("bad")
        if _IGNORED_KEY.fullmatch(entry.key):
            return
        if _GROUP_KEY.fullmatch(entry.key):
            owner = f"{entry.owner}/" if entry.owner else ""
            self.groups.append(f"{owner}{entry.key} = {entry.value}")
            return
        if not entry.owner and _TOP_KEY.fullmatch(entry.key):
            self.top[entry.key] = entry
        elif not (REGION_KEY if is_region else PANEL_KEY).fullmatch(entry.key):
            self.warnings.append(str(entry.error("unknown name, ignored")))
        elif is_region:
            self.first.setdefault(entry.owner, entry)
            note(self.regions.setdefault(entry.owner, {}), entry)
        elif entry.owner:
            if entry.owner not in self.panels:
                if len(self.panels) >= MOST_PANELS:
                    raise GeometryError(f"describes more than {MOST_PANELS} panels", self.path)
                self.first[entry.owner] = entry
                self.panels[entry.owner] = dict(self.defaults)
                self.without_panel.clear()
            note(self.panels[entry.owner], entry)
        else:
            note(self.defaults, entry)
            self.without_panel.append(entry)

    def geom_file(self) -> GeomFile:
        """Make the parts out of the assignments, and check them against one another."""
        if not self.panels:
            hint = "is it a CrystFEL geometry file?"
            raise GeometryError("describes no panel", self.path, hint)
        for found in self.panels.values():
            # CrystFEL 0.10 and later take the camera length from wherever it stands.
            if "clen" in self.defaults:
                found.setdefault("clen", self.defaults["clen"])
        self.warnings += [
            str(entry.error("has no effect, no panel comes after it"))
            for entry in self.without_panel
            if entry.key != "clen"
        ]
        idle = {entry for found in self.panels.values() for entry in idle_mask_bits(found)}
        self.warnings += sorted(str(e.error("no mask is used, none is named")) for e in idle)
        panels = tuple(
            panel_entry(name, found, self.first[name].where) for name, found in self.panels.items()
        )
        regions = tuple(
            bad_region(name, found, self.first[name].where) for name, found in self.regions.items()
        )
        self._check_camera_lengths(panels)
        for one, two in overlapping(panels):
            what = f"panels {one.name!r} and {two.name!r} share pixels"
            self.warnings.append(f"{self.first[two.name].where}: {what}")
        self._check_regions(regions, panels)
        geom = GeomFile(
            self.path,
            panels,
            regions,
            photon_energy=self._photon_energy(),
            shift_x=self._value("detector_shift_x", lambda e: text.quantity(e, "length")),
            shift_y=self._value("detector_shift_y", lambda e: text.quantity(e, "length")),
            bandwidth=self._value("bandwidth", text.number),
            peak_list=self._value("peak_list", text.path),
            peak_list_type=self._value("peak_list_type", _peak_list_type),
            groups=tuple(self.groups),
            warnings=tuple(self.warnings),
        )
        check_frame_size(geom.layout.shape, self.path)
        return geom

    def _value(self, key: str, parse: Callable[[Entry], Any]) -> Any:
        return parse(self.top[key]) if key in self.top else None

    def _photon_energy(self) -> text.Quantity | None:
        if "electron_voltage" in self.top:
            raise self.top["electron_voltage"].error("electron beams are not supported")
        if "photon_energy" in self.top:
            return text.quantity(self.top["photon_energy"], "energy")
        return self._value("wavelength", lambda e: text.quantity(e, "wavelength"))

    def _check_camera_lengths(self, panels: tuple[PanelEntry, ...]) -> None:
        lengths = {p.clen for p in panels}
        if len(lengths) > 1 and any(q is None or q.value is None for q in lengths):
            what = "panels take their camera length (clen) from different places"
            raise GeometryError(what, self.path, "give one clen, and coffset for each panel")

    def _check_regions(
        self, regions: tuple[BadRegion, ...], panels: tuple[PanelEntry, ...]
    ) -> None:
        bounds: dict[str | None, tuple[Corner, Corner]] = {p.name: _bounds([p]) for p in panels}
        bounds[None] = _bounds(panels)
        several = len({p.slab_key for p in panels}) > 1
        for region in regions:
            where, name = self.first[region.name].where, f"bad region {region.name!r}"
            if any(low > high for low, high in zip(region.low, region.high, strict=True)):
                self.warnings.append(f"{where}: {name} ends before it begins: it masks nothing")
            if region.in_lab:
                continue
            if region.panel is None and several:
                raise GeometryError(f"{name} does not say on which panel", where)
            if region.panel not in bounds:
                what = f"{name} is on panel {region.panel!r}, which does not exist"
                raise GeometryError(what, where)
            first, last = bounds[region.panel]
            if any(region.low[i] < first[i] or region.high[i] > last[i] for i in (0, 1)):
                self.warnings.append(f"{where}: {name} counts only where it is on its panel")


def _bounds(panels: Sequence[PanelEntry]) -> tuple[Corner, Corner]:
    """Return the first and the last (fs, ss) of panels."""
    first = min(p.min_fs for p in panels), min(p.min_ss for p in panels)
    return first, (max(p.max_fs for p in panels), max(p.max_ss for p in panels))


def _peak_list_type(entry: Entry) -> str:
    if entry.value not in ("auto", "cxi", "list3"):
        raise entry.error("unknown layout", "give cxi, list3 or auto")
    return entry.value
