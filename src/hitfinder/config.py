"""Settings as dataclasses, filled from TOML files and checked by name and type."""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hitfinder.errors import ConfigError

T = TypeVar("T")


def load(path: str | Path, cls: type[T]) -> T:
    """Read a TOML file into a settings dataclass.

    Parameters
    ----------
    path : path-like
        The file. Tables stand for nested dataclasses; a key left out keeps its default.
    cls : type
        A dataclass whose fields are bools, numbers, strings, tuples, literals, optional ones of
        these, or dataclasses.

    Returns
    -------
    instance of `cls`

    Raises
    ------
    ConfigError
        If the file cannot be read, holds an unknown key, or a value of the wrong type or range.
    """
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not valid TOML: {error}", str(path)) from error
    return build(cls, table, str(path))


def build(cls: type[T], table: Mapping[str, Any], where: str, prefix: str = "") -> T:
    """Fill a settings dataclass from a mapping, refusing what it does not know.

    Parameters
    ----------
    cls : type
        The dataclass.
    table : mapping
        Values by field name.
    where : str
        The file the values come from, for messages.
    prefix : str
        Dotted path of `table` in the file, ending in a dot, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown, or a value is of the wrong type or refused by the dataclass.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in names:
            raise ConfigError(f"unknown setting {prefix + key!r}", where, _suggestion(key, names))
        values[key] = _convert(value, hints[key], where, prefix + key)
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(str(error), f"{where}, [{prefix[:-1]}]" if prefix else where) from error


def override(settings: T, **given: Any) -> T:
    """Replace the fields that are given a value other than None.

    Raises
    ------
    ConfigError
        If the dataclass refuses a value.
    """
    try:
        changed = {key: value for key, value in given.items() if value is not None}
        return dataclasses.replace(settings, **changed)  # type: ignore[type-var]
    except ValueError as error:
        raise ConfigError(str(error)) from error


def flatten(settings: object, prefix: str = "") -> dict[str, Any]:
    """List the settings by dotted name, nested dataclasses unfolded, for comparing and showing."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, f"{prefix}{field.name}."))
        else:
            flat[prefix + field.name] = list(value) if isinstance(value, tuple) else value
    return flat


def _suggestion(key: str, names: list[str]) -> str:
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(sorted(names))}"


def _convert(value: Any, hint: Any, where: str, name: str) -> Any:
    """Return `value` as the type `hint`, or raise ConfigError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        hint = next(a for a in arguments if a is not type(None))
        return _convert(value, hint, where, name)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{name!r} must be a table, got {value!r}", where)
        return build(typing.cast(type, hint), value, where, name + ".")
    if origin is tuple:
        return _convert_tuple(value, arguments, where, name)
    if origin is typing.Literal:
        if value not in arguments:
            options = ", ".join(map(repr, arguments))
            raise ConfigError(f"{name!r} must be one of {options}, got {value!r}", where)
        return value
    if hint is float and type(value) is int:
        value = float(value)
    # TOML spells nan and inf, and no setting has a use for either.
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        what = _NAMES.get(hint, str(hint))
        raise ConfigError(f"{name!r} must be {what}, got {value!r}", where)
    return value


def _convert_tuple(value: Any, arguments: tuple, where: str, name: str) -> tuple:
    any_length = len(arguments) == 2 and arguments[1] is Ellipsis
    if not isinstance(value, list) or not (any_length or len(value) == len(arguments)):
        length = "" if any_length else f" of {len(arguments)} values"
        raise ConfigError(f"{name!r} must be a list{length}, got {value!r}", where)
    hints = arguments[:1] * len(value) if any_length else arguments
    return tuple(_convert(v, h, where, name) for v, h in zip(value, hints, strict=True))


_NAMES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string"}
