import numpy as np
import pytest

from hitfinder.dataset.build import MadeFrame, build
from hitfinder.dataset.framefile import Spots
from hitfinder.dataset.layout import grid
from hitfinder.dataset.recipe import Recipe

SHAPE = (24, 20)
WATER_SEED = 10**6


class PointMaker:
    """Frames with one bright pixel a peak, on flat water that grows with the energy."""

    def __init__(self, recipe):
        self.recipe = recipe
        self.made = []

    def water(self, setting, number=WATER_SEED):
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number])
        return rng.poisson(setting.photon_energy_ev[0] / 1000, SHAPE).astype(np.uint16)

    def frame(self, setting, number, has_peaks):
        self.made.append((setting.name, number))
        rng = np.random.default_rng([self.recipe.seed, int(setting.name), number, 1])
        bragg = np.zeros(SHAPE, np.uint16)
        at = rng.choice(np.prod(SHAPE), 3 if has_peaks else 0, replace=False)
        bragg.flat[at] = 50
        ss, fs = np.unravel_index(at, SHAPE)
        spots = Spots(np.zeros(len(at), int), fs + 0.5, ss + 0.5, np.full(len(at), 50.0))
        paper = self.recipe.protocol == "paper"
        water = self.water(setting) if paper else self.water(setting, number)
        values = (setting.photon_energy_ev[0], setting.camera_length_m[0])
        return MadeFrame(bragg, water, *values, spots, {"flux_photons": 3e8 + number})


@pytest.fixture
def make_tree(tmp_path):
    """Build a small tree: two energies by two camera lengths, six frames with peaks in each."""

    def make(name="images", energies=(6000.0, 7000.0), lengths=(0.15, 0.25), **changes):
        defaults = {"frames": 6, "percent_empty": 50, "frames_per_file": 4, "seed": 3}
        recipe = Recipe(**{**defaults, **changes})
        build(tmp_path / name, grid(energies, lengths), recipe, PointMaker(recipe))
        return tmp_path / name

    return make


@pytest.fixture
def point_maker():
    return PointMaker
