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


def meanwhile(work: Callable[[], object]) -> Callable[[], None]:
    """Have something done in another thread, so that it is done when it is needed.

    Parameters
    ----------
    work : callable
        What can be done later just as well: what goes wrong in it is told when it is needed.

    Returns
    -------
    callable
        Waits until it is done.
    """
    import contextlib
    import threading

    def do() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=do, name="meanwhile")
    try:
        thread.start()
    except RuntimeError:
        # Where no thread can be had, it is done when it is needed.
        return lambda: None
    return thread.join


def import_meanwhile(modules: Iterable[str]) -> Callable[[], None]:
    """Import modules in another thread, so that they are there when they are needed.

    Parameters
    ----------
    modules : iterable of str
        Their names. One that cannot be imported tells why when it is needed.

    Returns
    -------
    callable
        Waits until it is done. Who needs them waits first: modules that import one another, as a
        library's do, can be found half done by a second thread that imports them.
    """
    names = tuple(modules)
    return meanwhile(lambda: import_all(names))


def import_all(modules: Iterable[str]) -> None:
    """Import modules; what cannot be imported is told when it is needed."""
    import contextlib
    import gc

    was_enabled = gc.isenabled()
    # Imports leave hardly any garbage, and to look for it takes an eighth of their time.
    gc.disable()
    try:
        for name in modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    finally:
        if was_enabled:
            gc.enable()
