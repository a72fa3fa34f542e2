import concurrent.futures
import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap

import h5py
import hdf5plugin
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.io.handles import POOL, FilePool
from hitfinder.io.naming import natural_order
from hitfinder.io.open import open_source
from waiting import LONGEST_S

SHAPE = (20, 24)


def write_stack(path, value, n=2, shape=SHAPE, dtype=np.uint16):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        stack = (value + np.arange(n))[:, None, None] * np.ones(shape)
        packing = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset(
            "entry/data/data", data=stack.astype(dtype), chunks=(1, *shape), **packing
        )
    return path


def write_series(folder, name, values):
    """Write an Eiger series with one data file for each value."""
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / f"{name}_master.h5", "w") as file:
        for number, value in enumerate(values, 1):
            data = f"{name}_data_{number:06d}.h5"
            write_stack(folder / data, value)
            link = h5py.ExternalLink(data, "/entry/data/data")
            file[f"entry/data/data_{number:06d}"] = link
    return folder / f"{name}_master.h5"


def values_of(source):
    found = []
    for index in range(len(source)):
        try:
            found.append(int(source.read(index)[0, 0]))
        except SourceError as error:
            found.append(error.status)
    return found


def test_files_come_in_the_order_given(tmp_path):
    a, b = write_stack(tmp_path / "a.h5", 10), write_stack(tmp_path / "b.h5", 20)
    assert values_of(open_source([b, str(a)])) == [20, 21, 10, 11]
    assert open_source([b, a]).ref(3).file == str(a)


def test_a_folder_is_searched_with_its_subfolders_in_natural_order(tmp_path):
    for number in (2, 10, 1):
        write_stack(tmp_path / f"run{number}" / "x.h5", 100 * number)
    (tmp_path / "notes.txt").write_text("not frames")
    write_stack(tmp_path / ".hidden.h5.part", 7)
    (tmp_path / ".x.h5").write_text("hidden")
    np.save(tmp_path / "run2" / "y.npy", np.full((1, *SHAPE), 5, np.uint16))
    assert values_of(open_source(tmp_path)) == [100, 101, 200, 201, 5, 1000, 1001]


def test_results_in_a_folder_of_frames_are_no_frames(tmp_path, caplog):
    write_stack(tmp_path / "a.h5", 10)
    found = tmp_path / "found"
    write_stack(found / "hits.cxi", 10)
    for name in ("run.json", "frames.parquet"):
        (found / name).write_text("")
    assert values_of(open_source(tmp_path)) == [10, 11]
    assert f"{found}: left out, as it holds results" in caplog.text
    assert values_of(open_source(found)) == [10, 11]  # asked for by name


def test_natural_order_counts_numbers():
    assert natural_order(["r10/a", "r2/b", "r2/a11", "r2/a2"]) == [
        "r2/a2",
        "r2/a11",
        "r2/b",
        "r10/a",
    ]


def test_patterns(tmp_path):
    for number in (1, 2, 10):
        write_stack(tmp_path / "a" / f"f{number}.h5", number * 10, n=1)
    assert values_of(open_source(str(tmp_path / "a" / "f*.h5"))) == [10, 20, 100]
    assert values_of(open_source(str(tmp_path / "**" / "f?.h5"))) == [10, 20]
    assert values_of(open_source(str(tmp_path / "nothing*.h5"))) == ["missing-file"]
    odd = write_stack(tmp_path / "run[1].h5", 3, n=1)
    assert values_of(open_source(odd)) == [3]


def test_a_master_beside_its_data_files_is_taken_once(tmp_path):
    write_series(tmp_path, "x", [10, 20])
    write_stack(tmp_path / "other.h5", 90)
    assert values_of(open_source(tmp_path)) == [90, 91, 10, 11, 20, 21]
    assert values_of(open_source(str(tmp_path / "x_*.h5"))) == [10, 11, 20, 21]
    given = [tmp_path / "x_data_000002.h5", tmp_path / "x_master.h5"]
    assert values_of(open_source(given)) == [10, 11, 20, 21]
    assert values_of(open_source(tmp_path / "x_data_000002.h5")) == [20, 21]


def test_a_file_named_twice_is_taken_once(tmp_path):
    a = write_stack(tmp_path / "a.h5", 10)
    (tmp_path / "link.h5").symlink_to(a)
    assert values_of(open_source([a, str(a), tmp_path])) == [10, 11]


