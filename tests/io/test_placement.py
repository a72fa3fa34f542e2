"""Where the transformations of NXmx files place a detector, worked out by hand."""

import math

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from hitfinder.cli.info import info
from hitfinder.experiment.open import open_experiment
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.named import named_detector
from hitfinder.io.open import open_source
from hitfinder.io.write import NexusWriter

ROWS, COLUMNS, PIXEL = 40, 60, 75e-6
CENTER, LENGTH = (32.5, 20.25), 0.2
DETECTOR = "entry/instrument/detector"
CHAIN = f"/{DETECTOR}/transformations"


def axis(group, name, value, vector, on, unit="m", kind="translation", offset=(0, 0, 0)):
    item = group.create_dataset(name, data=value)
    item.attrs.update({"vector": np.array(vector, float), "depends_on": on, "units": unit})
    item.attrs.update({"transformation_type": kind, "offset": np.array(offset, float)})
    item.attrs["offset_units"] = "m"


def module(detector, name, origin, size, on, offset, fast=(-1, 0, 0), slow=(0, -1, 0)):
    group = detector.create_group(name)
    group["data_origin"], group["data_size"] = origin, size
    axis(group, "module_offset", 0.0, (1, 0, 0), on, offset=offset)
    axis(group, "fast_pixel_direction", PIXEL, fast, "module_offset")
    axis(group, "slow_pixel_direction", PIXEL * 1e3, slow, "module_offset", "mm")


def master(path, fill=None, shape=(ROWS, COLUMNS), **fields):
    """Write an NXmx file; `fill` adds to its detector."""
    said = {
        "beam_center_x": (CENTER[0], "pixel"),
        "beam_center_y": (CENTER[1], "pixel"),
        "detector_distance": (LENGTH, "m"),
        "x_pixel_size": (PIXEL, "m"),
        "y_pixel_size": (PIXEL, "m"),
    } | fields
    with h5py.File(path, "w") as file:
        file["entry/definition"] = "NXmx"
        file["entry/data/data"] = np.ones((2, *shape), np.uint16)
        file["entry/instrument/beam/incident_wavelength"] = 1.0
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "angstrom"
        detector = file.create_group(DETECTOR)
        for name, given in said.items():
            if given is not None:
                detector[name] = given[0]
                detector[name].attrs["units"] = given[1]
        if fill is not None:
            fill(detector)
    return path


def arm(angle, z=200.0):
    """Put the detector on an arm that turns about the vertical."""

    def fill(detector):
        chain = detector.create_group("transformations")
        axis(chain, "two_theta", angle, (0, 1, 0), ".", "deg", "rotation")
        axis(chain, "z", z, (0, 0, 1), f"{CHAIN}/two_theta", "mm")
        corner = (CENTER[0] * PIXEL, CENTER[1] * PIXEL, 0)
        module(detector, "module", (0, 0), (ROWS, COLUMNS), f"{CHAIN}/z", corner)

    return fill


def position(geometry, fs, ss):
    panel = next(p for p in geometry.detector if p.contains(fs, ss))
    return np.array(panel.positions(np.array(fs), np.array(ss), geometry.camera_length_m))


def test_a_detector_on_an_arm_is_turned_about_the_sample(tmp_path):
    experiment = open_experiment(master(tmp_path / "arm.h5", arm(20.0)))
    found = position(experiment.geometry, 10.0, 5.0)
    x, y = (CENTER[0] - 10) * PIXEL, (CENTER[1] - 5) * PIXEL
    cos, sin = math.cos(math.radians(20)), math.sin(math.radians(20))
    np.testing.assert_allclose(found, [x * cos + LENGTH * sin, y, LENGTH * cos - x * sin], 1e-9)
    assert "transformations" in experiment.origin["detector"]


@pytest.mark.parametrize(
    ("angle", "z", "moves"),
    [
        ([20.0, 20.0, 25.0], 200.0, "two_theta"),
        (20.0, [200.0, 200.0, 210.0], "z"),
        ([20.0, 20.001, 20.0], [200.0, 200.05, 200.0], ""),
    ],
)
def test_a_detector_that_moves_is_told(tmp_path, angle, z, moves):
    notes = open_source(master(tmp_path / "arm.h5", arm(angle, z))).metadata.notes
    told = [note for note in notes if "goes from" in note]
    assert len(told) == (moves != "")
    assert all(f"transformations/{moves}, " in note for note in told)


def test_info_tells_of_panels_that_are_placed(tmp_path):
    file = str(master(tmp_path / "arm.h5", arm(20.0)))
    told = CliRunner().invoke(info, [file]).output
    assert "1, placed by the file's transformations" in told
    flat = CliRunner().invoke(info, [str(master(tmp_path / "flat.h5", arm(0.0)))]).output
    assert "transformations" not in flat


