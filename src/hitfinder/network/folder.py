"""A trained model as a folder, whatever kind of model it is.

The folder holds ``model.json``, ``weights.safetensors`` and what the kind needs besides.
``model.json`` says what is in it::

    format        "hitfinder-model"
    version       of the format
    kind          what the model is for, such as "peaks" (which module reads it)
    description   what the kind has to say
    provenance    what made it: version, command, seed, data
    metrics       how well it does, by name
    sha256        hash of every other file, but of ``README.md``, the model card
    digest        SHA-256 of all of the above

Nothing in a folder is executed when it is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from numpy.typing import NDArray

from hitfinder.atomic import replacing, sha256
from hitfinder.errors import HitfinderError, OutputError
from hitfinder.network.tensors import check_finite, write_weights

FORMAT, VERSION = "hitfinder-model", 1
INFO, WEIGHTS, CARD = "model.json", "weights.safetensors", "README.md"
DEFAULT = "low-flux"
"""Name of the model that is used unless another is asked for."""

_TABLES = ("description", "provenance", "metrics", "sha256")
AGAIN = "Train it again, or use the version of hitfinder that wrote it."
"""What to do about a model that cannot be used."""

_CHANGED = "It was changed or damaged since: install or train the model again."


class ModelError(HitfinderError):
    """A model that is damaged, changed, or of another version or kind."""


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """What a folder says of its model, and its files, which are those it was written with.

    Parameters
    ----------
    path : Path
        The folder.
    kind : str
        What the model is for.
    description : dict
        What the kind has to say of it.
    provenance : dict
        What made it.
    metrics : dict
        How well it does, by name.
    files : tuple of str
        Names of the files that are hashed.
    """

    path: Path
    kind: str
    description: dict[str, Any]
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    files: tuple[str, ...] = ()

    @property
    def card(self) -> str:
        """The model card; empty if there is none."""
        try:
            return (self.path / CARD).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise ModelError(f"cannot be read: {error}", str(self.path / CARD)) from error

    def refuse(self, error: Exception | str) -> NoReturn:
        """Raise ModelError for a description that lacks something or has it wrong."""
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        cause = error if isinstance(error, Exception) else None
        raise ModelError(what, str(self.path / INFO), AGAIN) from cause


def shipped() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    root = Path(str(importlib.resources.files("hitfinder.network"))) / "shipped"
    if not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if (path / INFO).is_file()}


def find(name: str | Path) -> Path:
    """Return the folder of a model: one of the package's by name, or any by its path.

    Raises
    ------
    ModelError
        If there is none.
    """
    known = shipped()
    if name in known:
        return known[str(name)]
    if (Path(name) / INFO).is_file():
        return Path(name)
    hint = f"A model is a folder with {INFO} in it. With the package come: {', '.join(known)}."
    raise ModelError(f"there is no model {str(name)!r}", hint=hint)


def read(name: str | Path, kind: str = "") -> ModelFolder:
    """Read what a folder says of its model, and check that its files are whole.

    Parameters
    ----------
    name : path-like
        Name of a model that comes with the package, or path of a folder.
    kind : str
        The kind it has to be; any if empty.

    Raises
    ------
    ModelError
        If there is none, it is of another version or kind, or a file is absent or changed.
    """
    path = find(name)
    info = _read_info(path / INFO)
    where = str(path / INFO)
    if kind and info["kind"] != kind:
        raise ModelError(f"a model for {info['kind']!r}, where one for {kind!r} is needed", where)
    if WEIGHTS not in info["sha256"]:
        raise ModelError(f"names no {WEIGHTS}", where, AGAIN)
    for file, digest in info["sha256"].items():
        _check_file(path, file, digest)
    told = {table: info[table] for table in _TABLES[:3]}
    return ModelFolder(path, info["kind"], **told, files=tuple(info["sha256"]))


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError if a model is in the folder and must not be replaced."""
    if (path / INFO).exists() and not overwrite:
        hint = "Choose another folder, or give --overwrite."
        raise OutputError("there is a model already", str(path), hint)


def write(
    model: ModelFolder,
    weights: Mapping[str, NDArray],
    files: Mapping[str, bytes],
    *,
    card: str = "",
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model, whole or not at all.

    Parameters
    ----------
    model : ModelFolder
        Folder to make, and what it is to say; its `files` are not looked at.
    weights : mapping of ndarray
        By parameter name.
    files : mapping of bytes
        What the kind needs besides, by name.
    card : str
        Model card, in Markdown.
    overwrite : bool
        Replace a model that is there; other files in the folder are left alone.

    Raises
    ------
    OutputError
        If there is a model already, or it cannot be written.
    ModelError
        If a weight is not a finite number.
    """
    path = model.path
    check_free(path, overwrite)
    check_finite(weights, str(path), ModelError)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Without its description, the old model is none; with it, the new one is whole.
        (path / INFO).unlink(missing_ok=True)
        write_weights(path / WEIGHTS, weights)
        for name, content in files.items():
            _write(path / name, content)
        if card:
            _write(path / CARD, card.encode())
        hashes = {name: sha256(path / name) for name in (WEIGHTS, *files)}
        info = {"format": FORMAT, "version": VERSION, "kind": model.kind}
        info |= {table: getattr(model, table) for table in _TABLES[:3]} | {"sha256": hashes}
        text = json.dumps(info | {"digest": digest_of(info)}, indent=1, allow_nan=False)
        _write(path / INFO, f"{text}\n".encode())
    except OSError as error:
        raise OutputError.unwritable(error.strerror, path) from error
    return dataclasses.replace(model, files=tuple(hashes))


def digest_of(info: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a ``model.json`` holds, its digest left out."""
    rest = {key: value for key, value in info.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


def _read_info(path: Path) -> dict[str, Any]:
    """Read a ``model.json`` of which everything that all kinds need is there."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    # Numbers of thousands of digits are a ValueError, brackets by the thousand a RecursionError.
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"cannot be read: {error}", str(path)) from error
    told = info.get("format") if isinstance(info, dict) else None
    if told != FORMAT:
        hint = AGAIN if str(told).startswith("hitfinder") else ""
        raise ModelError("this describes no model of this version of hitfinder", str(path), hint)
    if info.get("version") != VERSION:
        what = f"format version {info.get('version')}, this program reads {VERSION}"
        raise ModelError(what, str(path), AGAIN)
    for key in _TABLES:
        if not isinstance(info.get(key), dict):
            raise ModelError(f"{key!r} must be a table, got {info.get(key)!r}", str(path), AGAIN)
    if not isinstance(info.get("kind"), str):
        raise ModelError(f"'kind' must be a string, got {info.get('kind')!r}", str(path), AGAIN)
    if info.get("digest") != digest_of(info):
        raise ModelError("not what was written (its digest differs)", str(path), _CHANGED)
    return info


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _check_file(path: Path, file: str, digest: object) -> None:
    if Path(file).name != file:
        raise ModelError(f"names a file elsewhere: {file!r}", str(path / INFO))
    try:
        found = sha256(path / file)
    except FileNotFoundError as error:
        raise ModelError(f"there is no {file} in it", str(path)) from error
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", str(path / file)) from error
    if found != digest:
        raise ModelError(
            f"not the file the model was written with (its SHA-256 differs from {INFO}'s)",
            str(path / file),
            _CHANGED,
        )
