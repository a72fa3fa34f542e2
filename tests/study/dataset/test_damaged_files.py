"""Trees whose files are damaged: every fault is told, and none takes memory or time."""

import json
import random
import shutil

import h5py
import numpy as np
import pytest

from hitfinder.errors import ConfigError, HitfinderError, SourceError
from hitfinder.study.dataset import framefile
from hitfinder.study.dataset.integrity import require_sound
from hitfinder.study.dataset.layout import FOLDERS
from hitfinder.study.dataset.show import holdings
from hitfinder.study.dataset.split import read_split, split
from hitfinder.study.dataset.tree import open_tree
from hitfinder.study.dataset.validate import validate


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tree_builder):
    """A tree of one setting, split."""
    root = tmp_path_factory.mktemp("whole") / "images"
    tree_builder(root, (6000.0,), (0.15,), frames=3, percent_empty=34, frames_per_file=2)
    split(open_tree(root))
    return root


@pytest.fixture
def tree(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "images")


def first(root, folder="peaks"):
    return min((root / folder / "01").glob("*.h5"))


def replace(path, name, **dataset):
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, **dataset)


def endless(path, name):
    """Let a dataset refer to itself, which HDF5 follows until it crashes."""
    with h5py.File(path, "r+") as file:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(path.name, name, shape)
        file.create_virtual_dataset(name, layout)


FRAMES, SPOTS = "entry/data/data", "entry/spots/fs"
HUGE = {
    "10^12 frames": (FRAMES, {"shape": (10**12, 32, 28), "chunks": (1, 32, 28), "dtype": "u2"}),
    "10^12 pixels": (FRAMES, {"shape": (2, 10**6, 10**6), "chunks": (1, 9, 9), "dtype": "u2"}),
    "words": (FRAMES, {"data": np.full((2, 3, 4), b"x")}),
    "10^12 energies": ("entry/data/clen", {"shape": (10**12,), "chunks": (9,), "dtype": "f8"}),
    "no energies": ("entry/data/clen", {"dtype": "f8", "data": h5py.Empty("f8")}),
}


@pytest.mark.parametrize("name", HUGE)
def test_claims_of_files_are_refused(tree, name):
    replace(first(tree), HUGE[name][0], **HUGE[name][1])
    with pytest.raises(SourceError, match=r"claims|is given for"):
        framefile.scan(first(tree))


WRONG_SPOTS = {
    "10^12 of them": {"shape": (10**12,), "chunks": (10,), "dtype": "f8"},
    "words": {"data": np.full(3, b"x")},
    "fewer than others": {"data": np.ones(1)},
    "not a number": {"data": np.full(6, np.nan)},
    "a lone one": {"data": 5.0},
}


@pytest.mark.parametrize("name", WRONG_SPOTS)
def test_true_spots_that_are_not_whole_are_refused(tree, name):
    assert len(framefile.read_spots(first(tree)).fs) == 6
    replace(first(tree), SPOTS, **WRONG_SPOTS[name])
    with pytest.raises(SourceError, match="spots"):
        framefile.read_spots(first(tree))


@pytest.mark.parametrize("name", [FRAMES, "entry/data/clen", SPOTS])
def test_datasets_that_refer_to_themselves_are_refused(tree, name):
    endless(first(tree), name)
    with pytest.raises(SourceError, match="refers to itself"):
        (framefile.read_spots if name == SPOTS else framefile.scan)(first(tree))


def damage(root, rng):
    """Damage a file of a tree in one of the ways."""
    path = rng.choice(sorted(path for path in root.rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    match rng.choice(("flip", "flip", "flip", "cut", "empty", "gone", "link", "random", "json")):
        case "flip":
            content[at] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        case "cut":
            path.write_bytes(content[:at])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case "link":
            path.unlink()
            path.symlink_to(rng.choice((path.name, "/nowhere")))
        case "random":
            path.write_bytes(rng.randbytes(3000))
        case "json":
            path = root / rng.choice(("manifest.json", "split.json"))
            said = json.loads(path.read_text())
            said[rng.choice(list(said))] = rng.choice((None, -1, "x", [], {}, [[]], {"a": [1]}))
            path.write_text(json.dumps(said))


@pytest.mark.slow
def test_trees_damaged_at_random_are_told(whole, tmp_path):
    truth = open_tree(whole)
    n_sound = 0
    for seed in range(60):
        root = shutil.copytree(whole, tmp_path / str(seed))
        damage(root, random.Random(seed))
        try:
            tree = open_tree(root)
            require_sound(tree)
            read_split(tree)
            for index in range(len(tree)):
                for folder in FOLDERS:
                    np.testing.assert_array_equal(
                        tree.read(folder, index), truth.read(folder, index), f"seed {seed}"
                    )
            [part.spots() for part in tree.sets]
            n_sound += 1
        except HitfinderError:
            pass
        try:
            list(holdings(root))
            list(validate(root))
        except (ConfigError, SourceError):
            pass
    # Damage of what is read through a link of the same name, or that HDF5 does not need.
    assert n_sound < 20
