"""Settings as dataclasses, filled from TOML files and checked by name and type.

A class whose settings are not written field by field has the methods ``from_setting``, a class
method that makes one from what a file holds or raises ValueError, and ``to_setting``, which gives
it back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import math
import os
import tomllib
import typing
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from hitfinder.errors import ConfigError

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")

_PLAIN = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a string"}


class _WrongKindError(ValueError):
    """A value of the wrong kind; the text follows the name of the setting."""


def load(path: str | os.PathLike[str], cls: type[T]) -> T:
    """Read a TOML file into a settings dataclass.

    Parameters
    ----------
    path : path-like
        The file. Tables stand for nested dataclasses; a key left out keeps its default.
    cls : type
        A dataclass whose fields are bools, numbers, strings, tuples, mappings of strings,
        literals, optional ones of these, or dataclasses.

    Returns
    -------
    instance of `cls`

    Raises
    ------
    ConfigError
        If the file cannot be read, holds an unknown key, or a value of the wrong type or range.
    """
    return build(cls, read_toml(path), str(path))


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read or is no TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(error.strerror or str(error), str(path)) from error
    # A whole number of thousands of digits is a plain ValueError.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not valid TOML: {error}", str(path)) from error


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Fill a settings dataclass from a mapping, refusing what it does not know.

    Parameters
    ----------
    cls : type
        The dataclass.
    table : mapping
        Values by field name.
    where : str
        The file the values come from, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or a value is of the wrong type or refused by the dataclass.
    """
    import cattrs

    try:
        return _converter().structure(table, cls)
    except cattrs.BaseValidationError as error:
        _explain(error, where)


def override(settings: T, **given: Any) -> T:
    """Replace the fields that are given a value other than None.

    Paths and NumPy numbers are taken as strings and numbers.

    Raises
    ------
    ConfigError
        If there is no such field, or a value is of the wrong type or refused by the dataclass.
    """
    hints = typing.get_type_hints(type(settings))
    changed = {}
    for key, value in given.items():
        if key not in hints:
            raise ConfigError(f"unknown setting {key!r}", hint=suggestion(key, list(hints)))
        if value is not None:
            changed[key] = _converted(key, value, hints[key])
    try:
        return dataclasses.replace(settings, **changed)  # type: ignore[type-var]
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _converted(key: str, value: Any, hint: Any) -> Any:
    """Return a value as the type of its field, or raise ConfigError."""
    import cattrs

    if dataclasses.is_dataclass(value):
        return value
    try:
        return _converter().structure(_as_in_a_file(value), hint)
    except cattrs.BaseValidationError as error:
        _explain(error, "", f"{key}.")
    except ValueError as error:
        between = " " if isinstance(error, _WrongKindError) else ": "
        raise ConfigError(f"{key!r}{between}{error}") from error


def _as_in_a_file(value: Any) -> Any:
    """Return a value from Python as a TOML file would give it."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value  # NumPy


def flatten(settings: object, prefix: str = "") -> dict[str, Any]:
    """List the settings by dotted name, nested dataclasses unfolded, for comparing and showing."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, f"{prefix}{field.name}."))
        elif isinstance(value, Mapping):
            flat.update({f"{prefix}{field.name}.{key}": one for key, one in value.items()})
        else:
            flat[prefix + field.name] = list(value) if isinstance(value, tuple) else value
    return flat


def to_toml(settings: object) -> str:
    """Return settings as TOML that `load` reads back to the same; what is None is left out."""
    import tomlkit

    return tomlkit.dumps(_table(settings, tomlkit.document()))


def _table(settings: object, table: Any) -> Any:
    """Fill a TOML table; tables in it come last, as TOML has it."""
    import tomlkit

    given = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    nested = {}
    for name, value in given.items():
        if hasattr(value, "to_setting"):
            plain = value.to_setting()
            table[name] = tomlkit.inline_table() | plain if isinstance(plain, dict) else plain
        elif dataclasses.is_dataclass(value):
            nested[name] = value
        elif value is not None:
            table[name] = value
    for name, value in nested.items():
        if len(table):
            table.add(tomlkit.nl())
        table[name] = _table(value, tomlkit.table())
    return table


