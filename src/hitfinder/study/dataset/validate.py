"""Check a tree: every file and every frame against its setting and its counterparts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hitfinder.atomic import sha256
from hitfinder.errors import SourceError
from hitfinder.study.dataset import framefile, manifest
from hitfinder.study.dataset.build import add_counts
from hitfinder.study.dataset.framefile import Attributes, FrameFile
from hitfinder.study.dataset.layout import (
    FOLDERS,
    LABELS,
    OVERLAY,
    PEAKS,
    WATER,
    Setting,
    report_matrix,
)
from hitfinder.study.dataset.manifest import Manifest
from hitfinder.study.dataset.tree import FrameSet, counterpart, frame_files, setting_folders

TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something wrong in a tree.

    Parameters
    ----------
    kind : str
        ``missing``, ``extra``, ``unreadable``, ``shape``, ``attribute``, ``contents`` or
        ``checksum``.
    path : str
        File or folder, relative to the tree.
    what : str
        What is wrong with it.
    """

    kind: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.what}"


def validate(
    root: str | Path,
    settings: tuple[Setting, ...] | None = None,
    *,
    contents: bool = True,
    progress: Callable[[str], None] = lambda setting: None,
) -> Iterator[Fault]:
    """Find everything wrong in a tree.

    Parameters
    ----------
    root : path-like
        The tree.
    settings : tuple of Setting, optional
        What it should hold; by default what its manifest says, else the report's matrix for the
        settings that are there.
    contents : bool
        Read every frame too: each must be readable, be the sum of its peaks and its water, and
        have neither peaks nor labels where its attribute says so; compare checksums.
    progress : callable
        Told the setting that is being checked.

    Yields
    ------
    Fault
    """
    root = Path(root)
    made = manifest.read(root)
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            yield Fault("missing", folder, "there is no such folder")
    if made is not None and not made.is_complete:
        yield Fault("missing", manifest.MANIFEST, "the tree was not built to its end")
    there = {p.name for folder in FOLDERS for p in setting_folders(root, folder)}
    if settings is None:
        settings = made.settings if made is not None else report_matrix()
        settings = tuple(s for s in settings if made is not None or s.name in there)
    for name in sorted(there - {setting.name for setting in settings}):
        yield Fault("extra", name, "no such setting belongs to the tree")
    checker = _Checker(root, contents)
    for setting in settings:
        progress(setting.name)
        yield from checker.setting(setting)
    if made is not None:
        yield from _against_manifest(root, made, contents)


class _Checker:
    """Checks settings one after another; the first readable file gives the shape of all."""

    def __init__(self, root: Path, contents: bool) -> None:
        self.root, self.contents = root, contents
        self.shape: tuple[int, int] | None = None

    def setting(self, setting: Setting) -> Iterator[Fault]:
        listed = {}
        for folder in FOLDERS:
            place = self.root / folder / setting.name
            if (self.root / folder).is_dir() and not place.is_dir():
                yield Fault("missing", f"{folder}/{setting.name}", "there is no such folder")
            listed[folder] = frame_files(place)
        keys = sorted(set().union(*(listed[folder] for folder in (PEAKS, LABELS, OVERLAY))))
        if not keys:
            yield Fault("missing", f"{OVERLAY}/{setting.name}", "there are no frames")
        used = set()
        for key in keys:
            paths = {folder: counterpart(listed[folder], key, folder, keys) for folder in FOLDERS}
            used |= {path for path in paths.values() if path}
            yield from self._frames(setting, key, paths)
        for path in sorted(set(listed[WATER].values()) - used):
            yield Fault("extra", self._name(path), "it belongs to no frames")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _frames(self, setting: Setting, key: str, paths: dict[str, Path | None]) -> Iterator[Fault]:
        """Check the files of the four folders that hold the same frames."""
        files: dict[str, FrameFile] = {}
        attributes: dict[str, Attributes] = {}
        for folder, path in paths.items():
            if path is None:
                others = next(p for p in paths.values() if p is not None)
                if (self.root / folder / setting.name).is_dir():
                    what = f"there is no counterpart of {self._name(others)}"
                    yield Fault("missing", f"{folder}/{setting.name}", what)
                continue
            try:
                files[folder], attributes[folder] = framefile.scan(path)
            except SourceError as error:
                yield Fault("unreadable", self._name(path), error.what)
        for folder, file in files.items():
            name = self._name(Path(file.path))
            yield from self._shape(name, file, files, folder)
            yield from _of_setting(name, attributes[folder], setting, folder)
        yield from _alike(self.root, files, attributes)
        if self.contents and len(files) == len(FOLDERS):
            yield from _contents(self.root, FrameSet(setting.name, key, files), attributes[OVERLAY])

    def _shape(
        self, name: str, file: FrameFile, files: dict[str, FrameFile], folder: str
    ) -> Iterator[Fault]:
        self.shape = self.shape or file.shape
        if file.shape != self.shape:
            yield Fault("shape", name, f"frames of {file.shape}, the first file has {self.shape}")
        others = files.get(OVERLAY, file)
        shared = folder == WATER and file.n_frames == 1
        if file.n_frames != others.n_frames and not shared:
            what = f"{file.n_frames} frames, its counterpart in {OVERLAY} has {others.n_frames}"
            yield Fault("shape", name, what)


