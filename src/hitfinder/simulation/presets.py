"""Named settings, and settings in TOML files."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Mapping
from typing import Any

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.simulation.distributions import Value
from hitfinder.simulation.settings import SimulationSettings

_VARIED = {
    "beam": {"photon_energy_ev": "normal:6000,12", "flux": "lognormal:3e8,0.1"},
    "crystal": {"offset_x_um": "normal:0,2", "offset_y_um": "normal:0,2"},
    "background": {"water_um": "5..15"},
    "detector": {"shift_fs_px": "normal:0,1", "shift_ss_px": "normal:0,1"},
}
PRESETS: dict[str, dict[str, Any]] = {
    "single-shot": _VARIED,
    "integrated": _VARIED | {"background": {"water_um": "5..15", "shots": 2000}},
    "extreme-low-flux": _VARIED
    | {"background": {"water_um": "5..15", "shots": 2000}, "bragg_scale": "loguniform:0.001,0.1"},
    "report": {
        "crystal": {"illumination": "full"},
        "background": {"shots": 2000},
        "detector": {"name": "eiger-4m-report"},
    },
}
"""Named settings: one photon-sparse pulse; the background of 2,000 pulses under the spots of one;
the same with Bragg photons scaled down by 10 to 1,000; and the fixed settings of Everett and Kurth
(2024), of which energy and camera length are to be chosen."""


def load_settings(
    path: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> SimulationSettings:
    """Put settings together: a preset, then a TOML file, then single values.

    Parameters
    ----------
    path : path-like, optional
        TOML file with the tables ``[beam]``, ``[crystal]``, ``[background]``, ``[detector]``; the
        key ``preset`` names the preset it starts from.
    preset : str, optional
        Instead of the file's.
    overrides : mapping, optional
        Values by dotted name, such as ``{"beam.flux": "1e8..3e8"}``.

    Raises
    ------
    ConfigError
        If anything is unknown, of the wrong type, or impossible.
    """
    where = str(path) if path else "settings"
    table = config.read_toml(path) if path else {}
    name = preset or table.pop("preset", "single-shot")
    table.pop("preset", None)
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}", where, f"Known: {', '.join(PRESETS)}.")
    merged = _merge(PRESETS[name], table)
    for key, value in (overrides or {}).items():
        *parts, last = key.split(".")
        nested: dict[str, Any] = {last: value}
        for part in reversed(parts):
            nested = {part: nested}
        merged = _merge(merged, nested)
    return build_settings(merged, where)


def dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Name settings in full that are given by their last name: ``flux`` is ``beam.flux``.

    The table may stand before it, as in ``crystal_size_um`` and in full; ``detector`` is the
    detector's name.

    Raises
    ------
    ConfigError
        If there is no such setting.
    """
    whole = _names()
    for key in changes:
        if key not in whole:
            close = difflib.get_close_matches(key, whole, n=1, cutoff=0.6)
            hint = "`hitfinder simulate --show-settings` lists all."
            raise ConfigError(
                f"unknown setting {key!r}", hint=f"Did you mean {close[0]!r}?" if close else hint
            )
    full = {whole[key]: value for key, value in changes.items()}
    cell = full.get("crystal.cell")
    if isinstance(cell, (tuple, list)):
        full["crystal.cell"] = ",".join(map(str, cell))
    return full


@functools.cache
def _names() -> dict[str, str]:
    """Return the names that settings may be given by, and in full."""
    names: dict[str, str] = {}
    for field in dataclasses.fields(SimulationSettings):
        if not dataclasses.is_dataclass(field.default) or isinstance(field.default, Value):
            names[field.name] = field.name
            continue
        for inner in dataclasses.fields(field.default):
            full = f"{field.name}.{inner.name}"
            names |= dict.fromkeys((inner.name, f"{field.name}_{inner.name}", full), full)
    names["detector"] = names.pop("name")
    return names


def build_settings(table: Mapping[str, Any], where: str = "settings") -> SimulationSettings:
    """Fill the settings from nested tables.

    Raises
    ------
    ConfigError
        As for `load_settings`.
    """
    return config.build(SimulationSettings, table, where)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        is_table = both and key in ("beam", "crystal", "background", "detector")
        merged[key] = _merge(merged[key], value) if is_table else value
    return merged
