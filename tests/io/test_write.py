import os
import signal
import subprocess
import sys
import textwrap

import h5py
import hdf5plugin  # noqa: F401 - lets h5py alone read the chunks
import numpy as np
import pytest

from hitfinder.errors import OutputError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.open import open_source
from hitfinder.io.write import NexusWriter


def geometry(mask=None, panels=None):
    panels = panels or (Panel("p", 0, 0, 12, 10, corner_x=-4.25, corner_y=-3.5),)
    return Geometry(Detector("tiny", (10, 12), panels, mask, saturation=5000), 0.15, 6000.0)


def frames(n, dtype=np.uint16):
    return np.random.default_rng(3).poisson(0.4, (n, 10, 12)).astype(dtype)


def test_two_series_are_written_side_by_side(tmp_path):
    stack = frames(4, np.uint16)
    with (
        NexusWriter(tmp_path / "x_master.h5", geometry(), np.uint16) as x,
        NexusWriter(tmp_path / "y_master.h5", geometry(), np.uint16) as y,
    ):
        for frame in stack:
            x.write(frame)
            y.write(frame + 1)
    for name, more in (("x", 0), ("y", 1)):
        with h5py.File(tmp_path / f"{name}_master.h5") as file:
            np.testing.assert_array_equal(file["entry/data/data"][:], stack + more)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.float32])
def test_h5py_alone_reads_every_frame_by_link_and_by_virtual_dataset(tmp_path, dtype):
    stack = frames(7, dtype)
    with NexusWriter(tmp_path / "x_master.h5", geometry(), dtype, frames_per_file=3) as writer:
        assert [writer.write(frame) for frame in stack] == list(range(7))
    with h5py.File(tmp_path / "x_master.h5") as master:
        data = master["entry/data"]
        linked = [data[f"data_{n:06d}"] for n in (1, 2, 3)]
        assert [len(part) for part in linked] == [3, 3, 1]
        np.testing.assert_array_equal(np.concatenate([part[()] for part in linked]), stack)
        np.testing.assert_array_equal(data["data"][()], stack)
        assert linked[0].chunks == (1, 10, 12)
        assert list(linked[0]._filters) == ["32008"]
        assert [part.attrs["image_nr_low"] for part in linked] == [1, 4, 7]
        assert [part.attrs["image_nr_high"] for part in linked] == [3, 6, 7]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "x_data_000001.h5",
        "x_data_000002.h5",
        "x_data_000003.h5",
        "x_master.h5",
    ]


def test_the_folder_can_be_moved_as_a_whole(tmp_path, monkeypatch):
    stack = frames(2)
    with NexusWriter(tmp_path / "a" / "x_master.h5", geometry(), np.uint16) as writer:
        for frame in stack:
            writer.write(frame)
    (tmp_path / "a").rename(tmp_path / "b")
    monkeypatch.chdir("/")
    with h5py.File(tmp_path / "b" / "x_master.h5") as master:
        np.testing.assert_array_equal(master["entry/data/data"][()], stack)


def test_the_metadata_are_those_of_the_geometry(tmp_path):
    mask = np.zeros((10, 12), bool)
    mask[2, 3] = True
    panels = (
        Panel("a", 0, 0, 12, 4, corner_x=-6.0, corner_y=-8.0),
        Panel("b", 0, 6, 12, 4, corner_x=-6.0, corner_y=-1.5, fs_vector=(0.998, 0.06, 0)),
    )
    extra = {"/entry/simulation/seed": 7, "/entry/sample/thickness": (1e-5, "m")}
    with NexusWriter(
        tmp_path / "x_master.h5", geometry(mask, panels), np.uint16, extra=extra
    ) as writer:
        writer.write(frames(1)[0])
        writer.extra["/entry/simulation/photons"] = np.array([12.0])
    with h5py.File(tmp_path / "x_master.h5") as master:
        detector = master["entry/instrument/detector"]
        assert master["entry/definition"][()] == b"NXmx"
        assert detector["detector_distance"][()] == 0.15
        assert detector["detector_distance"].attrs["units"] == "m"
        wavelength = master["entry/instrument/beam/incident_wavelength"][()]
        assert wavelength == pytest.approx(2.066403, abs=1e-6)
        assert detector["saturation_value"][()] == 5000
        assert detector["bit_depth_image"][()] == 16
        bits = detector["pixel_mask"][()]
        assert bits[2, 3] == 1 << 8
        assert (bits[4:6] == 1).all()
        assert np.count_nonzero(bits) == 1 + 2 * 12
        # The axis meets panel b, whose fast axis is turned by 0.06.
        fs, ss = detector["beam_center_x"][()], detector["beam_center_y"][()]
        assert (-6 + 0.998 * fs, -1.5 + 0.06 * fs + (ss - 6)) == pytest.approx((0, 0), abs=1e-12)
        fast = detector["module_0001/fast_pixel_direction"]
        assert fast[()] * fast.attrs["vector"] == pytest.approx([0.998 * 75e-6, 0.06 * 75e-6, 0])
        assert list(detector["module_0001/data_origin"]) == [6, 0]
        assert master["entry/simulation/seed"][()] == 7
        assert master["entry/sample/thickness"].attrs["units"] == "m"
        assert master["entry/simulation/photons"][0] == 12.0


