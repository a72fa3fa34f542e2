"""The errors a user can meet: what is wrong, where, and how to mend it."""


class HitfinderError(Exception):
    """An error to be shown to the user as one clear line.

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
        text = f"{where}: {what}" if where else what
        super().__init__(f"{text}. {hint}" if hint else text)

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
