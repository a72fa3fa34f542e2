"""Whether a tree is what its manifest says, as far as that can be told before it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hitfinder.atomic import sha256
from hitfinder.errors import ConfigError, SourceError
from hitfinder.study.dataset import manifest
from hitfinder.study.dataset.manifest import Manifest
from hitfinder.study.dataset.tree import Tree

TOLERANCE = 1e-3
MOST_BYTES = 2 * 2**30
"""Files of this size altogether are hashed in some seconds; larger trees are read as they come."""

HINT = "hitfinder dataset validate names every fault."


def require_sound(tree: Tree) -> None:
    """Check the files and the attributes of a tree against its manifest; without one nothing.

    Parameters
    ----------
    tree : Tree
        The frames that are to be used.

    Raises
    ------
    ConfigError
        If the tree was not built to its end, or a frame's attributes are not its setting's.
    SourceError
        If a file has changed since it was written.
    """
    made = manifest.read(tree.root)
    if made is None:
        return
    if not made.is_complete:
        hint = "Give the command that built it once more."
        raise ConfigError("the tree was not built to its end", str(tree.root), hint)
    _check_attributes(tree, made)
    _check_files(tree, made)


def _check_attributes(tree: Tree, made: Manifest) -> None:
    names = tree.settings
    energy, length = tree.attributes.photon_energy, tree.attributes.clen
    for setting in made.settings:
        for index in np.flatnonzero(names == setting.name):
            values = float(energy[index]), float(length[index])
            if not np.isnan(values).any() and not setting.holds(*values, TOLERANCE):
                what = (
                    f"photon_energy {values[0]:g} eV, clen {values[1]:g} m: not those of setting "
                    f"{setting}"
                )
                raise ConfigError(what, f"{tree.root}/{tree.frame_name(int(index))}", HINT)


def _check_files(tree: Tree, made: Manifest) -> None:
    known = {record.path: record.sha256 for record in made.files}
    used = [tree.sets[i] for i in np.unique(tree.set_index)]
    paths = {Path(file.path) for part in used for file in part.files.values()}
    if sum(path.stat().st_size for path in paths) > MOST_BYTES:
        return
    for path in sorted(paths):
        expected = known.get(path.relative_to(tree.root).as_posix())
        if expected is not None and sha256(path) != expected:
            what = "it is damaged, or has changed since the tree was built"
            raise SourceError("unreadable", what, str(path), HINT)