def test_broken_inputs_stand_for_one_frame_each(tmp_path):
    write_stack(tmp_path / "a.h5", 10)
    (tmp_path / "b.h5").write_text("text")
    write_stack(tmp_path / "c.h5", 30)
    source = open_source([tmp_path, tmp_path / "gone.h5"])
    assert values_of(source) == [10, 11, "unreadable", 30, 31, "missing-file"]
    assert source.n_readable == 4
    assert [problem.status for problem in source.problems] == ["unreadable", "missing-file"]


def test_frames_of_another_shape_than_most_fail(tmp_path):
    odd = write_stack(tmp_path / "odd.h5", 1, n=2, shape=(20, 30))
    a, b = write_stack(tmp_path / "a.h5", 10), write_stack(tmp_path / "b.h5", 20)
    source = open_source([odd, a, b])
    assert source.shape == SHAPE
    assert values_of(source) == ["wrong-shape", "wrong-shape", 10, 11, 20, 21]
    assert [problem.status for problem in source.problems] == ["wrong-shape"]
    # Of as many frames, the first shape counts.
    assert open_source([odd, a]).shape == (20, 30)


def test_counts_of_different_types_are_read_into_one_that_holds_both(tmp_path):
    a = write_stack(tmp_path / "a.h5", 10, dtype=np.uint16)
    b = write_stack(tmp_path / "b.h5", 70000, dtype=np.uint32)
    source = open_source([a, b])
    assert source.dtype == np.uint32
    assert values_of(source) == [10, 11, 70000, 70001]


def test_an_array_is_a_source(tmp_path):
    stack = np.arange(3 * 4 * 5, dtype=np.int32).reshape(3, 4, 5)
    source = open_source(stack)
    np.testing.assert_array_equal(source[-1], stack[2])
    assert source.ref(1).event == "//1"
    assert len(open_source(stack[0])) == 1
    swapped = open_source(stack.astype(">i4"))
    assert swapped.dtype.isnative
    np.testing.assert_array_equal(swapped[1], stack[1])
    assert values_of(open_source([stack[0], stack])) == [0, 0, 20, 40]
    assert values_of(open_source(np.zeros((2, 0, 4)))) == ["no-frames"]
    assert values_of(open_source(np.array(["a"]))) == ["unreadable"]
    assert values_of(open_source(np.zeros((2, 3, 4, 5)))) == ["wrong-shape"]


def test_a_numpy_file_is_a_source(tmp_path):
    stack = np.arange(3 * 4 * 5, dtype=np.int32).reshape(3, 4, 5)
    np.save(tmp_path / "x.npy", stack)
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "x.npy")))
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-20])
    (tmp_path / "text.npy").write_text("text")
    assert values_of(open_source(tmp_path / "cut.npy")) == ["truncated"]
    assert values_of(open_source(tmp_path / "text.npy")) == ["unreadable"]


def test_the_buffer_must_fit(tmp_path):
    source = open_source(write_stack(tmp_path / "a.h5", 1))
    with pytest.raises(ValueError, match="buffer"):
        source.read(0, np.empty((20, 25), np.uint16))
    with pytest.raises(ValueError, match="buffer"):
        source.read(0, np.empty(SHAPE, np.uint32))
    wide = np.zeros((20, 48), np.uint16)
    source.read(1, wide[:, ::2])
    assert (wide[:, ::2] == 2).all()
    assert not wide[:, 1::2].any()


def test_no_input_is_a_mistake():
    with pytest.raises(ValueError, match="no input"):
        open_source([])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_source_in_use_can_be_read_by_other_processes(tmp_path, method):
    source = open_source(write_series(tmp_path, "x", [10, 20]))
    assert source.read(0)[0, 0] == 10
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        frames = list(pool.map(source.read, range(4)))
    assert [frame[0, 0] for frame in frames] == [10, 11, 20, 21]
    assert source.read(3)[0, 0] == 21


