"""The suite's conditions with the files that the package does not hold, and where all is kept."""

from __future__ import annotations

import functools
from pathlib import Path

from hitfinder.suite import catalog
from hitfinder.suite.condition import ConditionRecipe, Frames, prepared
from hitfinder.suite.thinned import FullFrame

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
CACHE = Path("/tmp/hitfinder-bench")
FRAMES, PEERS = CACHE / "frames", CACHE / "peers"
PATTERN_SIM = SHARED / "pattern_sim" / "pattern_sim_1ic6_9.h5"
TRUTH = HERE / "truth"
# File of a measured frame -> where other finders saw peaks in it at full dose (see real_truth.py).
REAL = {
    SHARED / "real" / "DLS_I03_smargon_0001.cbf.gz": TRUTH / "pilatus6m.csv",
    SHARED / "real" / "dlsnxs2cbf_therm_0001.cbf.gz": TRUTH / "eiger16m.csv",
}


@functools.cache
def recipes(only: tuple[str, ...] = ()) -> list[ConditionRecipe]:
    real = [FullFrame(path, seen) for path, seen in REAL.items()]
    return catalog.recipes(PATTERN_SIM, real, only=only)


def condition(name: str) -> Frames:
    recipe = next(recipe for recipe in recipes() if recipe.condition.name == name)
    return prepared(recipe, FRAMES)
