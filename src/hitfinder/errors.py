"""The errors a user can meet: what is wrong, where, and how to mend it."""

from __future__ import annotations

import errno
import os
import re

MOST_SHOWN = 400
"""Characters of each part of an error that are shown; the middle of a longer one is left out."""

_UNSHOWN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""What a terminal obeys or cannot show: control characters, ends of lines, signs without width or
that turn the direction of text, and halves of characters."""


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
    return _UNSHOWN.sub(lambda c: c[0] if c[0] in kept else _spelled(c[0]), text)


def _spelled(character: str) -> str:
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


_ROOM = "Make room there, or write to another disk; an unfinished run goes on with --resume."
_ALLOWED = "Write to a folder that you may write to."
_SIZE = "See what a file may hold there (`ulimit -f`), or write to another disk."
_MENDS = {
    os.strerror(number): mend
    for mend, numbers in (
        (_ROOM, (errno.ENOSPC, errno.EDQUOT)),
        (_ALLOWED, (errno.EACCES, errno.EPERM, errno.EROFS)),
        (_SIZE, (errno.EFBIG,)),
    )
    for number in numbers
}
"""What to do where nothing can be written, by the system's word for the reason."""


class ShortMemoryError(HitfinderError):
    """Memory that was asked for and not given.

    Parameters
    ----------
    where : str, optional
        Whose memory it is.
    """

    def __init__(self, where: str = "") -> None:
        hint = (
            "See the limits (`ulimit -v`, or what the batch job was given), close other programs, "
            "or use fewer --workers."
        )
        super().__init__("memory is short", where, hint)

    def __reduce__(self) -> tuple[type, tuple[str]]:  # type: ignore[override]
        return type(self), (self.where,)


def is_short_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, is for want of memory."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError):
            return True
        if isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        # A library that cannot be loaded for want of memory.
        is_of_library = isinstance(seen, (ImportError, OSError))
        if is_of_library and re.search("allocate memory|map segment", str(seen)):
            return True
        # A thread needs room for its stack.
        if isinstance(seen, RuntimeError) and "can't start new thread" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


class ConfigError(HitfinderError):
    """A setting that is unknown, of the wrong type, or impossible."""


class GeometryError(HitfinderError):
    """A geometry file or detector description that cannot be used."""


class OutputError(HitfinderError):
    """Output that exists already, disagrees with the settings, or cannot be written."""

    @classmethod
    def unwritable(
        cls, reason: str | None, where: object, what: str = "cannot be written"
    ) -> OutputError:
        """Return the error for a file or folder that cannot be written or made.

        Parameters
        ----------
        reason : str
            The system's word for it, as of `os.strerror`.
        where : path-like
            The file or folder.
        what : str
            What cannot be done.
        """
        return cls(f"{what} ({reason})", str(where), _MENDS.get(reason or "", ""))


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
