"""The frames finders are compared on, with their true spots; made once, kept in a folder.

A condition is a folder: ``frames.npy`` (frames with spots first, then blanks), ``mask.npy`` (True =
ignored), ``truth.npz`` (one row per spot) and ``meta.json`` (the condition and its geometries).
NumPy alone reads it, so finders in other Python environments can be run on it. Every frame has its
own generator, seeded by the condition's name and the frame's number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.geometry.geometry import Geometry

FORMAT = 1
"""To be raised when a recipe makes other frames under an old name."""

TRUTH_DTYPE = np.dtype(
    [("frame", "i4"), ("fs", "f8"), ("ss", "f8"), ("photons", "f8"), ("must", "?")]
)
"""A true spot: number of its frame, position (corner convention, pixels), photons counted, and
whether it must be found; the others are neither missed nor false."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a set of frames is, and how found peaks are judged on it.

    Parameters
    ----------
    name : str
        Folder name.
    title : str
        For tables and figures.
    family : str
        What it belongs to in the report: ``flux``, ``background``, ``real``, ...
    kind : {"sim", "real"}
        False peaks are counted on the blanks, or on the frames themselves.
    groups : tuple of str
        What the hits differ in; hit i belongs to group ``i % len(groups)``.
    n_hits, n_blanks : int
        Frames with spots and without.
    false_limit : float
        False peaks allowed per frame.
    min_photons : float
        Photons from which a spot must be found.
    tolerance_px : float
        Farthest a found peak may be from its spot.
    scales : tuple of float
        Factor on the Bragg photons in each group, where that is what the groups differ in.
    shots : int
        Pulses of background; 0 where unknown.
    """

    name: str
    title: str
    family: str
    kind: Literal["sim", "real"]
    groups: tuple[str, ...]
    n_hits: int
    n_blanks: int
    false_limit: float
    min_photons: float = 8.0
    tolerance_px: float = 4.0
    scales: tuple[float, ...] = ()
    shots: int = 0

    def reduced(self, hits_per_group: int, n_blanks: int) -> Condition:
        """Return the condition with no more frames than these."""
        n_hits = min(self.n_hits, hits_per_group * len(self.groups))
        return dataclasses.replace(self, n_hits=n_hits, n_blanks=min(self.n_blanks, n_blanks))


MakeHit = Callable[[np.random.Generator, int], tuple[NDArray, NDArray]]
MakeBlank = Callable[[np.random.Generator, int], NDArray]


@dataclasses.dataclass(frozen=True)
class ConditionRecipe:
    """A condition and how to make its frames.

    Parameters
    ----------
    condition : Condition
        The condition.
    geometries : list of Geometry
        Taken in turn by the frames; what finders are told.
    dtype : type
        Of the frames: an unsigned integer.
    hit : callable
        Generator and number of the hit to a frame and its spots (`TRUTH_DTYPE`).
    blank : callable, optional
        Generator and number of the blank to a frame.
    """

    condition: Condition
    geometries: list[Geometry]
    dtype: type[np.unsignedinteger]
    hit: MakeHit
    blank: MakeBlank | None = None

    def reduced(self, hits_per_group: int, n_blanks: int) -> ConditionRecipe:
        """Return the recipe of no more frames than these."""
        condition = self.condition.reduced(hits_per_group, n_blanks)
        return dataclasses.replace(self, condition=condition)


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """A condition read back from its folder."""

    condition: Condition
    folder: Path
    frames: NDArray
    mask: NDArray[np.bool_]
    truth: NDArray
    geometries: list[Geometry]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def is_hit(self) -> NDArray[np.bool_]:
        """Whether each frame has spots."""
        return np.arange(len(self)) < self.condition.n_hits

    @property
    def group(self) -> NDArray[np.intp]:
        """Group of each hit."""
        return np.arange(self.condition.n_hits) % len(self.condition.groups)

    @property
    def fingerprint(self) -> str:
        """Digest of the condition, by which answers of other programs are known to fit."""
        return hashlib.sha256((self.folder / "meta.json").read_bytes()).hexdigest()[:16]

    def number(self, index: int) -> int:
        """Return the number of a frame among the hits or among the blanks."""
        n = self.condition.n_hits
        return index if index < n else index - n

    def geometry(self, index: int) -> Geometry:
        """Return the geometry of a frame."""
        return self.geometries[self.number(index) % len(self.geometries)]

    def spots(self, index: int) -> NDArray:
        """Return the true spots of a frame."""
        return self.truth[self.truth["frame"] == index]


def prepared(recipe: ConditionRecipe, cache: Path) -> Frames:
    """Make a condition's folder in `cache` unless it is there, and open it."""
    condition = recipe.condition
    folder = cache / condition.name
    meta = json.loads(json.dumps(_meta(recipe)))
    path = folder / "meta.json"
    if _known(path) != meta:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        meta["digest"] = _make(recipe, folder)
        # Written last: a folder without it is made again.
        path.write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return Frames(
        condition=condition,
        folder=folder,
        frames=np.load(folder / "frames.npy", mmap_mode="r"),
        mask=np.load(folder / "mask.npy"),
        truth=np.load(folder / "truth.npz")["spots"],
        geometries=recipe.geometries,
    )


def _meta(recipe: ConditionRecipe) -> dict[str, Any]:
    """Return what other environments need: beam centre, pixel size, numbers of frames."""
    geometries = []
    for geometry in recipe.geometries:
        fs, ss = geometry.detector.beam_center or (None, None)
        geometries.append(
            {
                "photon_energy_ev": geometry.photon_energy_ev,
                "camera_length_m": geometry.camera_length_m,
                "beam_fs": fs,
                "beam_ss": ss,
                "pixel_m": geometry.detector.panels[0].pixel_size_m,
            }
        )
    return {"format": FORMAT, **dataclasses.asdict(recipe.condition), "geometries": geometries}


def _known(path: Path) -> dict[str, Any] | None:
    """Return what a folder was made for, less the digest; None if there is none."""
    try:
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    known.pop("digest", None)
    return known


def _make(recipe: ConditionRecipe, folder: Path) -> str:
    """Make frames, mask and truth; return the digest of the first and last frame and the truth."""
    condition = recipe.condition
    shape = recipe.geometries[0].shape
    n = condition.n_hits + condition.n_blanks
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", recipe.dtype, (n, *shape))
    truth = [np.empty(0, TRUTH_DTYPE)]
    # The highest value of an integer type means that there is no reading.
    top = np.iinfo(recipe.dtype).max - 1
    for index in range(n):
        rng = np.random.default_rng([zlib.crc32(condition.name.encode()), index])
        if index < condition.n_hits:
            frame, spots = recipe.hit(rng, index)
            spots["frame"] = index
            truth.append(spots)
        elif recipe.blank is None:
            raise ValueError(f"condition {condition.name!r} has no way to make blanks")
        else:
            frame = recipe.blank(rng, index - condition.n_hits)
        frames[index] = np.minimum(frame, top)
    frames.flush()
    np.save(folder / "mask.npy", recipe.geometries[0].detector.full_mask)
    spots = np.concatenate(truth)
    np.savez(folder / "truth.npz", spots=spots)
    return hashlib.sha256(frames[0].tobytes() + frames[-1].tobytes() + spots.tobytes()).hexdigest()