@functools.cache
def _converter() -> cattrs.Converter:
    """Return what fills dataclasses: it turns nothing but whole numbers and lists into others."""
    import cattrs
    from cattrs.gen import make_dict_structure_fn

    converter = cattrs.Converter(forbid_extra_keys=True)

    def of_dataclass(cls: Any, converter: Any) -> Callable[[Any, Any], Any]:
        fill = make_dict_structure_fn(cls, converter)

        def structure(value: Any, cls: Any) -> Any:
            if not isinstance(value, Mapping):
                raise _WrongKindError(f"must be a table, got {value!r}")
            return fill(value, cls)

        return structure

    converter.register_structure_hook_factory(dataclasses.is_dataclass, of_dataclass)
    converter.register_structure_hook_func(
        lambda cls: hasattr(cls, "from_setting"), lambda value, cls: cls.from_setting(value)
    )
    converter.register_structure_hook_func(
        lambda cls: typing.get_origin(cls) is tuple,
        lambda value, cls: _tuple(value, typing.get_args(cls), converter),
    )
    converter.register_structure_hook_func(
        lambda cls: typing.get_origin(cls) is Mapping, lambda value, cls: _strings(value)
    )
    converter.register_structure_hook_func(
        lambda cls: typing.get_origin(cls) is typing.Literal,
        lambda value, cls: _choice(value, typing.get_args(cls)),
    )
    for cls in _PLAIN:
        converter.register_structure_hook(cls, _plain)
    return converter


def _plain(value: Any, cls: type[Any]) -> Any:
    if cls is float and type(value) is int:
        with contextlib.suppress(OverflowError):
            value = float(value)
    # TOML spells nan and inf, and no setting has a use for either.
    if type(value) is not cls or (cls is float and not math.isfinite(value)):
        raise _WrongKindError(f"must be {_PLAIN[cls]}, got {value!r}")
    return value


def _tuple(value: Any, hints: tuple, converter: cattrs.Converter) -> tuple:
    any_length = len(hints) == 2 and hints[1] is Ellipsis
    if not isinstance(value, (list, tuple)) or not (any_length or len(value) == len(hints)):
        length = "" if any_length else f" of {len(hints)} values"
        raise _WrongKindError(f"must be a list{length}, got {value!r}")
    hints = hints[:1] * len(value) if any_length else hints
    return tuple(converter.structure(v, hint) for v, hint in zip(value, hints, strict=True))


def _strings(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _WrongKindError(f"must be a table, got {value!r}")
    for key, text in value.items():
        if not isinstance(text, str):
            raise _WrongKindError(f"must be a table of strings, got {key} = {text!r}")
    return dict(value)


def _choice(value: Any, options: tuple) -> Any:
    if value not in options:
        raise _WrongKindError(f"must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def _explain(error: Any, where: str, prefix: str = "") -> NoReturn:
    """Raise the first of the errors of a table as one line.

    Parameters
    ----------
    error : cattrs.ClassValidationError
        The errors of the table: those of its values, with their names, and its own.
    where : str
        The file.
    prefix : str
        Dotted name of the table, ending in a dot.
    """
    import cattrs

    of_values, of_table = error.group_exceptions()
    for wrong in of_table:
        # First, as a name that is misspelt is also one that is missing.
        if isinstance(wrong, cattrs.ForbiddenExtraKeysError):
            key = min(wrong.extra_fields)
            names = [field.name for field in dataclasses.fields(wrong.cl) if field.init]
            hint = suggestion(key, names)
            raise ConfigError(f"unknown setting {prefix + key!r}", where, hint) from wrong
    for wrong, note in of_values:
        name = prefix + note.name
        if isinstance(wrong, cattrs.ClassValidationError):
            _explain(wrong, where, f"{name}.")
        if isinstance(wrong, KeyError):
            raise ConfigError(f"{name!r} is missing", where) from wrong
        between = " " if isinstance(wrong, _WrongKindError) else ": "
        raise ConfigError(f"{name!r}{between}{wrong}", where) from wrong
    if isinstance(of_table[0], ValueError):
        place = f"{where}, [{prefix[:-1]}]" if prefix else where
        raise ConfigError(str(of_table[0]), place) from of_table[0]
    raise of_table[0]


def suggestion(key: str, names: Collection[str]) -> str:
    """Return a hint for a name that is not known: the nearest one, or all there are."""
    close = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else f"Known here: {', '.join(sorted(names))}"
