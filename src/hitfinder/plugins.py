"""Things that are registered under a name: finders, readers, outputs, networks.

Three ways lead to one: a name that comes with the package, a name that an installed package gives
as an entry point, and ``module:Class``. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hitfinder.errors import ConfigError, HitfinderError

OURS = "hitfinder"
"""Name of this package, as far as registered things are concerned."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Registered:
    """A name, what it stands for, and whose it is.

    Parameters
    ----------
    name : str
        The name.
    path : str
        ``module:Class``.
    package : str
        Name of the package that registered it; empty for what a user names as ``module:Class``.
    version : str
        Version of that package; empty for this one.
    hides : tuple of str
        Other packages that registered the same name in vain.
    """

    name: str
    path: str
    package: str = ""
    version: str = ""
    hides: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where it is from, for messages."""
        if not self.package:
            return "a module of your own"
        return f"{self.package} {self.version}".rstrip()

    @property
    def is_ours(self) -> bool:
        """Whether it comes with this package."""
        return self.package == OURS

    @contextlib.contextmanager
    def answering(
        self,
        error_of: Callable[[str], HitfinderError],
        *passed: type[Exception],
    ) -> Iterator[None]:
        """Turn what goes wrong in a block into an error that says whose fault it is.

        Errors of this package's own kind pass, and so does everything if the name is ours: that is
        a fault to be reported with its traceback.

        Parameters
        ----------
        error_of : callable
            Given ``Type: message`` of what was raised, makes the error to raise instead.
        *passed : type
            Further exceptions that pass.
        """
        try:
            yield
        except Exception as error:
            if self.is_ours or isinstance(error, (HitfinderError, *passed)):
                raise
            log.debug("%s", self.name, exc_info=True)
            raise error_of(f"{type(error).__name__}: {error}") from error


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

    def known(self) -> dict[str, Registered]:
        """Return what is registered, by name, what comes with the package first.

        A name of the package stays the package's, whatever others register. Of two other packages
        that register one name, the first in alphabetical order has it.
        """
        found = {name: Registered(name, path, OURS) for name, path in self.built_in.items()}
        for entry in _entries(self.group, tuple(sys.path)):
            first = found.setdefault(entry.name, entry)
            if first is not entry:
                hides = (*first.hides, entry.package)
                found[entry.name] = dataclasses.replace(first, hides=hides)
        return found

    def paths(self) -> dict[str, str]:
        """Return what is registered, plug-ins included: name and ``module:Class``."""
        return {name: found.path for name, found in self.known().items()}

    def find(self, name: str) -> Registered:
        """Return what a name stands for, without importing it.

        Raises
        ------
        ConfigError
            If nothing is registered under the name and it is no ``module:Class``.
        """
        known = self.known()
        if name in known:
            return known[name]
        module, _, attribute = name.partition(":")
        if module and attribute:
            return Registered(name, name)
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
        found = self.find(name)
        if found.hides:
            log.warning(
                "%s %r of %s is used; %s registers the same name",
                *(self.kind, name, found.origin, ", ".join(found.hides)),
            )
        module, _, attribute = found.path.partition(":")
        if not found.package and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            loaded: Any = importlib.import_module(module)
            for part in attribute.split("."):
                loaded = getattr(loaded, part)
        except HitfinderError:
            raise
        except Exception as error:
            log.debug("%s %r", self.kind, name, exc_info=True)
            whose = f" of {found.origin}" if found.package else ""
            raise ConfigError(
                f"{self.kind} {name!r}{whose} cannot be imported ({type(error).__name__}: {error})",
                hint=f"Check {found.path}, and what it imports."
                if found.package
                else "Check module:Class, and what it imports.",
            ) from error
        return loaded


@functools.lru_cache(maxsize=32)
def _entries(group: str, path: tuple[str, ...]) -> tuple[Registered, ...]:
    """Return what packages on the path register in a group, by name and then by package."""
    found = {}
    for entry in importlib.metadata.entry_points(group=group):
        package = entry.dist.name if entry.dist else ""
        version = entry.dist.version if entry.dist and package != OURS else ""
        found[entry.name, package] = Registered(entry.name, entry.value, package, version)
    return tuple(found[key] for key in sorted(found))


def path_of(named: Any) -> Any:
    """Return ``module:Class`` of a class; anything else, such as a name, as it is.

    Raises
    ------
    ConfigError
        If the class is defined within a function, where no other process finds it.
    """
    if not isinstance(named, type):
        return named
    if "<locals>" in named.__qualname__:
        hint = "Define it in a module, outside of functions."
        raise ConfigError(f"class {named.__name__!r} is defined within a function", hint=hint)
    return f"{named.__module__}:{named.__qualname__}"


def is_of_this_session(path: str) -> bool:
    """Whether a ``module:Class`` is of the main script or a notebook: no other process has it."""
    return path.startswith("__main__:")
