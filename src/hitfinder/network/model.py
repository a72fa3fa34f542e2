"""A trained model of peaks and hits: a locator, and what its answers are worth.

Besides what every model folder has, that of a peak model has ``network.onnx``, made from the
weights. Its description holds the ranges of the training and the calibration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hitfinder.geometry.geometry import Geometry
from hitfinder.network.calibration import Calibration
from hitfinder.network.folder import (
    AGAIN,
    DEFAULT,
    WEIGHTS,
    ModelError,
    ModelFolder,
    check_free,
    read,
    write,
)
from hitfinder.network.tensors import check_finite, read_weights

KIND, NETWORK = "peaks", "network.onnx"
RANGES = ("photon_energy_ev", "camera_length_m", "background_photons_per_pixel")
"""Quantities of which a model tells the range that it was trained on; it may tell others'."""

_SLACK = 0.05


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
    ranges: Mapping[str, Sequence[float]]
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

    def session(self):  # type: ignore[no-untyped-def]
        """Start the runtime of the locator on one core: frames are spread over processes.

        Raises
        ------
        ModelError
            If the file holds no locator.
        """
        from hitfinder.network.onnx import session

        assert self.path is not None
        try:
            return session(self.network_bytes())
        except ValueError as error:
            raise ModelError(str(error), str(self.path / NETWORK), AGAIN) from error

    def weights(self) -> dict[str, NDArray]:
        """Read the locator's weights.

        Raises
        ------
        ModelError
            If the file is damaged or a weight is not a finite number.
        """
        assert self.path is not None
        return read_weights(self.path / WEIGHTS, ModelError)


def load(name: str | Path = DEFAULT) -> PeakModel:
    """Read a model and check that its files are those it was written with.

    Parameters
    ----------
    name : path-like
        Name of a model that comes with the package, or path of a folder.

    Raises
    ------
    ModelError
        If there is none, it is of another version or kind, or a file is absent or changed.
    """
    found = read(name, KIND)
    if NETWORK not in found.files:
        found.refuse(f"names no {NETWORK}")
    try:
        calibration = Calibration.from_json(found.description["calibration"])
        ranges = _ranges(found.description["ranges"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        found.refuse(error)
    name = found.path.name
    return PeakModel(name, calibration, ranges, found.provenance, found.metrics, found.path)


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
    described = {"ranges": dict(model.ranges), "calibration": model.calibration.to_json()}
    told = ModelFolder(path, KIND, described, model.provenance, model.metrics)
    check_free(path, overwrite)
    check_finite(weights, str(path), ModelError)
    write(told, weights, {NETWORK: onnx_bytes(weights)}, card=card, overwrite=overwrite)
    return dataclasses.replace(model, path=path)


def _ranges(given: Any) -> dict[str, tuple[float, float]]:
    """Check the ranges of a description.

    Raises
    ------
    KeyError, TypeError, ValueError
        If one is absent, or no range.
    """
    if not isinstance(given, dict):
        raise ValueError(f"'ranges' must be a table, got {given!r}")
    for name in (*RANGES, *given):
        ends = np.asarray(given[name], float)
        if ends.shape != (2,) or not (np.isfinite(ends).all() and ends[0] <= ends[1]):
            raise ValueError(f"the range {name!r} must be two rising numbers, got {given[name]!r}")
    return {name: (float(low), float(high)) for name, (low, high) in given.items()}
