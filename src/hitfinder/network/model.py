"""A trained model of peaks and hits as a folder: locator, calibration, and where they come from.

The folder holds ``model.json`` (format, hashes, calibration, provenance, metrics),
``weights.safetensors``, ``network.onnx`` (made from the weights) and ``README.md`` (the model
card). Nothing in it is executed when it is read.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.atomic import replacing, sha256
from hitfinder.errors import HitfinderError, OutputError
from hitfinder.geometry.geometry import Geometry
from hitfinder.network.calibration import Calibration
from hitfinder.network.tensors import check_finite, read_weights, write_weights

FORMAT, VERSION = "hitfinder-peak-model", 3
INFO, WEIGHTS, NETWORK, CARD = "model.json", "weights.safetensors", "network.onnx", "README.md"
_SLACK = 0.05
DEFAULT = "low-flux"
"""Name of the model that is used unless another is asked for."""


class ModelError(HitfinderError):
    """A model that is damaged, changed, or of another version."""


@dataclasses.dataclass(frozen=True, eq=False)
class PeakModel:
    """A trained model.

    Parameters
    ----------
    name : str
        Name of its folder.
    calibration : Calibration
        What the locator's answers are worth.
    ranges : dict
        Ranges of the frames it was trained on, by quantity: lowest, highest.
    provenance : dict
        Command, seed, commit and version that made it.
    metrics : dict
        How well it did.
    path : Path, optional
        Folder it was read from.
    """

    name: str
    calibration: Calibration
    ranges: dict[str, list[float]]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: Path | None = None

    def outside(self, geometry: Geometry) -> list[str]:
        """Say in what an experiment is outside the ranges of the training; nothing if it is not."""
        told = []
        for name, unit in (("photon_energy_ev", "eV"), ("camera_length_m", "m")):
            low, high = self.ranges[name]
            value = getattr(geometry, name)
            if self._is_outside(name, value):
                what = name.rsplit("_", 1)[0].replace("_", " ")
                told.append(
                    f"{what} {value:g} {unit} is outside the {low:g} to {high:g} {unit} that the "
                    f"network {self.name!r} was trained on"
                )
        return told

    def outside_background(self, background: NDArray[np.floating]) -> str | None:
        """Say how many frames have a background outside the range of the training, if any.

        Parameters
        ----------
        background : ndarray, shape (n_frames,)
            Mean background of each frame, in photons per pixel; NaN where there is none.
        """
        low, high = self.ranges["background_photons_per_pixel"]
        known = background[np.isfinite(background)]
        n = int(self._is_outside("background_photons_per_pixel", known).sum())
        if not n:
            return None
        return (
            f"the background of {n} of {len(known)} frames ({np.median(known):.2g} photons per "
            f"pixel in the middle of all) is outside the {low:g} to {high:g} that the network "
            f"{self.name!r} was trained on"
        )

    def _is_outside(self, name: str, values: ArrayLike) -> NDArray[np.bool_]:
        low, high = self.ranges[name]
        values = np.asarray(values)
        return (values < low * (1 - _SLACK)) | (values > high * (1 + _SLACK))

    def network_bytes(self) -> bytes:
        """Return the locator as an ONNX model."""
        assert self.path is not None
        return (self.path / NETWORK).read_bytes()

    def card(self) -> str:
        """Return the model card."""
        assert self.path is not None
        return (self.path / CARD).read_text(encoding="utf-8")

    def weights(self) -> dict[str, NDArray]:
        """Read the locator's weights.

        Raises
        ------
        ModelError
            If the file is damaged or a weight is not a finite number.
        """
        assert self.path is not None
        return read_weights(self.path / WEIGHTS, ModelError)


def check_free(path: Path, overwrite: bool) -> None:
    """Raise OutputError if a model is in the folder and must not be replaced."""
    if (path / INFO).exists() and not overwrite:
        hint = "Choose another folder, or give --overwrite."
        raise OutputError("there is a model already", str(path), hint)


def shipped() -> dict[str, Path]:
    """Return the folders of the models that come with the package, by name."""
    root = Path(str(importlib.resources.files("hitfinder.network"))) / "shipped"
    if not root.is_dir():
        return {}
    return {path.name: path for path in sorted(root.iterdir()) if (path / INFO).is_file()}


def find(name: str) -> Path:
    """Return the folder of a model: one of the package's by name, or any by its path.

    Raises
    ------
    ModelError
        If there is none.
    """
    known = shipped()
    if name in known:
        return known[name]
    if (Path(name) / INFO).is_file():
        return Path(name)
    hint = f"With the package come: {', '.join(known) or 'none'}."
    raise ModelError(f"there is no model {name!r}", hint=hint)


def load(name: str = DEFAULT) -> PeakModel:
    """Read a model and check that its files are those it was written with.

    Parameters
    ----------
    name : str
        Name of a model that comes with the package, or path of a folder.

    Raises
    ------
    ModelError
        If there is none, it is of another version, or a file is absent or changed.
    """
    path = find(name)
    where = str(path / INFO)
    try:
        info = json.loads((path / INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", where) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise ModelError("this describes no peak model of hitfinder", where)
    if info.get("version") != VERSION:
        raise ModelError(
            f"format version {info.get('version')}, this program reads {VERSION}",
            where,
            "Train it again, or use the version of hitfinder that wrote it.",
        )
    for file in (WEIGHTS, NETWORK):
        if not (path / file).is_file():
            raise ModelError(f"there is no {file} in it", str(path))
        if info.get("sha256", {}).get(file) != sha256(path / file):
            hint = "Its SHA-256 differs from model.json's: install or train the model again."
            raise ModelError("not the file the model was written with", str(path / file), hint)
    try:
        return PeakModel(
            path.name,
            Calibration.from_json(info["calibration"]),
            dict(info["ranges"]),
            dict(info["provenance"]),
            dict(info["metrics"]),
            path,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"lacks or garbles {error}", where) from error


def save(
    path: str | Path,
    model: PeakModel,
    weights: Mapping[str, NDArray],
    card: str,
    *,
    overwrite: bool = False,
) -> PeakModel:
    """Write a model, whole or not at all.

    Parameters
    ----------
    path : path-like
        Folder to make.
    model : PeakModel
        What is known of it.
    weights : mapping of ndarray
        State of the locator.
    card : str
        Model card, in Markdown.
    overwrite : bool
        Replace a model that is there.

    Raises
    ------
    OutputError
        If there is a model already, or it cannot be written.
    ModelError
        If a weight is not a finite number.
    """
    from hitfinder.network.onnx import onnx_bytes

    path = Path(path)
    check_free(path, overwrite)
    check_finite(weights, str(path), ModelError)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Without its description, the old model is none; with it, the new one is whole.
        (path / INFO).unlink(missing_ok=True)
        write_weights(path / WEIGHTS, weights)
        with replacing(path / NETWORK) as part:
            part.write_bytes(onnx_bytes(weights))
        info = {
            "format": FORMAT,
            "version": VERSION,
            "sha256": {file: sha256(path / file) for file in (WEIGHTS, NETWORK)},
            "ranges": model.ranges,
            "provenance": model.provenance,
            "metrics": model.metrics,
            "calibration": model.calibration.to_json(),
        }
        for file, text in ((CARD, card), (INFO, json.dumps(info, indent=1) + "\n")):
            with replacing(path / file) as part:
                part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the model: {error.strerror}", str(path)) from error
    return dataclasses.replace(model, path=path)
