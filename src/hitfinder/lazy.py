"""Public names of a package, imported when they are asked for (PEP 562)."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any


class _Package(types.ModuleType):
    """A package whose public names stay what they are.

    Python puts each imported submodule into its package under the submodule's name. The function
    ``hitfinder.run`` would give way to the folder ``hitfinder/run``.
    """

    _public: Mapping[str, str]

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in self._public and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


def attach(
    package: str, public: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, which import public names on demand.

    Parameters
    ----------
    package : str
        Name of the package.
    public : mapping of str to str
        Public name to the module that has it, or to ``module:name`` where it has another name
        there.

    Examples
    --------
    >>> import hitfinder
    >>> "find_peaks" in dir(hitfinder)
    True
    """
    module = sys.modules[package]
    vars(module)["_public"] = public
    module.__class__ = _Package

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        place, _, inside = public[name].partition(":")
        found = getattr(importlib.import_module(place), inside or name)
        vars(module)[name] = found
        return found

    return get, lambda: sorted({*vars(module), *public})
