"""Things that are registered under a name: finders, readers, outputs, networks.

Three ways lead to one: a name that comes with the package, a name that an installed package gives
as an entry point, and ``module:Class``. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Mapping
from typing import Any

from hitfinder.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Registry:
    """What is registered of one kind.

    Parameters
    ----------
    kind : str
        What one of them is called in messages, such as ``finder``.
    group : str
        Entry point group in which other packages register theirs.
    built_in : mapping of str to str
        Name to ``module:Class`` of those that come with the package.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]

    def known(self) -> dict[str, str]:
        """Return ``module:Class`` of each registered name, those of the package first.

        A name of the package stays the package's, whatever others register.
        """
        found = dict(self.built_in)
        for entry in sorted(importlib.metadata.entry_points(group=self.group)):
            found.setdefault(entry.name, entry.value)
        return found

    def check(self, name: str) -> str:
        """Return the ``module:Class`` that a name stands for, without importing it.

        Raises
        ------
        ConfigError
            If nothing is registered under the name and it is no ``module:Class``.
        """
        known = self.known()
        if name in known:
            return known[name]
        if ":" in name:
            return name
        close = difflib.get_close_matches(name, known, 1)
        meant = f"Did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"no {self.kind} is called {name!r}",
            hint=f"{meant}Known: {', '.join(known)}; or name your own as module:Class.",
        )

    def load(self, name: str) -> Any:
        """Import what is registered under a name.

        Parameters
        ----------
        name : str
            Registered name, or ``module:Class``. Modules of the working directory can be named.

        Raises
        ------
        ConfigError
            If there is no such name, or it cannot be imported.
        """
        path = self.check(name)
        module, _, attribute = path.partition(":")
        if name not in self.built_in and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except Exception as error:
            what = f"{self.kind} {name!r} cannot be imported ({type(error).__name__}: {error})"
            raise ConfigError(what, hint="Check module:Class, and what it imports.") from error
        return found
