"""Indexing a run's frames by all their pixels, from files to tables."""

import json

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.crystal.orientation import COLUMNS, from_columns
from hitfinder.errors import ConfigError, OutputError
from hitfinder.indexing.known import search
from hitfinder.job import index_pixels
from hitfinder.simulation.presets import load_settings

N_FRAMES = 9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Frames of which a third are blank, the others too weak for most finders."""
    folder = tmp_path_factory.mktemp("pixels")
    settings = {
        "detector.name": "eiger2-x-500k",
        "detector.camera_length_m": 0.06,
        "background.shots": 1,
        "bragg_scale": 0.003,
        "blank_fraction": 0.34,
        "seed": 3,
    }
    given = load_settings(preset="report", overrides=settings)
    hf.simulate(folder / "sim", N_FRAMES, settings=given, workers=1)
    done = hf.run(
        folder / "sim" / "frames_master.h5", folder / "out", finder="likelihood", workers=1
    )
    return folder, done


@pytest.fixture(scope="module")
def indexed(run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_pixels, "CHANCE_FRAMES", 5)
        # Fewer orientations are enough for crystals that are twice as strong as need be.
        patch.setattr(search, "FAMILIES", 200)
        patch.setattr(search, "_JUDGED", 300)
        patch.setattr(search, "_REFINED", 30)
        return hf.index(run[1], structure="1ic6", frames="all", workers=1)


def test_orientations_are_those_simulated(run, indexed):
    import pyarrow.parquet as pq

    shots = pq.read_table(run[0] / "sim" / "shots.parquet")
    table = indexed.table
    good = table["indexed"].to_numpy(zero_copy_only=False)
    blank = shots["blank"].to_numpy(zero_copy_only=False).astype(bool)
    frames = table["frame"].to_numpy()
    assert not (good & blank[frames]).any()
    right = 0
    for row in np.flatnonzero(good):
        true = from_columns({name: shots[name][int(frames[row])].as_py() for name in COLUMNS})
        found = from_columns({name: table[name][int(row)].as_py() for name in COLUMNS})
        right += indexed.lattice.angle_deg(found, true) < 0.5
    assert right == good.sum() >= 4


def test_what_chance_reaches_is_said(run, indexed):
    told = json.loads((run[1].folder / "indexed.json").read_text())
    least = told["settings"]["least_score"]
    table = indexed.table
    score, share = table["score"].to_numpy(), table["false_share"].to_numpy()
    np.testing.assert_array_equal(share <= 0.01, score >= least)
    assert told["settings"]["structure"]


def test_bad_requests_are_refused(run, tmp_path):
    with pytest.raises(OutputError, match="indexed before"):
        hf.index(run[1], structure="1ic6")
    with pytest.raises(ConfigError, match="neither a cell nor a structure"):
        hf.index(run[1], overwrite=True)
    with pytest.raises(ValueError, match="bandwidth"):
        hf.index(run[1], structure="1ic6", bandwidth=0, overwrite=True)
    with pytest.raises(ValueError, match="false_hits"):
        hf.index(run[1], structure="1ic6", false_hits=0, overwrite=True)
    with pytest.raises(ConfigError, match="no such file"):
        hf.index(run[1], structure=tmp_path / "none.pdb", overwrite=True)
    with pytest.raises(ConfigError, match="holds no results"):
        hf.index(tmp_path, structure="1ic6")
