import dataclasses

import numpy as np
import pytest

from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.suite.condition import TRUTH_DTYPE, Condition, ConditionRecipe, prepared

SPOTS = np.array([[60.5, 40.5], [300.5, 100.5], [420.5, 150.5]])
GEOMETRY = Geometry(named_detector("pilatus-100k"), 0.1, 8000.0)
CONDITION = Condition(
    name="small",
    title="a small detector",
    family="flux",
    kind="sim",
    groups=("1", "0.1"),
    n_hits=6,
    n_blanks=20,
    false_limit=0.05,
    scales=(1.0, 0.1),
    shots=1,
)


def make_recipe(photons=40, **changes):
    """Three spots of one pixel over 0.01 photons per pixel, all weaker in the second group."""
    condition = dataclasses.replace(CONDITION, **changes)

    def hit(rng, number):
        frame = rng.poisson(0.01, GEOMETRY.shape)
        counts = rng.poisson(photons * condition.scales[number % 2], len(SPOTS))
        fs, ss = SPOTS.astype(int).T
        np.add.at(frame, (ss, fs), counts)
        spots = np.zeros(len(SPOTS), TRUTH_DTYPE)
        spots["fs"], spots["ss"] = SPOTS.T
        spots["photons"], spots["must"] = counts, counts >= condition.min_photons
        return frame, spots

    def blank(rng, number):
        return rng.poisson(0.01, GEOMETRY.shape)

    return ConditionRecipe(condition, [GEOMETRY], np.uint16, hit, blank)


@pytest.fixture
def small_recipe():
    return make_recipe


@pytest.fixture
def recipe():
    return make_recipe()


@pytest.fixture
def frames(recipe, tmp_path):
    return prepared(recipe, tmp_path / "frames")
