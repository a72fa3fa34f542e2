"""The frames the finders are compared on, with their true spots; made once, kept on disk.

A condition is a folder: ``frames.npy`` (hits first, then blanks), ``mask.npy`` (True =
ignored), ``truth.npz`` (one row per spot of a hit) and ``meta.json``. Finders in other Python
environments need NumPy alone to read it. Every frame has its own generator, seeded by the
condition's name and the frame's number, so frames do not depend on how many are made.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hitfinder.geometry.experiment import Geometry

CACHE = Path("/tmp/hitfinder-bench")
FORMAT = 5
TRUTH_DTYPE = np.dtype(
    [("frame", "i4"), ("fs", "f8"), ("ss", "f8"), ("photons", "f8"), ("must", "?")]
)


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a set of frames is and how found peaks are judged on it.

    Parameters
    ----------
    name : str
        Folder name.
    title : str
        For tables and figures.
    kind : str
        ``sim`` (false peaks are counted on the blanks) or ``real`` (on the frames themselves).
    groups : tuple of str
        What the hits differ in; hit i belongs to group ``i % len(groups)``.
    n_hits, n_blanks : int
        Frames with spots and without.
    min_photons : float
        Photons from which a spot must be found; weaker ones are neither true nor false.
    tolerance_px : float
        Farthest a found peak may be from its spot.
    false_limit : float
        False peaks allowed per frame.
    """

    name: str
    title: str
    kind: str
    groups: tuple[str, ...]
    n_hits: int
    n_blanks: int
    min_photons: float
    tolerance_px: float
    false_limit: float


Maker = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A condition and how to make its frames.

    `geometries` are taken in turn by the frames; `hit` returns a frame and its spots
    (TRUTH_DTYPE), `blank` a frame.
    """

    condition: Condition
    geometries: list[Geometry]
    dtype: type
    hit: Maker
    blank: Callable[[np.random.Generator, int], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """A condition read back from its folder."""

    condition: Condition
    folder: Path
    frames: np.ndarray
    mask: np.ndarray
    truth: np.ndarray
    geometries: list[Geometry]

    def geometry(self, index: int) -> Geometry:
        return self.geometries[self.number(index) % len(self.geometries)]

    def number(self, index: int) -> int:
        """Number of a frame among the hits or among the blanks."""
        n = self.condition.n_hits
        return index if index < n else index - n

    def spots(self, index: int) -> np.ndarray:
        return self.truth[self.truth["frame"] == index]

    def group(self, index: int) -> int:
        return index % len(self.condition.groups)


def prepared(recipe: Recipe, cache: Path = CACHE) -> Frames:
    """Make a condition's folder unless it is there, and open it."""
    condition = recipe.condition
    folder = cache / f"v{FORMAT}" / condition.name
    meta = json.dumps(_meta(recipe), indent=1)
    path = folder / "meta.json"
    if not path.is_file() or path.read_text() != meta:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _make(recipe, folder)
        path.write_text(meta)
    return Frames(
        condition=condition,
        folder=folder,
        frames=np.load(folder / "frames.npy", mmap_mode="r"),
        mask=np.load(folder / "mask.npy"),
        truth=np.load(folder / "truth.npz")["spots"],
        geometries=recipe.geometries,
    )


def _meta(recipe: Recipe) -> dict:
    """What the other environments need: beam centre, pixel size, counts of frames."""
    geometries = []
    for geometry in recipe.geometries:
        panel = geometry.detector.panels[0]
        geometries.append(
            {
                "photon_energy_ev": geometry.photon_energy_ev,
                "camera_length_m": geometry.camera_length_m,
                "beam_fs": -panel.corner_x,
                "beam_ss": -panel.corner_y,
                "pixel_m": panel.pixel_size_m,
            }
        )
    return {**dataclasses.asdict(recipe.condition), "geometries": geometries}


def _make(recipe: Recipe, folder: Path) -> None:
    condition = recipe.condition
    shape = recipe.geometries[0].shape
    n = condition.n_hits + condition.n_blanks
    frames = np.lib.format.open_memmap(folder / "frames.npy", "w+", recipe.dtype, (n, *shape))
    truth = []
    for index in range(n):
        seed = [zlib.crc32(condition.name.encode()), index]
        rng = np.random.default_rng(seed)
        if index < condition.n_hits:
            frame, spots = recipe.hit(rng, index)
            spots["frame"] = index
            truth.append(spots)
        else:
            assert recipe.blank is not None
            frame = recipe.blank(rng, index - condition.n_hits)
        frames[index] = np.minimum(frame, np.iinfo(recipe.dtype).max - 1)
    frames.flush()
    np.save(folder / "mask.npy", recipe.geometries[0].detector.full_mask)
    np.savez(folder / "truth.npz", spots=np.concatenate(truth))
