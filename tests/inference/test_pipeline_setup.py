import logging

import h5py
import numpy as np
import pytest

from hitfinder.errors import ConfigError, GeometryError
from hitfinder.geometry.crystfel import write_geom
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.experiment import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.inference.finder import Finder
from hitfinder.inference.settings import GeometrySettings
from hitfinder.inference.setup import read_geometry_file, recognise, set_up
from hitfinder.io.memory import ArraySource
from hitfinder.io.open import open_source
from hitfinder.io.source import Metadata
from hitfinder.io.write import NexusWriter

SHAPE = (40, 50)


@pytest.fixture
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[3, 4] = True
    panel = Panel("p0", 0, 0, 50, 40, -20.0, -15.0)
    return Geometry(Detector("small", SHAPE, (panel,), mask, 900.0), 0.05, 7000.0)


@pytest.fixture
def master(geometry, tmp_path):
    path = tmp_path / "a_master.h5"
    with NexusWriter(path, geometry, np.uint16) as writer:
        writer.write(np.ones(SHAPE, np.uint16))
    return path


def setup(path, **given):
    settings = GeometrySettings(**given)
    geom = read_geometry_file(settings)
    return set_up(settings, geom, open_source(path, layout=geom.layout if geom else None))


def beam(made):
    panel = made.geometry.detector.panels[0]
    return -panel.corner_x, -panel.corner_y


def test_a_complete_master_says_it_all(master, geometry):
    made = setup(master)
    assert made.geometry.photon_energy_ev == pytest.approx(7000)
    assert made.geometry.camera_length_m == pytest.approx(0.05)
    assert beam(made) == pytest.approx((20, 15))
    assert made.geometry.detector.mask[3, 4]
    assert made.geometry.detector.saturation == 900
    assert made.origin["beam_center"] == made.origin["masked_pixels"] == "the frames' file"
    assert made.of_frame(0) == pytest.approx((7000, 0.05))


