"""The errors a user can meet: what is wrong, where, and how to mend it."""

from __future__ import annotations

import unicodedata

MOST_SHOWN = 400
"""Characters of each part of an error that are shown; the middle of a longer one is left out."""

_UNSHOWN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
"""Unicode categories of what a terminal obeys or cannot show: control characters, signs that turn
the direction of text, halves of characters, and ends of lines."""


def harmless(text: str, kept: str = "") -> str:
    r"""Return a text as it can be shown: control characters are spelled out, as in ``\x1b``.

    File names, and what files say of themselves, may hold sequences that a terminal obeys. Bytes of
    a name that are no text are spelled out too.

    Parameters
    ----------
    text : str
        What is to be shown.
    kept : str
        Control characters that are meant.
    """
    if text.isprintable():
        return text
    return "".join(c if c in kept or c.isprintable() else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    if unicodedata.category(character) not in _UNSHOWN:
        return character
    code = ord(character)
    # A byte that is no text, as Python keeps it in names of files.
    code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _one_part(text: str) -> str:
    if len(text) <= MOST_SHOWN:
        return harmless(text)
    half = MOST_SHOWN // 2
    return harmless(f"{text[:half]} ... {text[-half:]}")


class HitfinderError(Exception):
    """An error to be shown to the user as one clear line, whatever is in its parts.

    Parameters
    ----------
    what : str
        What is wrong, naming the offending value.
    where : str, optional
        The file, line, dataset or option it was found in.
    hint : str, optional
        What the user can do about it.
    """

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        text = ": ".join(_one_part(part) for part in (where, what) if part)
        super().__init__(f"{text}. {harmless(hint)}" if hint else text)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.what, self.where, self.hint)


class ConfigError(HitfinderError):
    """A setting that is unknown, of the wrong type, or impossible."""


class GeometryError(HitfinderError):
    """A geometry file or detector description that cannot be used."""


class OutputError(HitfinderError):
    """Output that exists already, disagrees with the settings, or cannot be written."""


class SourceError(HitfinderError):
    """A frame, or a whole file of frames, that cannot be read.

    Parameters
    ----------
    status : str
        A short word for the ``status`` column of the frame table: ``missing-file``,
        ``missing-source``, ``truncated``, ``wrong-shape``, ``missing-filter``, ``no-frames``
        or ``unreadable``.
    what, where, hint : str
        As for `HitfinderError`.
    """

    def __init__(self, status: str, what: str, where: str = "", hint: str = "") -> None:
        self.status = status
        super().__init__(what, where, hint)

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:  # type: ignore[override]
        return type(self), (self.status, self.what, self.where, self.hint)
