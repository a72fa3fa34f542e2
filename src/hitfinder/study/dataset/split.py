"""Divide the frames of a tree into a training and a test part, and write it down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.atomic import replacing
from hitfinder.errors import ConfigError, OutputError
from hitfinder.study.dataset.tree import Tree

SPLIT = "split.json"
FORMAT, VERSION = "hitfinder-split", 1
TRAIN, TEST = PARTS = ("train", "test")

SPLIT_KEYS = {
    "format": ("string", "", f"always {FORMAT}"),
    "version": ("integer", "", f"of the format: {VERSION}"),
    "seed": ("integer", "", "what the choice was drawn with"),
    "test_fraction": ("number", "1", "share of the frames that are kept for testing"),
    "parts": ("object", "", "for train and for test, the numbers of the frames in each file"),
}
"""Keys of ``split.json``: type, unit, meaning."""


def stratified(tree: Tree, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose a fraction of the frames, the same of each setting with and without peaks.

    Parameters
    ----------
    tree : Tree
        The frames.
    fraction : float
        Part to choose, between 0 and 1.
    seed : int
        Fixes the choice.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where chosen: that fraction of all, to a whole number, and of each kind of frame
        the whole number below or above it, but never all.

    Raises
    ------
    ConfigError
        If the fraction is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the part to set aside must be between 0 and 1, got {fraction:g}")
    chosen = np.zeros(len(tree), bool)
    settings, peak = tree.settings, tree.attributes.peak
    generator = np.random.default_rng(seed)
    kinds = []
    for setting in np.unique(settings):
        for kind in np.unique(peak[settings == setting]):
            frames = np.flatnonzero((settings == setting) & (peak == kind))
            kinds.append(generator.permutation(frames))
    # Whole numbers first; what is left over goes to the kinds that fell shortest, by lot if equal.
    exact = np.array([fraction * len(frames) for frames in kinds])
    counts = np.floor(exact).astype(int)
    room = np.array([len(frames) for frames in kinds]) - 1 - counts
    order = np.lexsort((generator.random(len(kinds)), counts - exact))
    order = order[room[order] > 0]
    counts[order[: round(fraction * len(tree)) - counts.sum()]] += 1
    for frames, n in zip(kinds, counts, strict=True):
        chosen[frames[:n]] = True
    return chosen


def split(
    tree: Tree, test_fraction: float = 0.2, seed: int = 0, *, overwrite: bool = False
) -> Path:
    """Divide a tree, stratified by setting and presence of peaks, and write ``split.json``.

    Parameters
    ----------
    tree : Tree
        All frames of the tree.
    test_fraction : float
        Part of the frames that is kept for testing.
    seed : int
        Fixes the choice.
    overwrite : bool
        Replace a split that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If there is one already, or it cannot be written.
    """
    path = tree.root / SPLIT
    if path.exists() and not overwrite:
        raise OutputError("the tree is split already", str(path), "Remove it to split anew.")
    in_test = stratified(tree, test_fraction, seed)
    parts: dict[str, dict[str, list[int]]] = {TRAIN: {}, TEST: {}}
    for index, chosen in enumerate(in_test):
        rows = parts[TEST if chosen else TRAIN].setdefault(_file(tree, index), [])
        rows.append(int(tree.row[index]))
    text = {
        "format": FORMAT,
        "version": VERSION,
        "seed": seed,
        "test_fraction": test_fraction,
        "parts": parts,
    }
    with replacing(path) as part:
        part.write_text(json.dumps(text) + "\n", encoding="utf-8")
    return path


def read_split(tree: Tree) -> dict[str, Tree]:
    """Return the training and the test part of a tree, or of a choice from it.

    Raises
    ------
    ConfigError
        If there is no split, it cannot be read, or it does not know a frame.
    """
    path = tree.root / SPLIT
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT or table["version"] != VERSION:
            raise ConfigError("this is no split that this program reads", str(path))
        where = {
            (file, row): name
            for name in PARTS
            for file, rows in table["parts"][name].items()
            for row in rows
        }
    except FileNotFoundError as error:
        hint = "Run hitfinder dataset split."
        raise ConfigError("the tree is not split", str(tree.root), hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"the split cannot be read: {error}", str(path)) from error
    part_of = []
    for index in range(len(tree)):
        name = where.get((_file(tree, index), int(tree.row[index])))
        if name is None:
            hint = "The tree has changed since; split it anew."
            raise ConfigError(f"frame {tree.frame_name(index)} is in no part", str(path), hint)
        part_of.append(name)
    return {name: tree.take(np.array(part_of) == name) for name in PARTS}


def _file(tree: Tree, index: int) -> str:
    part = tree.sets[tree.set_index[index]]
    return f"{part.setting}/{part.key}"
