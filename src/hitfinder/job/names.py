"""Names of files that a job can work with."""

from __future__ import annotations

from hitfinder.errors import OutputError


def check_name(name: str, what: str = "") -> None:
    """Refuse a path that tables, lists and HDF5 files could not name, before work is done.

    Parameters
    ----------
    name : str
        The path.
    what : str
        What it is the path of, for people; the path itself by default.

    Raises
    ------
    OutputError
        If it holds a line break, or bytes that are no text.
    """
    why = "holds a line break" if {"\n", "\r"} & set(name) else ""
    try:
        name.encode()
    except UnicodeEncodeError:
        why = "is no valid UTF-8"
    if why:
        hint = "Rename it, or use a link of another name."
        raise OutputError(f"the path {name!r} {why}", what, hint)