def test_what_the_user_says_comes_first(master, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[7, 7] = True
    np.save(tmp_path / "mask.npy", mask)
    made = setup(
        master,
        photon_energy_ev=6500.0,
        camera_length_m=0.06,
        beam_center=(22.0, 11.0),
        polarisation=0.5,
        mask=str(tmp_path / "mask.npy"),
    )
    found = made.geometry
    assert (found.photon_energy_ev, found.camera_length_m, found.polarisation) == (6500, 0.06, 0.5)
    assert beam(made) == pytest.approx((22, 11))
    assert found.detector.mask[7, 7]
    assert found.detector.mask[3, 4]
    assert made.origin["photon_energy_ev"] == "settings"
    assert made.of_frame(0) == (None, None)


def test_a_geometry_file_comes_before_the_master(master, tmp_path):
    panel = Panel("q", 0, 0, 50, 40, -30.0, -5.0)
    other = Geometry(Detector("o", SHAPE, (panel,)), 0.09, 9000.0)
    write_geom(tmp_path / "o.geom", other, data_path="/entry/data/data")
    made = setup(master, file=str(tmp_path / "o.geom"))
    assert beam(made) == pytest.approx((30, 5))
    assert made.geometry.camera_length_m == pytest.approx(0.09)
    assert made.geometry.detector.mask[3, 4], "the mask of the file still counts"
    made = setup(master, file=str(tmp_path / "o.geom"), camera_length_m=0.1)
    assert made.geometry.camera_length_m == pytest.approx(0.1)
    assert made.origin["photon_energy_ev"].endswith("o.geom")


def write_stack(path, frames, energies):
    with h5py.File(path, "w") as file:
        file["data/frames"] = frames
        file["LCLS/photon_energy_eV"] = energies
    return path


def write_text(path, **lines):
    given = {
        "data": "/data/frames",
        "dim0": "%",
        "dim1": "ss",
        "dim2": "fs",
        "clen": "0.05 m",
        "res": "13333.3",
        "p0/min_fs": 0,
        "p0/max_fs": 49,
        "p0/min_ss": 0,
        "p0/max_ss": 39,
        "p0/corner_x": -25,
        "p0/corner_y": -20,
        "p0/fs": "x",
        "p0/ss": "y",
        **lines,
    }
    path.write_text("".join(f"{key} = {value}\n" for key, value in given.items()))
    return str(path)


def test_what_a_geometry_file_leaves_open_is_read_from_the_frames_file(tmp_path):
    frames = np.ones((2, *SHAPE), np.uint16)
    stack = write_stack(tmp_path / "s.h5", frames, [6100.0, 6200.0])
    geom = write_text(tmp_path / "s.geom", photon_energy="/LCLS/photon_energy_eV eV")
    made = setup(stack, file=geom)
    assert made.geometry.photon_energy_ev == pytest.approx(6100)
    assert made.of_frame(1) == (pytest.approx(6200), None)
    with h5py.File(stack, "a") as file:
        del file["LCLS"]
    with pytest.raises(GeometryError, match="photon_energy_eV"):
        setup(stack, file=geom)
    made = setup(stack, file=geom, photon_energy_ev=5000.0, camera_length_m=0.05)
    assert made.geometry.photon_energy_ev == 5000


def test_stacked_modules_have_their_values_read_too(tmp_path):
    stack = write_stack(tmp_path / "m.h5", np.ones((2, 3, *SHAPE), np.uint16), [6100.0, 6200.0])
    lines = {"p1/" + key: value for key, value in (("min_fs", 0), ("max_fs", 49))}
    lines |= {"p1/min_ss": 0, "p1/max_ss": 39, "p1/corner_x": 30, "p1/corner_y": 0}
    lines |= {"p1/fs": "x", "p1/ss": "y", "p0/dim1": 0, "p1/dim1": 2, "dim2": "ss"}
    lines |= {"p0/dim3": "fs", "p1/dim3": "fs"}
    geom = write_text(
        tmp_path / "m.geom", photon_energy="/LCLS/photon_energy_eV eV", dim1=0, **lines
    )
    made = setup(stack, file=geom)
    assert made.geometry.photon_energy_ev == pytest.approx(6100)
    assert made.source.shape == (2 * SHAPE[0], SHAPE[1])


def test_stored_values_become_photons(tmp_path):
    frames = np.zeros((1, *SHAPE), np.int32)
    frames[0, 5, 5:9] = 250, 120, -40, -9999
    stack = write_stack(tmp_path / "s.h5", frames, [6000.0])
    rules = {"p0/adu_per_photon": 25, "p0/flag_lessthan": -1000}
    geom = write_text(tmp_path / "s.geom", photon_energy="6000 eV", **rules)
    made = setup(stack, file=geom)
    frame = made.source.read(0)
    np.testing.assert_allclose(frame[5, 5:9], [10, 4.8, 0, np.nan])
    assert made.adu_per_photon == 25
    result = Finder(made.geometry).process(frame)
    assert result.photons == 15
    buffer = np.empty(SHAPE, np.float32)
    assert made.source.read(0, buffer) is buffer
    plain = write_text(tmp_path / "p.geom", photon_energy="6000 eV")
    assert setup(stack, file=plain).source.dtype == np.int32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no detector is known with frames of 40 x 50 pixels"),
        ({"detector": "pilatus-100k"}, "frames are 40 x 50 pixels, detector 'pilatus-100k' has"),
    ],
)
def test_what_cannot_be_known_is_asked_for(tmp_path, given, message):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.uint16))
    with pytest.raises(GeometryError, match=message):
        setup(tmp_path / "a.npy", **given)


def test_a_named_detector_needs_a_place(caplog):
    frames = ArraySource(np.zeros((1, 195, 487), np.uint16))
    for missing, option in (
        ("photon_energy_ev", "--photon-energy-ev"),
        ("camera_length_m", "--camera-length-m"),
    ):
        given = {"photon_energy_ev": 6000.0, "camera_length_m": 0.1, missing: None}
        with pytest.raises(GeometryError, match=option):
            set_up(GeometrySettings(**given), None, frames)
    settings = GeometrySettings(photon_energy_ev=6000.0, camera_length_m=0.1)
    made = set_up(settings, None, frames)
    assert made.geometry.detector.name == "pilatus-100k"
    logging.getLogger("hitfinder").propagate = True
    made.log()
    assert "give --beam-center" in caplog.text


def test_detectors_are_recognised():
    shape = named_detector("eiger2-x-4m").shape
    assert recognise(shape, Metadata())[0].name == "eiger2-x-4m"
    found, origin = recognise(SHAPE, Metadata(pixel_size_m=1e-4, detector="mine"))
    assert (found.name, found.panels[0].pixel_size_m) == ("mine", 1e-4)
    assert "pixel size" in origin


@pytest.mark.parametrize(
    "given",
    [
        {"file": "a.geom", "detector": "b"},
        {"photon_energy_ev": 0.0},
        {"camera_length_m": -1.0},
        {"camera_length_m": np.inf},
        {"photon_energy_ev": np.nan},
        {"beam_center": (3.0, np.nan)},
        {"polarisation": 1.5},
    ],
)
def test_impossible_settings_are_refused(given):
    from hitfinder import config

    with pytest.raises(ConfigError):
        config.override(GeometrySettings(), **given)
