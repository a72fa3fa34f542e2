"""The frames the finders are compared on, with their true spots; made once, kept on disk.

A condition is a folder: ``frames.npy`` (hits first, then blanks), ``mask.npy`` (True =
ignored), ``truth.npz`` (one row per spot of a hit) and ``meta.json``. Finders in other Python
environments need NumPy alone to read it. Every frame has its own generator, seeded by the
condition's name and the frame's number, so frames do not depend on how many are made.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from real_spots import REAL_FRAMES, RealFrame
from scipy import ndimage

from hitfinder.geometry.experiment import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.simulate.water import expected_water

CACHE = Path("/tmp/hitfinder-bench")
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FORMAT = 4
SHOT_PHOTONS = 3e8
WATER_M = 10e-6
SHOTS = (1, 100, 2000)
FALSE_LIMITS = {1: 0.05, 100: 0.2, 2000: 0.05}
FLUXES = (1.0, 0.1, 0.03, 0.01)
DOSES = (0.3, 0.1, 0.03, 0.01, 0.003)
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


def recipes(shared: Path = SHARED) -> Iterator[Recipe]:
    """Every condition, in the order of the tables."""
    bragg = _PatternSim(shared)
    for shots in SHOTS:
        yield bragg.recipe(f"sim6_{shots}", [0], shots, FLUXES, 48, 100)
    for shots in SHOTS:
        yield bragg.recipe(f"sim9_{shots}", list(range(9)), shots, (1.0,), 36, 54)
    for real in REAL_FRAMES:
        for dose in DOSES:
            yield _real_recipe(real, shared, dose)


class _PatternSim:
    """Bragg-only frames by CrystFEL's pattern_sim under Poisson water noise."""

    def __init__(self, shared: Path) -> None:
        import h5py

        with h5py.File(shared / "pattern_sim" / "pattern_sim_1ic6_9.h5") as file:
            self.counts = file["entry/data/data"][:]
            energies, lengths = file["photon_energy_ev"][:], file["camera_length_m"][:]
        detector = named_detector("eiger-4m-report").with_beam_center(1034.5, 1081.5)
        self.geometries = [
            Geometry(detector, float(length), float(energy))
            for length, energy in zip(lengths, energies, strict=True)
        ]
        # A spot is what touches, corners included, at full flux.
        self.labels = functools.cache(lambda k: ndimage.label(self.counts[k], np.ones((3, 3)))[0])

    def recipe(
        self,
        name: str,
        frames: list[int],
        shots: int,
        fluxes: tuple[float, ...],
        n_hits: int,
        n_blanks: int,
    ) -> Recipe:
        geometries = [self.geometries[k] for k in frames]
        water: dict[int, np.ndarray] = {}

        def background(index: int) -> np.ndarray:
            k = frames[index % len(frames)]
            if k not in water:
                water[k] = expected_water(self.geometries[k], shots * SHOT_PHOTONS, WATER_M)
            return water[k]

        def hit(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
            k = frames[index % len(frames)]
            counts = self.counts[k]
            flux = fluxes[index % len(fluxes)]
            if flux < 1:
                counts = rng.binomial(counts, flux)
            frame = counts + rng.poisson(background(index))
            return frame, _spots(counts, self.labels(k), 8.0)

        def blank(rng: np.random.Generator, index: int) -> np.ndarray:
            return rng.poisson(background(index))

        where = "6 keV, 0.15 m" if len(frames) == 1 else "6-8 keV, 0.15-0.35 m"
        condition = Condition(
            name=name,
            title=f"{where}; {shots} shot{'s' * (shots > 1)} of water",
            kind="sim",
            groups=tuple(f"{flux * 100:g} %" for flux in fluxes),
            n_hits=n_hits,
            n_blanks=n_blanks,
            min_photons=8.0,
            tolerance_px=4.0,
            false_limit=FALSE_LIMITS[shots],
        )
        return Recipe(condition, geometries, np.uint16, hit, blank)


def _spots(counts: np.ndarray, labels: np.ndarray, min_photons: float) -> np.ndarray:
    """Photons and centroid of each labelled spot that holds any."""
    ss, fs = np.nonzero(counts)
    weight, label = counts[ss, fs].astype(float), labels[ss, fs]
    photons = np.bincount(label, weight)
    present = np.flatnonzero(photons)
    out = np.zeros(len(present), TRUTH_DTYPE)
    out["photons"] = photons[present]
    out["fs"] = np.bincount(label, weight * (fs + 0.5))[present] / photons[present]
    out["ss"] = np.bincount(label, weight * (ss + 0.5))[present] / photons[present]
    out["must"] = out["photons"] >= min_photons
    return out


def _real_recipe(real: RealFrame, shared: Path, dose: float) -> Recipe:
    # Below 3 % hardly any spot of these frames holds 8 photons, so the bar is lower there.
    min_photons = {0.01: 4.0, 0.003: 3.0}.get(dose, 8.0)

    def hit(rng: np.random.Generator, index: int) -> tuple[np.ndarray, np.ndarray]:
        counts, spots = real.read(shared)[0], real.spots(shared)
        frame = rng.binomial(counts, dose)
        out = np.zeros(len(spots.table), TRUTH_DTYPE)
        out["fs"], out["ss"] = spots.table["fs"], spots.table["ss"]
        out["photons"] = spots.net_photons(frame, dose)
        out["must"] = spots.table["certain"] & (out["photons"] >= min_photons)
        return frame, out

    condition = Condition(
        name=f"{real.name}_{dose * 100:g}pc",
        title=real.title,
        kind="real",
        groups=(f"{dose * 100:g} %",),
        n_hits=16 if dose >= 0.03 else 48,
        n_blanks=0,
        min_photons=min_photons,
        tolerance_px=real.tolerance_px,
        false_limit={0.3: 1.0, 0.1: 1.0, 0.03: 1.0, 0.01: 0.4, 0.003: 0.1}[dose],
    )
    return Recipe(condition, [real.geometry(shared)], np.uint8, hit)


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
