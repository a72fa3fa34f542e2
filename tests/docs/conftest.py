"""What the examples of the documentation find in their folder."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.geometry.detector import Detector
from hitfinder.io.write import NexusWriter
from hitfinder.simulation.presets import dotted, load_settings

N_FRAMES = 16
CRYSTAL = {"structure": "random", "cell": "120,120,180", "space_group": "P 43 21 2"}
CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 120.0 A
b = 120.0 A
c = 180.0 A
al = 90.0 deg
be = 90.0 deg
ga = 90.0 deg
"""


def write_run(folder: Path, detector: Detector, camera_length_m: float) -> hf.Geometry:
    """Write run7_master.h5: frames of a crystal in one pulse each; every other one is blank."""
    fixed = {"photon_energy_ev": 6000, "shift_fs_px": 0, "shift_ss_px": 0, "bragg_scale": 30}
    changes = {"seed": 8, "camera_length_m": camera_length_m, "d_min_a": 4.0}
    settings = load_settings(overrides=dotted(fixed | changes | CRYSTAL))
    crystals = hf.Simulator.of(settings, detector=detector)
    no_crystals = dataclasses.replace(settings, blank_fraction=1.0)
    blanks = hf.Simulator.of(no_crystals, detector=detector)
    master = folder / "run7_master.h5"
    with NexusWriter(master, crystals.geometry, crystals.dtype) as series:
        for number in range(N_FRAMES):
            series.write((blanks if number % 2 else crystals).frame(number).counts)
    return crystals.geometry


def make_world(folder: Path, detector: Detector, camera_length_m: float) -> Path:
    """Write the files that the examples name."""
    geometry = write_run(folder, detector, camera_length_m)
    write_geom(folder / "detector.geom", geom_lines(geometry, data_path="/entry/data/data"))
    (folder / "proteinase.cell").write_text(CELL)
    (folder / "my.cell").write_text(CELL)
    bad = np.zeros(detector.shape, np.uint8)
    bad[:4] = 1
    np.save(folder / "bad.npy", bad)
    (folder / "frames.lst").write_text("run7_master.h5 //0\nrun7_master.h5 //12\n")
    return folder


@pytest.fixture(scope="session")
def small_world(tmp_path_factory) -> Path:
    """Files with frames of 512 x 512 pixels, and a finished run over them."""
    folder = tmp_path_factory.mktemp("small")
    make_world(folder, Detector.flat((512, 512), 75e-6, name="flat"), 0.1)
    hf.run(folder / "run7_master.h5", folder / "run7", workers=1)
    return folder


@pytest.fixture
def small(small_world, tmp_path, monkeypatch) -> Path:
    """A copy of them, which is the working directory."""
    folder = tmp_path / "work"
    shutil.copytree(small_world, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def large_world(tmp_path_factory) -> Path:
    """Files with frames of an EIGER2 X 4M."""
    folder = tmp_path_factory.mktemp("large")
    return make_world(folder, Detector.flat((2162, 2068), 75e-6, name="EIGER2 4M"), 0.15)
