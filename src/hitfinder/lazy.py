"""Modules imported when a public name is asked for (PEP 562), and others while there is time."""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False  # as in the package itself
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


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
        there. None may be the name of a module in the package: Python puts that in its place
        when it is imported.

    Examples
    --------
    >>> import hitfinder
    >>> "find_peaks" in dir(hitfinder)
    True
    """
    names = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        place, _, inside = public[name].partition(":")
        found = getattr(importlib.import_module(place), inside or name)
        names[name] = found
        return found

    return get, lambda: sorted({*names, *public})


def import_meanwhile(modules: Iterable[str]) -> None:
    """Import modules in another thread, so that they are there when they are needed.

    Parameters
    ----------
    modules : iterable of str
        Their names. One that cannot be imported tells why when it is needed.
    """
    import contextlib
    import threading

    def import_all(names: tuple[str, ...]) -> None:
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    # Where no thread can be had, they are imported when they are needed.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=import_all, args=(tuple(modules),), name="imports").start()
