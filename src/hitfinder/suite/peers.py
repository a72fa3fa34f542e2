"""Peaks that other programs found in a condition's frames, read from files.

A finder that cannot be imported here is run by other means on ``frames.npy`` and ``mask.npy`` of a
condition's folder. Its answer is the file ``FINDER/CONDITION.npz`` in the folder of peers, with

``frames``
    the condition's fingerprint (`hitfinder.suite.condition.Frames.fingerprint`): answers
    for other frames are refused;
``settings``
    JSON: a list of the settings that were tried, each a mapping of names to values;
``peaks``
    an array (n, 5), one row per peak: number of the setting, number of the frame, fs, ss (pixels,
    corner convention) and strength, by which weak peaks may be dropped.

Every setting must have been run on every frame. The best setting for each question is taken.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import SourceError
from hitfinder.suite.condition import Frames

PeakLists = list[NDArray[np.float64]]
"""For each frame, an array (n, 3) of fs, ss and strength."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a finder found in the frames of a condition at each of its settings."""

    settings: list[dict[str, Any]]
    peaks: list[PeakLists]


def names(folder: Path) -> list[str]:
    """Return the finders that a folder of peers has answers of.

    Raises
    ------
    SourceError
        If there is no such folder, or no answer in it.
    """
    if not folder.is_dir():
        raise SourceError("missing-file", "there is no such folder of peers", str(folder))
    found = sorted(path.name for path in folder.iterdir() if any(path.glob("*.npz")))
    if not found:
        hint = "Answers of peers are files FINDER/CONDITION.npz in it."
        raise SourceError("no-frames", "holds no answer of a peer", str(folder), hint)
    return found


def read(folder: Path, finder: str, frames: Frames) -> Answer | None:
    """Read a finder's answer for a condition; None if there is none.

    Raises
    ------
    SourceError
        If the file is damaged, or was made from other frames.
    """
    path = folder / finder / f"{frames.condition.name}.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path) as data:
            fingerprint, settings = str(data["frames"]), json.loads(str(data["settings"]))
            peaks = np.asarray(data["peaks"], float)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError("unreadable", f"cannot be read ({error})", str(path)) from error
    if fingerprint != frames.fingerprint:
        what = f"was made from other frames ({fingerprint}, these are {frames.fingerprint})"
        raise SourceError("wrong-shape", what, str(path), "Run the peer again.")
    if peaks.ndim != 2 or peaks.shape[1] != 5 or not np.isfinite(peaks).all():
        raise SourceError("wrong-shape", "peaks must be finite, of shape (n, 5)", str(path))
    which = peaks[:, :2].T
    if (which < 0).any() or (which >= [[len(settings)], [len(frames)]]).any():
        raise SourceError("wrong-shape", "a peak's setting or frame does not exist", str(path))
    return Answer(settings, by_setting_and_frame(peaks, len(settings), len(frames)))


def write(
    folder: Path, finder: str, frames: Frames, settings: Sequence[Any], peaks: NDArray
) -> None:
    """Write an answer; see the module for the arguments."""
    path = folder / finder / f"{frames.condition.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file, frames=frames.fingerprint, settings=json.dumps(settings), peaks=peaks
        )


def by_setting_and_frame(peaks: NDArray, n_settings: int, n_frames: int) -> list[PeakLists]:
    """Part the rows of an answer by setting and frame."""
    key = (peaks[:, 0] * n_frames + peaks[:, 1]).astype(np.intp)
    order = np.argsort(key, kind="stable")
    ends = np.searchsorted(key[order], np.arange(1, n_settings * n_frames))
    parts = np.split(peaks[order, 2:], ends)
    return [parts[s * n_frames : (s + 1) * n_frames] for s in range(n_settings)]
