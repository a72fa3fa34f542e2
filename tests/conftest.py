from pathlib import Path

import numpy as np
import pytest

from hitfinder.dataset.build import MadeFrame, build
from hitfinder.dataset.framefile import Spots
from hitfinder.dataset.layout import grid
from hitfinder.dataset.recipe import Recipe

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    """Folder of reference data kept beside the project; the test is skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("reference data are not beside the project")
    return SHARED


TREE_SHAPE = (32, 28)
WATER_SEED = 10**6


class PointMaker:
    """Frames with one bright pixel a peak, on flat water that grows with the energy."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.made = []

    def water(self, setting, number=WATER_SEED):
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number])
        return rng.poisson(setting.photon_energy_ev[0] / 1000, TREE_SHAPE).astype(np.uint16)

    def frame(self, setting, number, has_peaks):
        self.made.append((setting.name, number))
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number, 1])
        bragg = np.zeros(TREE_SHAPE, np.uint16)
        at = rng.choice(np.prod(TREE_SHAPE), 3 if has_peaks else 0, replace=False)
        bragg.flat[at] = 50
        ss, fs = np.unravel_index(at, TREE_SHAPE)
        spots = Spots(np.zeros(len(at), int), fs + 0.5, ss + 0.5, np.full(len(at), 50.0))
        paper = self.recipe.protocol == "paper"
        water = self.water(setting) if paper else self.water(setting, number)
        values = (setting.photon_energy_ev[0], setting.camera_length_m[0])
        return MadeFrame(bragg, water, *values, spots, {"flux_photons": 3e8 + number})


@pytest.fixture(scope="session")
def tree_builder():
    """Build a small tree: two energies by two camera lengths, six frames with peaks in each."""

    def make(root, energies=(6000.0, 7000.0), lengths=(0.15, 0.25), **changes):
        defaults = {"frames": 6, "percent_empty": 50, "frames_per_file": 4, "seed": 3}
        recipe = Recipe(**{**defaults, **changes})
        build(root, grid(energies, lengths), recipe, PointMaker(recipe))
        return root

    return make


@pytest.fixture
def make_tree(tmp_path, tree_builder):
    """Build small trees in the test's own folder."""
    return lambda name="images", **options: tree_builder(tmp_path / name, **options)


@pytest.fixture
def point_maker():
    return PointMaker


@pytest.fixture(scope="session")
def one_thread():
    """Let PyTorch use one thread: the frames are small, and tests run beside one another."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
