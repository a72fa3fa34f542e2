"""Choose frames of a tree by setting, photon energy or camera length."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hitfinder.errors import ConfigError, OutputError
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.layout import FOLDERS
from hitfinder.study.dataset.tree import Tree

TOLERANCE = 1e-3
"""Relative difference up to which a value is the one asked for."""


@dataclasses.dataclass(frozen=True)
class Selection:
    """What to choose; empty lists choose everything.

    Parameters
    ----------
    settings : tuple of str
        Names of settings, e.g. ``("01", "02")``.
    photon_energies_ev, camera_lengths_m : tuple of float
        Values to choose.
    """

    settings: tuple[str, ...] = ()
    photon_energies_ev: tuple[float, ...] = ()
    camera_lengths_m: tuple[float, ...] = ()


def select(tree: Tree, selection: Selection) -> Tree:
    """Return the frames that meet all that is asked for.

    Raises
    ------
    ConfigError
        If something asked for is not in the tree, or nothing is left.
    """
    chosen = np.ones(len(tree), bool)
    names = tree.settings
    if selection.settings:
        absent = sorted(set(selection.settings) - set(names.tolist()))
        if absent:
            there = ", ".join(sorted(set(names.tolist())))
            raise ConfigError(
                f"there is no setting {absent[0]}", str(tree.root), f"There: {there}."
            )
        chosen &= np.isin(names, selection.settings)
    for what, unit, values, wanted in (
        ("photon energy", "eV", tree.attributes.photon_energy, selection.photon_energies_ev),
        ("camera length", "m", tree.attributes.clen, selection.camera_lengths_m),
    ):
        if wanted:
            chosen &= _near(values, wanted, f"{what} of {{:g}} {unit}", tree.root)
    if not chosen.any():
        raise ConfigError("no frame meets all that is asked for", str(tree.root))
    return tree.take(chosen)


def _near(values: np.ndarray, wanted: Sequence[float], text: str, root: Path) -> np.ndarray:
    near = np.abs(values[:, None] - np.asarray(wanted)) <= TOLERANCE * np.abs(wanted)
    missing = ~near.any(axis=0)
    if missing.any():
        which = text.format(np.asarray(wanted)[missing][0])
        there = ", ".join(f"{v:g}" for v in np.unique(values)[:12])
        raise ConfigError(f"no frame has a {which}", str(root), f"There: {there}.")
    return near.any(axis=1)


def link_selection(tree: Tree, out: str | Path) -> list[str]:
    """Make a tree that links to the settings of a selection.

    Parameters
    ----------
    tree : Tree
        What `select` chose; whole settings.
    out : path-like
        Folder for the new tree.

    Returns
    -------
    list of str
        Names of the settings linked.

    Raises
    ------
    OutputError
        If there is something already, or it cannot be written.
    ConfigError
        If only some of a setting's frames were chosen, as from a range of energies.
    """
    out = Path(out)
    for name in np.unique(tree.settings):
        held = sum(next(iter(p.files.values())).n_frames for p in tree.sets if p.setting == name)
        if (tree.settings == name).sum() != held:
            what = f"only some frames of setting {name} were chosen, and links hold them all"
            hint = "Give the same choice to train and evaluate instead."
            raise ConfigError(what, str(tree.root), hint)
    if out.exists() and any(out.iterdir()):
        raise OutputError("something is there already", str(out), "Choose another folder.")
    names = sorted(set(tree.settings.tolist()))
    try:
        for folder in FOLDERS:
            (out / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                source = tree.root / folder / name
                if source.is_dir():
                    target = os.path.relpath(source.resolve(), (out / folder).resolve())
                    (out / folder / name).symlink_to(target, target_is_directory=True)
    except OSError as error:
        raise OutputError.unwritable(error.strerror, out) from error
    made = manifest.read(tree.root)
    if made is not None:
        kept = tuple(record for record in made.files if record.path.split("/")[1] in names)
        settings = tuple(setting for setting in made.settings if setting.name in names)
        dataclasses.replace(made, settings=settings, files=kept).write(out)
    return names