def test_a_flat_detector_is_taken_from_its_fields_and_differences_are_told(tmp_path, caplog):
    alike = open_experiment(master(tmp_path / "alike.h5", arm(0.0))).geometry
    assert alike.detector.panels[0].fs_vector == (1, 0, 0)
    assert alike.detector.beam_center == pytest.approx(CENTER)
    assert not caplog.records
    file = master(tmp_path / "moved.h5", arm(0.0), beam_center_x=(20.0, "pixel"))
    assert open_experiment(file).geometry.detector.beam_center == pytest.approx((20, CENTER[1]))
    assert "by the transformations of the file the beam meets the detector at fs 32.5" in (
        caplog.text
    )


def test_transformations_alone_give_camera_length_and_beam_centre(tmp_path):
    none = dict.fromkeys(("beam_center_x", "beam_center_y", "detector_distance"))
    geometry = open_experiment(master(tmp_path / "chain.h5", arm(0.0), **none)).geometry
    assert geometry.camera_length_m == pytest.approx(LENGTH)
    assert geometry.detector.beam_center == pytest.approx(CENTER)


def test_a_mirrored_detector_stays_mirrored(tmp_path):
    def fill(detector):
        corner = (CENTER[0] * PIXEL, -CENTER[1] * PIXEL, LENGTH)
        module(detector, "module", (0, 0), (ROWS, COLUMNS), ".", corner, slow=(0, 1, 0))

    geometry = open_experiment(master(tmp_path / "mirrored.h5", fill)).geometry
    expected = [-2 * PIXEL, 3 * PIXEL, LENGTH]
    found = position(geometry, CENTER[0] + 2, CENTER[1] + 3)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_modules_kept_apart_make_one_frame(tmp_path):
    def fill(detector):
        for n in range(3):
            corner = (-2e-3, 5e-3 * n - 6e-3, LENGTH + 1e-3 * n)
            turned = {"fast": (1, 0.01, 0), "slow": (-0.01, 1, 0)}
            module(detector, f"bad {n}", (n, 0, 0), (1, ROWS, COLUMNS), ".", corner, **turned)
        mask = np.zeros((3, ROWS, COLUMNS), np.uint32)
        mask[1, 2, 3] = 1
        detector["pixel_mask"] = mask

    path = master(tmp_path / "apart.h5", fill, (3, ROWS, COLUMNS))
    with h5py.File(path, "r+") as file:
        file["entry/data/data"][...] = np.arange(3)[:, None, None]
    experiment = open_experiment(path)
    geometry, frame = experiment.geometry, experiment.source[0]
    assert geometry.shape == frame.shape == (3 * ROWS, COLUMNS)
    assert [panel.name for panel in geometry.detector] == ["m_bad_0", "m_bad_1", "m_bad_2"]
    np.testing.assert_array_equal(frame[:, 0], np.repeat(np.arange(3), ROWS))
    assert np.argwhere(geometry.detector.mask).tolist() == [[ROWS + 2, 3]]
    step = PIXEL / math.hypot(1, 0.01)
    expected = [-2e-3 + 10 * step, 4e-3 + 0.1 * step, LENGTH + 2e-3]
    np.testing.assert_allclose(position(geometry, 10.0, 2.0 * ROWS), expected, atol=1e-12)


def test_many_modules_without_places_are_not_taken_for_channels(tmp_path):
    with open_source(master(tmp_path / "eight.h5", shape=(8, ROWS, COLUMNS))) as source:
        assert source.n_readable == 0
        assert "could be modules or channels" in str(source.problems[0])


def test_a_chain_goes_through_other_files_and_relative_paths(tmp_path):
    with h5py.File(tmp_path / "stage.h5", "w") as file:
        axis(
            file.create_group("stage"), "tilt", 30.0, (1, 0, 0), f"/{DETECTOR}/z", "deg", "rotation"
        )

    def fill(detector):
        axis(detector, "z", [200.0] * 3, (0, 0, 1), ".", "mm")
        detector["transformations"] = h5py.ExternalLink("stage.h5", "/stage")
        corner = (CENTER[0] * PIXEL, CENTER[1] * PIXEL, 0)
        # As older writers have it: columns first.
        module(detector, "module", (0, 0), (COLUMNS, ROWS), "../transformations/tilt", corner)

    geometry = open_experiment(master(tmp_path / "linked.h5", fill)).geometry
    y = CENTER[1] * PIXEL
    expected = [CENTER[0] * PIXEL, y * math.cos(math.pi / 6), LENGTH + y / 2]
    np.testing.assert_allclose(position(geometry, 0.0, 0.0), expected, 1e-9)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda chain: chain["z"].attrs.update({"units": "furlong"}), "is in 'furlong'"),
        (lambda chain: chain["two_theta"].attrs.update({"depends_on": "z"}), "more than 64"),
        (lambda chain: chain["two_theta"].attrs.update({"depends_on": "no"}), "is not there"),
        (lambda chain: chain["two_theta"].attrs.update({"vector": [0, 0, 0]}), "no direction"),
    ],
)
def test_chains_that_are_not_understood_are_told(tmp_path, caplog, edit, told):
    def fill(detector):
        arm(20.0)(detector)
        edit(detector["transformations"])

    geometry = open_experiment(master(tmp_path / "odd.h5", fill)).geometry
    assert geometry.detector.beam_center == pytest.approx(CENTER)
    assert "are not used" in caplog.text
    assert told in caplog.text


