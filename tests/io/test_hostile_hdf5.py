"""HDF5 files that lead in circles, claim sizes that no memory holds, or are being written."""

import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from hitfinder.hdf5loops import is_endless
from hitfinder.io.nexus import Fields
from hitfinder.io.open import open_source

SHAPE = (4, 20, 30)


def virtual(path, name, *sources, shape=SHAPE):
    """Write a virtual dataset of whole sources, ``(file, dataset)``, one after another."""
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((len(sources) * shape[0], *shape[1:]), "u2")
        for number, (source, inside) in enumerate(sources):
            start = number * shape[0]
            layout[start : start + shape[0]] = h5py.VirtualSource(source, inside, shape, "u2")
        file.create_virtual_dataset(name, layout)
    return path


def real(path, name="data", value=7):
    with h5py.File(path, "a") as file:
        file[name] = np.full(SHAPE, value, "u2")
    return path


def problem_of(path):
    with open_source(path) as source:
        assert not source.n_readable
        return source.problems[0]


def test_a_virtual_dataset_of_itself_is_refused(tmp_path):
    path = virtual(tmp_path / "a.h5", "entry/data/data", (".", "/entry/data/data"))
    assert "is made of itself" in str(problem_of(path))


def test_two_virtual_datasets_of_each_other_are_refused(tmp_path):
    virtual(tmp_path / "b.h5", "data", ("a.h5", "/data"))
    assert "is made of itself" in str(
        problem_of(virtual(tmp_path / "a.h5", "data", ("b.h5", "/data")))
    )


def test_a_circle_is_refused_where_hdf5_would_put_the_frames_together(tmp_path):
    """Frames joined from two sources are read through the virtual dataset."""
    path = tmp_path / "a.h5"
    real(path, "left")
    with h5py.File(path, "a") as file:
        layout = h5py.VirtualLayout((4, 20, 60), "u2")
        layout[:, :, :30] = h5py.VirtualSource(".", "/left", SHAPE, "u2")
        layout[:, :, 30:] = h5py.VirtualSource(".", "/right", SHAPE, "u2")
        file.create_virtual_dataset("entry/data/data", layout)
    virtual(path, "right", (".", "/right"))
    with open_source(path) as source:
        assert "is made of itself" in str(source.problems[0])


def test_a_circle_of_many_files_is_refused(tmp_path):
    for number in range(12):
        virtual(tmp_path / f"f{number}.h5", "data", (f"f{(number + 1) % 12}.h5", "/data"))
    assert "is made of itself" in str(problem_of(tmp_path / "f0.h5"))


def test_a_mask_made_of_itself_is_not_read(tmp_path):
    path = real(tmp_path / "a.h5", "entry/data/data")
    virtual(path, "mask", (".", "/mask"), shape=SHAPE)
    with open_source(path) as source:
        assert source.metadata.mask is None
        assert "/mask: is made of itself" in str(source.problems[0])
        assert source.read(1)[0, 0] == 7


def test_virtual_datasets_that_end_are_read(tmp_path):
    real(tmp_path / "z.h5")
    for number in range(11, -1, -1):
        target = "z.h5" if number == 11 else f"f{number + 1}.h5"
        virtual(tmp_path / f"f{number}.h5", "data", (target, "/data"))
    with open_source(tmp_path / "f0.h5") as source:
        assert source.n_readable == 4
        assert source.read(3)[0, 0] == 7


