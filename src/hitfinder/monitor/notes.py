"""Notes and marks that people put on a run, kept in its folder."""

from __future__ import annotations

import datetime
import json
import secrets
import threading
from pathlib import Path
from typing import Any

from hitfinder.atomic import replacing
from hitfinder.errors import ConfigError, OutputError

NOTES = "notes.json"
MARKS = ("", "good", "look", "bad")
MOST_NOTES, MOST_CHARACTERS = 1000, 2000


class Notes:
    """The notes of a run; the file appears with the first of them.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Attributes
    ----------
    changes : int
        Rises with each change.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES
        self.changes = 0
        self._one_at_a_time = threading.Lock()

    def all(self) -> list[dict[str, Any]]:
        """Return the notes, oldest first.

        Raises
        ------
        ConfigError
            If the file holds no notes.
        """
        try:
            notes = json.loads(self.path.read_bytes())["notes"]
            return [self._checked(**note) for note in notes]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError("holds no notes", str(self.path), "Move it away.") from error

    def add(self, text: str, mark: str = "", frame: int | None = None) -> dict[str, Any]:
        """Put down a note.

        Parameters
        ----------
        text : str
            What is noted.
        mark : str
            One of `MARKS`.
        frame : int, optional
            Frame that it is about; the run if None.

        Raises
        ------
        ConfigError
            If it is none, or there are too many.
        OutputError
            If it cannot be written.
        """
        now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            note = self._checked(secrets.token_hex(8), now, text, mark, frame)
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error)) from error
        with self._one_at_a_time:
            notes = self.all()
            if len(notes) >= MOST_NOTES:
                raise ConfigError(f"a run has {MOST_NOTES} notes at most")
            self._write([*notes, note])
        return note

    def remove(self, name: str) -> None:
        """Delete the note of a name, if there is one."""
        with self._one_at_a_time:
            self._write([note for note in self.all() if note["id"] != name])

    def _write(self, notes: list[dict[str, Any]]) -> None:
        text = json.dumps({"notes": notes}, indent=1, ensure_ascii=False) + "\n"
        try:
            with replacing(self.path) as part:
                part.write_text(text, encoding="utf-8")
            self.changes += 1
        except (OSError, UnicodeError) as error:
            raise OutputError(f"cannot be written ({error})", str(self.path)) from error

    @staticmethod
    def _checked(
        id: str, time: str, text: str, mark: str = "", frame: int | None = None
    ) -> dict[str, Any]:
        if not all(isinstance(value, str) for value in (id, time, text)):
            raise TypeError("a note is a text")
        if mark not in MARKS:
            raise ValueError(f"a mark is one of {', '.join(MARKS[1:])}, or none")
        if not (text.strip() or mark) or len(text) > MOST_CHARACTERS:
            raise ValueError(f"a note has 1 to {MOST_CHARACTERS} characters")
        if frame is not None and (type(frame) is not int or frame < 0):
            raise ValueError("a frame has a number from 0")
        return {"id": id, "time": time, "text": text.strip(), "mark": mark, "frame": frame}