def printed_apart(code, *arguments):
    """Run code in a process of its own, where nothing else opens files or takes memory.

    Return the whole numbers that it prints.
    """
    imports = "import os, resource, sys\nimport numpy as np\n"
    imports += "from hitfinder.io.open import open_source\n"
    command = [sys.executable, "-c", imports + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_files_open_at_once_are_few_however_many_are_read(tmp_path):
    for number in range(30):
        write_stack(tmp_path / f"f{number}.h5", number, n=1)
    opened, left = printed_apart(
        """
        source = open_source(sys.argv[1])
        before = len(os.listdir("/proc/self/fd"))
        assert sorted(source.read(n)[0, 0] for n in range(30)) == list(range(30))
        print(len(os.listdir("/proc/self/fd")) - before)
        source.close()
        print(len(os.listdir("/proc/self/fd")) - before)
        assert sorted(source.read(n)[0, 0] for n in range(30)) == list(range(30))
        """,
        tmp_path,
    )
    assert 0 < opened <= POOL.limit
    assert left <= 0


def test_the_pool_closes_the_file_used_longest_ago(tmp_path):
    pool = FilePool(limit=2)
    paths = [str(write_stack(tmp_path / f"{name}.h5", 1)) for name in "abc"]
    a, b = pool.file(paths[0]), pool.file(paths[1])
    assert pool.file(paths[0]) is a
    c = pool.file(paths[2])
    assert a
    assert not b
    assert c


def test_opening_leaves_no_file_open_and_a_replaced_file_is_read_anew(tmp_path):
    path = write_stack(tmp_path / "a.h5", 10)
    source = open_source(path)
    write_stack(path, 30)
    assert values_of(source) == [30, 31]
    replacement = write_stack(tmp_path / "b.h5", 50)
    os.replace(replacement, path)
    assert values_of(source) == [50, 51]
    del source
    write_stack(path, 70)


def test_memory_does_not_grow_with_the_frames_read(tmp_path):
    path = write_stack(tmp_path / "a.h5", 1, n=20, shape=(200, 200))
    (grown_kb,) = printed_apart(
        """
        source = open_source(sys.argv[1])
        out = np.empty(source.shape, source.dtype)

        def read_many(times):
            for _ in range(times):
                for index in range(20):
                    source.read(index, out)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        first = read_many(20)
        print(read_many(200) - first)
        """,
        path,
    )
    assert grown_kb < 4096


@pytest.mark.parametrize("name", ["x.h5", "x.lst", "x.npy", "x.cbf"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with open_source(tmp_path / name) as source:
        assert "is a pipe or device" in str(source.problems[0])


def write_npy_header(path, shape, dtype="<u2"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    return path


@pytest.mark.parametrize(
    "shape",
    [
        "(-1, 64, 64)",
        "(-8, -8)",
        "(1, -8, -8)",
        "(1000000000000, 64, 64)",
        "(99999999999999999999999, 64, 64)",
        f"({5000 * '9'}, 64, 64)",
        "(1, 1000000, 1000000)",
        "(1.5, 8)",
        "('a', 8)",
        200 * "(",
    ],
)
def test_numpy_headers_that_cannot_be_are_refused(tmp_path, shape):
    with open_source(write_npy_header(tmp_path / "x.npy", shape)) as source:
        assert source.problems[0].status in ("unreadable", "truncated")
        assert len(str(source.problems[0])) < 900


def test_sparse_files_do_not_make_claims_true(tmp_path):
    path = write_npy_header(tmp_path / "x.npy", "(1, 300000, 300000)", "|u1")
    os.truncate(path, 300000**2 + 1000)
    assert "too many frames or pixels" in str(open_source(path).problems[0])


def test_what_is_said_of_all_frames_is_what_is_said_of_each(tmp_path):
    """Of files with one number, with one for each frame, and with none, in any order."""
    files = [tmp_path / f"{name}.h5" for name in "abc"]
    for file, energies in zip(files, (6000.0, [7000.0, 7010.0, 7020.0], None), strict=True):
        write_stack(file, 1, n=3)
        if energies is not None:
            with h5py.File(file, "r+") as made:
                made["photon_energy_ev"] = energies
    listed = tmp_path / "some.lst"
    listed.write_text("".join(f"{files[k % 3]} //{k // 3}\n" for k in (4, 0, 8, 1, 5, 7)))
    for source in (open_source(listed), open_source(files), *map(open_source, files)):
        each = [source.frame_metadata(index).photon_energy_ev for index in range(len(source))]
        np.testing.assert_array_equal(
            source.said_of_frames("photon_energy_ev"), np.array(each, float)
        )
    found = open_source(listed).said_of_frames("photon_energy_ev")
    np.testing.assert_array_equal(found, [7010, 6000, np.nan, 7000, np.nan, 7020])


def test_a_copy_of_a_source_shares_its_counts_and_not_its_buffers():
    frames = np.arange(2 * 20 * 20, dtype=np.uint16).reshape(2, 20, 20)
    source = open_source(frames)
    copied = copy.deepcopy(source)
    assert np.shares_memory(copied._frames, source._frames)
    np.testing.assert_array_equal(copied.read(1), frames[1])