def test_a_turned_detector_without_modules_is_told(tmp_path, caplog):
    def fill(detector):
        chain = detector.create_group("transformations")
        axis(chain, "two_theta", 10.0, (0, 1, 0), ".", "deg", "rotation")
        detector["depends_on"] = "transformations/two_theta"

    open_experiment(master(tmp_path / "bare.h5", fill))
    assert "turned by 10 degrees, but no module" in caplog.text


def test_an_arm_of_an_older_master_is_told(tmp_path, caplog):
    open_experiment(
        master(tmp_path / "old.h5", lambda d: d.__setitem__("goniometer/two_theta", [12.0]))
    )
    assert "stands at 2θ = 12 degrees (/entry/instrument/detector/goniometer" in caplog.text


def test_panels_that_are_written_are_read_again(tmp_path):
    detector = named_detector("jungfrau-4m")
    geometry = Geometry(detector.with_beam_center(1000.0, 1100.0), 0.12, 9000.0)
    with NexusWriter(tmp_path / "w_master.h5", geometry, "uint16") as series:
        series.write(np.ones(geometry.shape, np.uint16))
    found = open_experiment(tmp_path / "w_master.h5").geometry
    for fs, ss in ((5.0, 7.0), (900.0, 1000.0), (2000.0, 2100.0)):
        np.testing.assert_allclose(position(found, fs, ss), position(geometry, fs, ss), atol=1e-9)


def test_a_tilted_detector_that_is_written_does_not_contradict_itself(tmp_path):
    turn = math.radians(5)
    panel = Panel(
        *("p", 0, 0, COLUMNS, ROWS, -500.0, -20.0),
        fs_vector=(math.cos(turn), 0.0, math.sin(turn)),
        pixel_size_m=PIXEL,
    )
    tilted = Geometry(Detector("tilted", (ROWS, COLUMNS), (panel,)), LENGTH, 9000.0)
    with NexusWriter(tmp_path / "tilted_master.h5", tilted, "uint16") as series:
        series.write(np.ones((ROWS, COLUMNS), np.uint16))
    source = open_source(tmp_path / "tilted_master.h5")
    assert not source.metadata.notes
    read = open_experiment(tmp_path / "tilted_master.h5").geometry
    np.testing.assert_allclose(position(read, 30.0, 20.0), position(tilted, 30.0, 20.0), 1e-6)


def test_pixels_that_are_not_square(tmp_path):
    tall = {"y_pixel_size": (2 * PIXEL, "m"), "beam_center_y": (2 * PIXEL * 20.25, "m")}
    geometry = open_experiment(master(tmp_path / "tall.h5", **tall)).geometry
    assert geometry.detector.beam_center == pytest.approx(CENTER)
    expected = [-32.5 * PIXEL, -2 * 20.25 * PIXEL, LENGTH]
    np.testing.assert_allclose(position(geometry, 0.0, 0.0), expected, 1e-9)


def test_pixels_that_are_not_square_are_written_so(tmp_path):
    detector = Detector.flat((ROWS, COLUMNS), (2 * PIXEL, PIXEL)).with_beam_center(*CENTER)
    geometry = Geometry(detector, LENGTH, 9000.0)
    with NexusWriter(tmp_path / "w_master.h5", geometry, "uint16") as series:
        series.write(np.ones(geometry.shape, np.uint16))
    found = open_experiment(tmp_path / "w_master.h5").geometry
    for fs, ss in ((0.0, 0.0), (50.0, 30.0)):
        np.testing.assert_allclose(position(found, fs, ss), position(geometry, fs, ss), atol=1e-9)
    with h5py.File(tmp_path / "w_master.h5") as file:
        assert file[f"{DETECTOR}/y_pixel_size"][()] == pytest.approx(2 * PIXEL)


def test_a_beam_centre_that_moves_is_told(tmp_path, caplog):
    path = master(tmp_path / "moves.h5", beam_center_x=([30.0, 38.0], "pixel"))
    assert open_experiment(path).geometry.detector.beam_center == pytest.approx((34, CENTER[1]))
    assert "moves by 8 pixels" in caplog.text


def test_a_spectrum_gives_its_mean(tmp_path):
    path = master(tmp_path / "pink.h5")
    with h5py.File(path, "r+") as file:
        beam = file["entry/instrument/beam"]
        del beam["incident_wavelength"]
        beam["incident_wavelength"] = [0.9, 1.0, 1.2]
        beam["incident_wavelength"].attrs["units"] = "angstrom"
        beam["incident_wavelength_weights"] = [0.0, 3.0, 1.0]
    assert open_experiment(path).geometry.wavelength_a == pytest.approx(1.05)
