"""A trained network as a folder: weights, configuration, and where they come from.

The folder holds ``bundle.json`` (format, what it predicts, hashes, provenance, metrics),
``config.toml`` (the configuration it was trained with), ``weights.safetensors`` and
``history.csv`` (loss and accuracy against epoch). Nothing in it is executed when it is read; the
class of a network that is not ours is imported by the name that the configuration has for it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hitfinder.atomic import replacing, sha256
from hitfinder.config import to_toml
from hitfinder.errors import ConfigError, HitfinderError, OutputError
from hitfinder.network.tensors import check_finite, read_weights, write_weights
from hitfinder.study.networks import attribute
from hitfinder.study.networks.attribute import AttributeConfig

if TYPE_CHECKING:
    from torch import nn

FORMAT, VERSION = "hitfinder-bundle", 1
INFO, CONFIG, WEIGHTS, HISTORY = "bundle.json", "config.toml", "weights.safetensors", "history.csv"


class BundleError(HitfinderError):
    """A bundle that is damaged, changed, or of another version."""


@dataclasses.dataclass(frozen=True)
class Bundle:
    """What is known of a trained network.

    Parameters
    ----------
    config : AttributeConfig
        What it predicts and how it was trained.
    frame_shape : tuple of int
        Rows and columns of the frames it takes.
    threshold : float, optional
        Probability from which on there is a peak; None where the answer is a class.
    provenance : dict
        Version, seed, data and command that made it.
    metrics : dict
        How well it did, by name.
    path : Path, optional
        Folder it was read from.
    """

    config: AttributeConfig
    frame_shape: tuple[int, int]
    threshold: float | None = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: Path | None = None

    def weights(self) -> dict[str, NDArray]:
        """Read the weights.

        Raises
        ------
        BundleError
            If the file is damaged or a weight is not a finite number.
        """
        assert self.path is not None
        return read_weights(self.path / WEIGHTS, BundleError)

    def network(self) -> nn.Module:
        """Build the network with its weights, ready to predict.

        Raises
        ------
        BundleError
            If the weights are not those of the network.
        """
        import torch

        from hitfinder.study.networks.registry import network

        spec = network(self.config.network)
        # Without memory first, so that large weights are held once and not drawn at random.
        with torch.device("meta"):
            model = spec.build(self.frame_shape, self.config.n_outputs)
        given = {name: torch.from_numpy(value) for name, value in self.weights().items()}
        wanted = model.state_dict()
        for name in sorted(set(wanted) | set(given)):
            if name not in given or name not in wanted or given[name].shape != wanted[name].shape:
                raise BundleError(
                    f"weight {name!r} does not fit the network {spec.name!r}", str(self.path)
                )
        model.load_state_dict(given, assign=True)
        return model.eval()


def save(
    path: str | Path,
    bundle: Bundle,
    weights: Mapping[str, NDArray],
    history: str = "",
    *,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle, whole or not at all.

    Parameters
    ----------
    path : path-like
        Folder to make.
    bundle : Bundle
        What is known of the network.
    weights : mapping of ndarray
        By parameter name.
    history : str
        Table of loss and accuracy against epoch, as CSV.
    overwrite : bool
        Replace a bundle that is there; other files in the folder are left alone.

    Raises
    ------
    OutputError
        If there is a bundle already, or it cannot be written.
    BundleError
        If a weight is not a finite number.
    """
    path = Path(path)
    if (path / INFO).exists() and not overwrite:
        raise OutputError("there is a bundle already", str(path), "Choose another folder.")
    check_finite(weights, str(path), BundleError)
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Without its description, the old bundle is none; with it, the new one is whole.
        (path / INFO).unlink(missing_ok=True)
        write_weights(path / WEIGHTS, weights)
        _write(path / CONFIG, to_toml(bundle.config))
        _write(path / HISTORY, history)
        hashes = {name: sha256(path / name) for name in (WEIGHTS, CONFIG)}
        _write(path / INFO, json.dumps(_info(bundle, hashes), indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write the bundle: {error.strerror}", str(path)) from error
    return dataclasses.replace(bundle, path=path)


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def load(path: str | Path) -> Bundle:
    """Read a bundle's description and check that its files are those it was written with.

    Raises
    ------
    BundleError
        If it is no bundle, of another version, or a file is absent or changed.
    """
    path = Path(path)
    try:
        info = json.loads((path / INFO).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"no bundle: there is no {INFO} in it", str(path)) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{INFO} cannot be read: {error}", str(path)) from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise BundleError("no bundle of hitfinder", str(path))
    if info.get("version") != VERSION:
        raise BundleError(
            f"the bundle has format version {info.get('version')}, this program reads {VERSION}",
            str(path),
            "Train it again, or use the version of hitfinder that wrote it.",
        )
    _check_hashes(path, info)
    try:
        config = attribute.load(path / CONFIG)
        rows, columns = (int(n) for n in info["frame_shape"])
        bundle = Bundle(
            config=config,
            frame_shape=(rows, columns),
            threshold=info["threshold"],
            provenance=dict(info["provenance"]),
            metrics=dict(info["metrics"]),
            path=path,
        )
        same = info["network"] == config.network and info["attribute"] == config.attribute
        same = same and info["class_values"] == list(config.class_values)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{INFO} lacks or garbles {error}", str(path)) from error
    except ConfigError as error:
        hint = "The bundle is from another version, or needs a package that is not installed."
        raise BundleError(str(error), hint=hint) from error
    if not same:
        raise BundleError(f"{INFO} and {CONFIG} describe different networks", str(path))
    return bundle


def _info(bundle: Bundle, hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "attribute": bundle.config.attribute,
        "network": bundle.config.network,
        "frame_shape": list(bundle.frame_shape),
        "class_values": list(bundle.config.class_values),
        "threshold": bundle.threshold,
        "sha256": hashes,
        "provenance": bundle.provenance,
        "metrics": bundle.metrics,
    }


def _check_hashes(path: Path, info: dict[str, Any]) -> None:
    hashes = info.get("sha256")
    for name in (WEIGHTS, CONFIG):
        if not (path / name).is_file():
            raise BundleError(f"there is no {name} in it", str(path))
        if not isinstance(hashes, dict) or hashes.get(name) != sha256(path / name):
            raise BundleError(
                f"{name} is not the file the bundle was written with (its SHA-256 differs)",
                str(path),
            )