def test_dependency_chains_end_at_the_sample_and_add_up_to_the_panel_corner(tmp_path):
    with NexusWriter(tmp_path / "x_master.h5", geometry(), np.uint16) as writer:
        writer.write(frames(1)[0])
    with h5py.File(tmp_path / "x_master.h5") as master:
        node = master["entry/instrument/detector/module/fast_pixel_direction"]
        place, steps = np.zeros(3), 0
        while node.attrs["depends_on"] != ".":
            node = master[node.attrs["depends_on"]]
            place, steps = place + node[()] * node.attrs["vector"], steps + 1
    assert steps == 2
    assert place == pytest.approx([-4.25 * 75e-6, -3.5 * 75e-6, 0.15])


def test_beam_center_undoes_with_beam_center():
    detector = geometry().detector.with_beam_center(7.25, 3.75)
    assert detector.beam_center == pytest.approx((7.25, 3.75))


def test_masked_pixels_can_be_stored_as_the_detector_stores_them(tmp_path):
    mask = np.zeros((10, 12), bool)
    mask[4] = True
    frame = frames(1)[0]
    with NexusWriter(
        tmp_path / "x_master.h5", geometry(mask), np.uint16, mark_masked=True
    ) as writer:
        writer.write(frame)
    with h5py.File(tmp_path / "x_data_000001.h5") as file:
        stored = file["entry/data/data"][0]
    assert (stored[4] == 65535).all()
    np.testing.assert_array_equal(stored[~mask], frame[~mask])


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    def fail_after_three():
        master = tmp_path / "x_master.h5"
        with NexusWriter(master, geometry(), np.uint16, frames_per_file=1) as writer:
            for frame in frames(3):
                writer.write(frame)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_three()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_no_finished_file_and_the_next_run_recovers(tmp_path):
    script = """
        import sys, time, numpy as np
        from hitfinder.geometry.detector import Detector, Panel
        from hitfinder.geometry.geometry import Geometry
        from hitfinder.io.write import NexusWriter
        detector = Detector("d", (4, 4), (Panel("p", 0, 0, 4, 4, 0, 0),))
        writer = NexusWriter(sys.argv[1], Geometry(detector, 0.1, 6000), "u2", frames_per_file=2)
        for _ in range(5):
            writer.write(np.ones((4, 4), "u2"))
        print("written", flush=True)
        time.sleep(600)  # until it is killed
    """
    master = tmp_path / "x_master.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), master], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [p for p in tmp_path.iterdir() if not p.name.endswith(".partial")] == []
    with NexusWriter(master, geometry(), np.uint16) as writer:
        writer.write(frames(1)[0])
    with h5py.File(master) as file:
        assert len(file["entry/data/data"]) == 1


def test_an_existing_series_is_replaced_only_when_allowed_and_whole(tmp_path):
    master = tmp_path / "x_master.h5"
    with NexusWriter(master, geometry(), np.uint16, frames_per_file=1) as writer:
        for frame in frames(3):
            writer.write(frame)
    with pytest.raises(OutputError, match="exists already"):
        NexusWriter(master, geometry(), np.uint16)
    with NexusWriter(master, geometry(), np.uint16, overwrite=True) as writer:
        writer.write(frames(1)[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x_data_000001.h5", "x_master.h5"]


def test_frames_that_do_not_fit_are_refused(tmp_path):
    with NexusWriter(tmp_path / "x_master.h5", geometry(), np.uint16) as writer:
        with pytest.raises(ValueError, match="shape"):
            writer.write(np.zeros((9, 12), np.uint16))
        with pytest.raises(ValueError, match="float64"):
            writer.write(np.zeros((10, 12)))
        with pytest.raises(ValueError, match="does not fit"):
            writer.write(np.full((10, 12), 65536))
        writer.write(np.full((10, 12), 65535))
    with pytest.raises(OutputError, match="no name for a master"):
        NexusWriter(tmp_path / "x.h5", geometry(), np.uint16)


def test_the_projects_own_reader_gets_back_what_was_written(tmp_path):
    mask = np.zeros((10, 12), bool)
    mask[2, 3] = True
    stack = frames(5)
    setup = geometry(mask)
    with NexusWriter(tmp_path / "x_master.h5", setup, np.uint16, frames_per_file=2) as writer:
        for frame in stack:
            writer.write(frame)
    source = open_source(tmp_path)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    said = source.metadata
    assert said.photon_energy_ev == pytest.approx(6000.0, rel=1e-12)
    assert said.camera_length_m == 0.15
    assert said.beam_center == pytest.approx((4.25, 3.5))
    assert said.pixel_size_m == 75e-6
    assert said.saturation == 5000
    assert said.detector == "tiny"
    np.testing.assert_array_equal(said.mask, mask)
    assert [file.frames for file in source.contents.linked_files] == [2, 2, 1]
    assert source.problems == ()


FULL = """
import sys, numpy as np
from hitfinder.errors import OutputError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
detector = Detector("d", (40, 40), (Panel("p", 0, 0, 40, 40, 0, 0),))
try:
    with NexusWriter(sys.argv[1], Geometry(detector, 0.1, 6000), "u2", frames_per_file=5) as writer:
        for number in range(12):
            writer.write(np.random.default_rng(number).integers(0, 60000, (40, 40), "u2"))
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("free_kb", [0, 4, 8, 12, 20, 24, 28, 32, 40, 48, 56, 64])
def test_a_full_disk_is_told_and_leaves_no_file(small_disk, free_kb):
    disk = small_disk(free_kb << 10)
    command = [sys.executable, "-c", FULL, disk / "x_master.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "No space left on device" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert [path.name for path in disk.iterdir()] == ["ballast"]
