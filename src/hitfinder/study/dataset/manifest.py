"""What made a tree, and the checksum of every file in it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hitfinder import __version__
from hitfinder.atomic import replacing
from hitfinder.errors import ConfigError, OutputError
from hitfinder.study.dataset.layout import Setting

MANIFEST, JOURNAL = "manifest.json", ".manifest.jsonl"
FORMAT, VERSION = "hitfinder-frames", 1

MANIFEST_KEYS = {
    "format": ("string", "", f"always {FORMAT}"),
    "version": ("integer", "", f"of the format: {VERSION}"),
    "made_by": ("string", "", "program and version"),
    "recipe": ("object", "", "all settings of the build: what `dataset build` was asked for"),
    "settings": ("list", "", "for each setting its name, photon energies, camera lengths, frames"),
    "files": ("object", "", "for each file its frames and SHA-256; empty until all are written"),
}
"""Keys of ``manifest.json``: type, unit, meaning."""


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """A file of the tree.

    Parameters
    ----------
    path : str
        Relative to the tree, with ``/``.
    n_frames : int
        Frames in it.
    sha256 : str
        Checksum, in hexadecimal.
    """

    path: str
    n_frames: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What made a tree.

    Parameters
    ----------
    recipe : dict
        The settings of the build.
    settings : tuple of Setting
        Energies and camera lengths.
    files : tuple of FileRecord
        Empty until the tree is complete.
    made_by : str
        Program and version.
    """

    recipe: dict[str, Any]
    settings: tuple[Setting, ...]
    files: tuple[FileRecord, ...] = ()
    made_by: str = f"hitfinder {__version__}"

    @property
    def is_complete(self) -> bool:
        """Whether all files were written."""
        return bool(self.files)

    def write(self, root: Path) -> None:
        """Write the manifest of the tree at `root`."""
        text = {
            "format": FORMAT,
            "version": VERSION,
            "made_by": self.made_by,
            "recipe": self.recipe,
            "settings": [dataclasses.asdict(setting) for setting in self.settings],
            "files": {r.path: {"frames": r.n_frames, "sha256": r.sha256} for r in self.files},
        }
        with replacing(root / MANIFEST) as part:
            part.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def read(root: str | Path) -> Manifest | None:
    """Read the manifest of a tree; None if it has none, as trees made elsewhere.

    Raises
    ------
    ConfigError
        If it cannot be read or is of another version.
    """
    path = Path(root) / MANIFEST
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"the manifest cannot be read: {error}", str(path)) from error
    if not isinstance(table, dict) or table.get("format") != FORMAT:
        raise ConfigError("this is no manifest of a tree of frames", str(path))
    if table.get("version") != VERSION:
        what = f"the manifest has version {table.get('version')}, this program reads {VERSION}"
        raise ConfigError(what, str(path))
    try:
        settings = tuple(
            Setting(
                s["name"],
                tuple(s["photon_energy_ev"]),
                tuple(s["camera_length_m"]),
                s["length_number"],
                s["frames"],
            )
            for s in table["settings"]
        )
        files = tuple(
            FileRecord(name, record["frames"], record["sha256"])
            for name, record in table["files"].items()
        )
        return Manifest(table["recipe"], settings, files, table["made_by"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the manifest lacks or garbles {error}", str(path)) from error


class Journal:
    """Files finished so far, a line each, so that a build that was cut short can go on.

    Parameters
    ----------
    root : Path
        The tree.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / JOURNAL
        self.records: dict[str, FileRecord] = {}
        if self.path.is_file():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    record = FileRecord(**json.loads(line))
                except (TypeError, ValueError):
                    continue  # a line cut short by a kill: its file is made again
                self.records[record.path] = record

    def add(self, records: list[FileRecord]) -> None:
        """Note finished files."""
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                # A line cut short must not swallow the next one.
                file.writelines(f"\n{json.dumps(dataclasses.asdict(r))}\n" for r in records)
        except OSError as error:
            raise OutputError.unwritable(error.strerror, self.path) from error
        self.records.update({record.path: record for record in records})

    def has(self, root: Path, paths: list[str]) -> bool:
        """Whether all these files are noted and there."""
        return all(path in self.records and (root / path).is_file() for path in paths)

    def remove(self) -> None:
        """Remove the journal, once the manifest holds what it held."""
        self.path.unlink(missing_ok=True)