def test_the_same_source_may_be_used_twice(tmp_path):
    real(tmp_path / "z.h5")
    virtual(tmp_path / "b.h5", "data", ("z.h5", "/data"))
    virtual(tmp_path / "a.h5", "data", ("b.h5", "/data"), ("b.h5", "/data"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert not is_endless(file["data"])


def test_soft_links_in_a_circle_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = h5py.SoftLink("/entry/data")
    assert "links to /entry/data, in a circle" in str(problem_of(tmp_path / "a.h5"))


def test_frames_beside_groups_nested_without_end_are_found(tmp_path):
    path = real(tmp_path / "a.h5", "shots")
    with h5py.File(path, "a") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")
        file["g/again"] = h5py.SoftLink("/")
    with open_source(path) as source:
        assert source.n_readable == 4


def claim(path, shape, **options):
    """Write a dataset that states a shape and holds nothing."""
    with h5py.File(path, "w") as file:
        chunks = options.pop("chunks", (1, *shape[1:]))
        file.create_dataset("data", shape, "u2", chunks=chunks, **options)
    return path


@pytest.fixture
def little_memory():
    """Let the process take a GB more, so that believing a claim fails."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    ("shape", "chunks", "words"),
    [
        ((10**9, 20, 30), (1, 20, 30), "1000000000 frames are stated"),
        ((2, 10**6, 10**6), (1, 1000, 1000), "too many pixels"),
        ((10**6, 10**6), (1000, 1000), "too many pixels"),
        ((2000, 500, 500), (1000, 500, 500), "take 500 MB, a frame 0.5 MB"),
    ],
)
def test_claims_are_refused_before_memory_is_taken(tmp_path, little_memory, shape, chunks, words):
    path = claim(tmp_path / "a.h5", shape, chunks=chunks, compression="gzip")
    assert words in str(problem_of(path))


def test_a_detector_set_to_more_frames_than_it_can_take(tmp_path, little_memory):
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("gone.h5", "/data")
        specific = "entry/instrument/detector/detectorSpecific"
        file[f"{specific}/nimages"] = np.uint64(10**15)
        file[f"{specific}/x_pixels_in_detector"] = np.uint64(10**15)
        file[f"{specific}/y_pixels_in_detector"] = np.uint64(10**15)
    with open_source(tmp_path / "x_master.h5") as source:
        assert (len(source), source.shape) == (1, (0, 0))


def test_fields_without_measure_are_not_read(tmp_path, little_memory):
    path = real(tmp_path / "a.h5", "entry/data/data")
    with h5py.File(path, "a") as file:
        file.create_dataset("photon_energy", (10**12,), "f8", chunks=(10**6,), fillvalue=9000.0)
        file.create_dataset("entry/definition", (), "S2000000000")
        assert Fields(file).dataset("photon_energy") is not None
    with open_source(path) as source:
        assert source.metadata.photon_energy_ev is None


WRITER = """
import h5py, sys
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("data", (0, 20, 30), "u2", maxshape=(None, 20, 30), chunks=(1, 20, 30))
file["mask"] = [[1] * 30] * 20
file.swmr_mode = True
for number in range(5):
    data.resize(number + 1, axis=0)
    data[number] = number
data.flush()
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def written(tmp_path):
    """A file that another process has open in SWMR mode."""
    path = tmp_path / "written.h5"
    command = [sys.executable, "-c", WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == b"written\n"
        yield path
        process.stdin.close()


def test_a_file_that_is_being_written_is_read_and_said_so(written):
    with open_source(written) as source:
        assert [int(source.read(i)[0, 0]) for i in range(len(source))] == [0, 1, 2, 3, 4]
        assert "another program is writing this file" in source.remarks[0]
        assert not source.problems


def test_a_file_that_is_being_written_is_read_through_links(written, tmp_path):
    with h5py.File(tmp_path / "run.nxs", "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink(written.name, "/data")
        file["entry/instrument/detector/pixel_mask"] = h5py.ExternalLink(written.name, "/mask")
    with open_source(tmp_path / "run.nxs") as source:
        assert int(source.read(4)[0, 0]) == 4
        assert source.metadata.mask.all()
    virtual(tmp_path / "vds.h5", "data", (written.name, "/data"), shape=(5, 20, 30))
    with open_source(tmp_path / "vds.h5") as source:
        assert int(source.read(4)[0, 0]) == 4


def test_frames_joined_from_a_file_that_is_being_written_are_no_zeros(written, tmp_path):
    with h5py.File(tmp_path / "vds.h5", "w") as file:
        layout = h5py.VirtualLayout((5, 20, 60), "u2")
        for half in (0, 1):
            source = h5py.VirtualSource(written.name, "/data", (5, 20, 30), "u2")
            layout[:, :, 30 * half : 30 * half + 30] = source
        file.create_virtual_dataset("data", layout)
    assert "is writing this virtual source" in str(problem_of(tmp_path / "vds.h5"))


KILLED = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "w", libver="latest")
file["x"] = 1
file.flush()
os._exit(0)
"""


def test_a_file_left_open_by_a_killed_program_is_no_reason_to_clear_it(tmp_path):
    path = tmp_path / "killed.h5"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=True)
    problem = problem_of(path)
    assert "another program is writing this file" in str(problem)
    assert "Wait until it is closed; if that program was killed, repair a copy" in str(problem)