def _of_setting(name: str, values: Attributes, setting: Setting, folder: str) -> Iterator[Fault]:
    """Check each frame's attributes against its setting."""
    for n in range(len(values)):
        frame = f"{name} //{n}" if len(values) > 1 else name
        energy, length = float(values.photon_energy[n]), float(values.clen[n])
        for attribute, value in (("photon_energy", energy), ("clen", length)):
            if np.isnan(value):
                yield Fault("attribute", frame, f"has no {attribute}")
        if np.isnan(energy) or np.isnan(length):
            continue
        if not setting.holds(energy, length, TOLERANCE):
            what = f"photon_energy {energy:g} eV, clen {length:g} m: not those of setting {setting}"
            yield Fault("attribute", frame, what)
        if values.peak[n] < 0 and folder == OVERLAY:
            yield Fault("attribute", frame, "has no peak")


def _alike(
    root: Path, files: dict[str, FrameFile], attributes: dict[str, Attributes]
) -> Iterator[Fault]:
    """Check the attributes of counterparts against those of the frames with water."""
    if OVERLAY not in files:
        return
    main = attributes[OVERLAY]
    for folder, values in attributes.items():
        if folder == OVERLAY or len(values) != len(main):
            continue
        # One water image for all frames is not told which of them have peaks.
        names = ("clen", "photon_energy") if folder == WATER else framefile.ATTRIBUTE_NAMES
        for attribute in names:
            own, other = getattr(values, attribute), getattr(main, attribute)
            for n in np.flatnonzero(own != other):
                if np.isnan(own[n]) or np.isnan(other[n]) or own[n] == -1:
                    continue
                path = Path(files[folder].path).relative_to(root).as_posix()
                what = f"{attribute} is {own[n]:g}, in {OVERLAY} it is {other[n]:g}"
                yield Fault("attribute", f"{path} //{n}" if len(values) > 1 else path, what)


def _contents(root: Path, frames: FrameSet, values: Attributes) -> Iterator[Fault]:
    """Read every frame and check that its parts belong together."""
    for n in range(frames.files[OVERLAY].n_frames):
        images = {}
        for folder in FOLDERS:
            try:
                images[folder] = frames.read(folder, n)
            except (SourceError, IndexError) as error:
                path = Path(frames.files[folder].path).relative_to(root).as_posix()
                yield Fault("unreadable", f"{path} //{n}", str(error).split(": ")[-1])
        if len(images) < len(FOLDERS) or len({image.shape for image in images.values()}) > 1:
            continue
        path = Path(frames.files[OVERLAY].path).relative_to(root).as_posix()
        name = f"{path} //{n}" if len(values) > 1 else path
        if not _is_sum(images):
            yield Fault("contents", name, "is not the sum of its peaks and its water")
        if values.peak[n] == 0 and (images[PEAKS].any() or images[LABELS].any()):
            yield Fault("contents", name, "peak is false, but there are Bragg photons or labels")
        if values.peak[n] == 1 and not images[PEAKS].any() and images[LABELS].any():
            yield Fault("contents", name, "has labels without Bragg photons")


def _is_sum(images: dict[str, np.ndarray]) -> bool:
    bragg, water, total = images[PEAKS], images[WATER], images[OVERLAY]
    if bragg.dtype == water.dtype == np.uint16:
        return bool(np.array_equal(add_counts(bragg, water), total))
    return bool(np.allclose(bragg.astype(float) + water, total, rtol=1e-5))


def _against_manifest(root: Path, made: Manifest, contents: bool) -> Iterator[Fault]:
    known = {record.path for record in made.files}
    for record in made.files:
        path = root / record.path
        if not path.is_file():
            yield Fault("missing", record.path, "the manifest lists it")
        elif contents and sha256(path) != record.sha256:
            yield Fault("checksum", record.path, "it has changed since the tree was built")
    for folder in FOLDERS if made.is_complete else ():
        for place in setting_folders(root, folder):
            for path in frame_files(place).values():
                name = path.relative_to(root).as_posix()
                if name not in known:
                    yield Fault("extra", name, "the manifest does not list it")
