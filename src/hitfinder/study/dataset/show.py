"""What is in a tree: counts, empties, disk space, and a picture of each setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hitfinder.errors import SourceError
from hitfinder.study.dataset import framefile
from hitfinder.study.dataset.layout import FOLDERS, OVERLAY
from hitfinder.study.dataset.tree import Tree, frame_files, setting_folders


@dataclasses.dataclass
class Holdings:
    """What one setting holds.

    Attributes
    ----------
    setting : str
        Its name.
    frames : dict of int
        Frames in each folder.
    empty : int
        Frames without peaks.
    unreadable : int
        Files that cannot be read.
    n_bytes : int
        Space on disk.
    photon_energies_ev, camera_lengths_m : tuple of float
        Lowest and highest attribute.
    """

    setting: str
    frames: dict[str, int]
    empty: int = 0
    unreadable: int = 0
    n_bytes: int = 0
    photon_energies_ev: tuple[float, float] = (np.nan, np.nan)
    camera_lengths_m: tuple[float, float] = (np.nan, np.nan)


def holdings(root: str | Path) -> list[Holdings]:
    """Count what each setting of a tree holds; folders that are missing count as empty.

    Raises
    ------
    SourceError
        If there is no such folder, or it holds no settings.
    """
    root = Path(root)
    if not root.is_dir():
        raise SourceError("missing-file", "there is no such folder", str(root))
    names = sorted({p.name for folder in FOLDERS for p in setting_folders(root, folder)})
    if not names:
        what = f"there are no folders such as {OVERLAY}/01"
        raise SourceError("no-frames", what, str(root))
    return [_of_setting(root, name) for name in names]


def _of_setting(root: Path, name: str) -> Holdings:
    found = Holdings(name, dict.fromkeys(FOLDERS, 0))
    energies, lengths = [], []
    for folder in FOLDERS:
        for path in frame_files(root / folder / name).values():
            try:
                found.n_bytes += path.stat().st_size
                file, attributes = framefile.scan(path)
            except (OSError, SourceError):
                found.unreadable += 1
                continue
            found.frames[folder] += file.n_frames
            if folder == OVERLAY:
                found.empty += int((attributes.peak == 0).sum())
                energies.append(attributes.photon_energy)
                lengths.append(attributes.clen)
    if energies:
        found.photon_energies_ev = _ends(energies)
        found.camera_lengths_m = _ends(lengths)
    return found


def _ends(parts: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else (np.nan, np.nan)


def contact_sheet(tree: Tree, path: str | Path) -> None:
    """Draw one frame with peaks of each setting, in logarithmic colours, as a PNG.

    Parameters
    ----------
    tree : Tree
        The frames.
    path : path-like
        PNG to write.
    """
    from matplotlib.colors import LogNorm

    from hitfinder.atomic import replacing
    from hitfinder.report.figures import new_figure, png

    names = np.unique(tree.settings)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes_of = new_figure((4 * columns, 4.2 * rows), rows, columns, dpi=100)
    grid = axes_of.ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, name in zip(grid, names, strict=False):
        own = np.flatnonzero(tree.settings == name)
        with_peaks = own[tree.attributes.peak[own] != 0]
        index = int(with_peaks[0] if len(with_peaks) else own[0])
        image = tree.read(OVERLAY, index).astype(float) + 0.5
        top = max(float(np.percentile(image, 99.9)), 2 * float(image.min()))
        axes.imshow(image, norm=LogNorm(float(image.min()), top), interpolation="nearest")
        energy, length = (getattr(tree.attributes, n)[index] for n in ("photon_energy", "clen"))
        axes.set_title(f"{name}: {energy / 1000:g} keV, {length:g} m")
    with replacing(path) as part:
        part.write_bytes(png(figure))
