"""Named settings, and settings in TOML files."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hitfinder import config
from hitfinder.errors import ConfigError
from hitfinder.simulate.distributions import Value
from hitfinder.simulate.settings import SimulationSettings

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
    path: str | Path | None = None,
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
    table = _read(path) if path else {}
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


def build_settings(table: Mapping[str, Any], where: str = "settings") -> SimulationSettings:
    """Fill the settings from nested tables.

    Raises
    ------
    ConfigError
        As for `load_settings`.
    """
    parsed = _parse_values(SimulationSettings, table, where)
    return config.build(SimulationSettings, parsed, where)


def _read(path: str | Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", str(path)) from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        is_table = both and key in ("beam", "crystal", "background", "detector")
        merged[key] = _merge(merged[key], value) if is_table else value
    return merged


def _parse_values(cls: type, table: Mapping[str, Any], where: str, prefix: str = "") -> dict:
    """Turn what is given for a drawn parameter into the table of a `Value`."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    parsed: dict[str, Any] = {}
    for key, value in table.items():
        default = fields[key].default if key in fields else None
        if isinstance(default, Value):
            try:
                read = Value.parse(value)
            except ValueError as error:
                raise ConfigError(f"{prefix + key!r}: {error}", where) from error
            parsed[key] = {"kind": read.kind, "arguments": list(read.arguments)}
        elif dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            parsed[key] = _parse_values(type(default), value, where, f"{prefix}{key}.")
        else:
            parsed[key] = list(value) if isinstance(value, tuple) else value
    return parsed


def to_toml(settings: SimulationSettings) -> str:
    """Write settings as TOML that `load_settings` reads back to the same settings."""
    lines, tables = [], []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, Value):
            tables.append(f"\n[{field.name}]")
            tables += [
                f"{f.name} = {_toml(getattr(value, f.name))}"
                for f in dataclasses.fields(value)
                if getattr(value, f.name) is not None
            ]
        else:
            lines.append(f"{field.name} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Value):
        numbers = [_toml(float(v)) for v in value.arguments]
        is_fixed = value.kind == "fixed"
        return numbers[0] if is_fixed else f"{{ {value.kind} = [{', '.join(numbers)}] }}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
