import h5py
import hdf5plugin
import numpy as np
import pytest

from hdf5files import statuses
from hitfinder.io.open import open_source

SHAPE = (20, 24)


def counts(*lengths, seed=0):
    return np.random.default_rng(seed).poisson(0.5, (*lengths, *SHAPE)).astype(np.uint16)


def write(path, stack, name="data", chunks=None):
    chunks = chunks or (1,) * (stack.ndim - 2) + stack.shape[-2:]
    with h5py.File(path, "a") as file:
        packing = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset(name, data=stack, chunks=chunks, **packing)


def join(path, shape, pieces, name="entry/data/data"):
    """Write a virtual dataset from (target slice, source, source slice) triples."""
    layout = h5py.VirtualLayout(shape, np.uint16)
    for target, source, taken in pieces:
        layout[target] = source if taken is None else source[taken]
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(name, layout, fillvalue=0)


@pytest.fixture
def joined(tmp_path):
    """Frames 0-2 from a.h5, 3-4 from the end of b.h5."""
    stack = counts(5)
    write(tmp_path / "a.h5", stack[:3])
    write(tmp_path / "b.h5", np.concatenate([counts(2, seed=9), stack[3:]]))
    a = h5py.VirtualSource("a.h5", "data", (3, *SHAPE))
    b = h5py.VirtualSource("b.h5", "data", (4, *SHAPE))
    pieces = [(np.s_[:3], a, None), (np.s_[3:], b, np.s_[2:])]
    join(tmp_path / "v.h5", (5, *SHAPE), pieces)
    return tmp_path / "v.h5", stack


def test_frames_are_those_h5py_reads_and_their_place_is_the_source(joined, tmp_path):
    path, stack = joined
    source = open_source(path)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.h5_location(1) == (str(tmp_path / "a.h5"), "/data", 1)
    assert source.h5_location(4) == (str(tmp_path / "b.h5"), "/data", 3)
    assert source.contents.compression == "bitshuffle-lz4"
    assert [(file.path, file.frames) for file in source.contents.linked_files] == [
        (str(tmp_path / "a.h5"), 3),
        (str(tmp_path / "b.h5"), 2),
    ]


def test_a_missing_source_is_an_error_where_hdf5_gives_fill_values(joined):
    path, _ = joined
    path.with_name("a.h5").unlink()
    with h5py.File(path) as file:
        assert not file["entry/data/data"][0].any()
    assert statuses(open_source(path)) == ["missing-source"] * 3 + ["ok"] * 2


def test_a_source_that_is_too_short_is_an_error(joined):
    path, stack = joined
    path.with_name("b.h5").unlink()
    write(path.with_name("b.h5"), np.concatenate([counts(2, seed=9), stack[3:4]]))
    with h5py.File(path) as file:
        assert not file["entry/data/data"][4].any()
    source = open_source(path)
    assert statuses(source) == ["ok"] * 4 + ["missing-source"]
    np.testing.assert_array_equal(source[3], stack[3])


def test_a_truncated_source_is_named_as_such(joined):
    path, _ = joined
    file = path.with_name("a.h5")
    file.write_bytes(file.read_bytes()[:-64])
    assert statuses(open_source(path)) == ["truncated"] * 3 + ["ok"] * 2


def test_frames_without_a_source_are_errors(tmp_path):
    write(tmp_path / "a.h5", counts(2))
    a = h5py.VirtualSource("a.h5", "data", (2, *SHAPE))
    join(tmp_path / "v.h5", (4, *SHAPE), [(np.s_[1:3], a, None)])
    expected = ["missing-source", "ok", "ok", "missing-source"]
    assert statuses(open_source(tmp_path / "v.h5")) == expected


def test_every_other_frame_from_one_file(tmp_path):
    stack = counts(6)
    for name, part in (("even.h5", stack[::2]), ("odd.h5", stack[1::2])):
        write(tmp_path / name, part)
    even = h5py.VirtualSource("even.h5", "data", (3, *SHAPE))
    odd = h5py.VirtualSource("odd.h5", "data", (3, *SHAPE))
    join(tmp_path / "v.h5", (6, *SHAPE), [(np.s_[::2], even, None), (np.s_[1::2], odd, None)])
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.h5_location(3) == (str(tmp_path / "odd.h5"), "/data", 1)


def test_scattered_frames_of_one_mapping(tmp_path):
    stack = counts(9)
    write(tmp_path / "a.h5", stack)
    taken, filled = [0, 1, 4, 7, 8], [1, 2, 3, 5, 6]
    source_space = h5py.h5s.create_simple((9, *SHAPE))
    target_space = h5py.h5s.create_simple((7, *SHAPE))
    for space, indices in ((source_space, taken), (target_space, filled)):
        space.select_none()
        for index in reversed(indices):
            space.select_hyperslab((index, 0, 0), (1, *SHAPE), op=h5py.h5s.SELECT_OR)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_virtual(target_space, b"a.h5", b"data", source_space)
    target = h5py.h5s.create_simple((7, *SHAPE))
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        group = file.create_group("entry/data")
        h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT16, target, plist)
    source = open_source(tmp_path / "v.h5")
    gap = "missing-source"
    assert statuses(source) == [gap, "ok", "ok", "ok", gap, "ok", "ok"]
    for frame, index in zip(filled, taken, strict=True):
        np.testing.assert_array_equal(source[frame], stack[index])
        assert source.h5_location(frame) == (str(tmp_path / "a.h5"), "/data", index)


def test_a_file_for_each_frame(tmp_path):
    stack = counts(3)
    pieces = []
    for index, frame in enumerate(stack):
        with h5py.File(tmp_path / f"f{index}.h5", "w") as file:
            file["data"] = frame
        pieces.append((index, h5py.VirtualSource(f"f{index}.h5", "data", SHAPE), None))
    join(tmp_path / "v.h5", (3, *SHAPE), pieces)
    (tmp_path / "f1.h5").unlink()
    source = open_source(tmp_path / "v.h5")
    assert statuses(source) == ["ok", "missing-source", "ok"]
    np.testing.assert_array_equal(source[2], stack[2])
    assert source.h5_location(2) == (str(tmp_path / "f2.h5"), "/data", -1)


def test_a_virtual_dataset_of_a_single_frame_in_two_dimensions(tmp_path):
    stack = counts(3)
    write(tmp_path / "a.h5", stack)
    a = h5py.VirtualSource("a.h5", "data", (3, *SHAPE))
    join(tmp_path / "v.h5", SHAPE, [(np.s_[:], a, np.s_[1])])
    source = open_source(tmp_path / "v.h5")
    assert len(source) == 1
    np.testing.assert_array_equal(source[0], stack[1])


@pytest.mark.parametrize("n_channels", [1, 3])
def test_of_several_channels_the_first_is_read(tmp_path, n_channels):
    stack = counts(5, n_channels)
    write(tmp_path / "a.h5", stack[:3])
    write(tmp_path / "b.h5", stack[3:])
    a = h5py.VirtualSource("a.h5", "data", (3, n_channels, *SHAPE))
    b = h5py.VirtualSource("b.h5", "data", (2, n_channels, *SHAPE))
    pieces = [(np.s_[:3], a, None), (np.s_[3:], b, None)]
    join(tmp_path / "v_master.h5", (5, n_channels, *SHAPE), pieces)
    with h5py.File(tmp_path / "v_master.h5", "a") as file:
        file["entry/definition"] = "NXmx"
        mask = np.zeros(SHAPE, np.uint32)
        mask[2, 2] = 2
        file["entry/instrument/detector/threshold_1_channel/pixel_mask"] = mask
    source = open_source(tmp_path / "v_master.h5")
    np.testing.assert_array_equal(np.stack(list(source)), stack[:, 0])
    assert source.metadata.mask is not None
    assert np.argwhere(source.metadata.mask).tolist() == [[2, 2]]
    assert source.h5_location(0) is None
    (tmp_path / "b.h5").unlink()
    assert statuses(open_source(tmp_path / "v_master.h5")) == ["ok"] * 3 + ["missing-source"] * 2


def test_channels_from_files_of_their_own(tmp_path):
    low, high = counts(4), counts(4, seed=1)
    write(tmp_path / "low.h5", low)
    write(tmp_path / "high.h5", high)
    pieces = [
        (np.s_[:, 0], h5py.VirtualSource("low.h5", "data", (4, *SHAPE)), None),
        (np.s_[:, 1], h5py.VirtualSource("high.h5", "data", (4, *SHAPE)), None),
    ]
    join(tmp_path / "v.h5", (4, 2, *SHAPE), pieces)
    with h5py.File(tmp_path / "v.h5", "a") as file:
        file["entry/definition"] = "NXmx"
    (tmp_path / "high.h5").unlink()
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(np.stack(list(source)), low)
    assert source.h5_location(3) == (str(tmp_path / "low.h5"), "/data", 3)


def test_frames_joined_from_modules_are_read_through_hdf5_once_checked(tmp_path):
    stack = counts(4)
    write(tmp_path / "top.h5", stack[:, :10])
    write(tmp_path / "bottom.h5", stack[:3, 10:])
    top = h5py.VirtualSource("top.h5", "data", (4, 10, 24))
    bottom = h5py.VirtualSource("bottom.h5", "data", (3, 10, 24))
    pieces = [(np.s_[:, :10], top, None), (np.s_[:3, 10:], bottom, None)]
    join(tmp_path / "v.h5", (4, *SHAPE), pieces)
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(source[2], stack[2])
    assert source.h5_location(0) == (str(tmp_path / "v.h5"), "/entry/data/data", 0)
    source.close()
    (tmp_path / "bottom.h5").unlink()
    assert statuses(open_source(tmp_path / "v.h5")) == ["missing-source"] * 3 + ["ok"]


@pytest.mark.parametrize(("fill", "told"), [(0, True), (65535, False)])
def test_pixels_that_no_source_holds_are_told_and_left_out(tmp_path, fill, told):
    """Gaps between modules in every frame, and a module that is missing in one."""
    left, right = counts(3, seed=1), counts(3, seed=2)
    write(tmp_path / "l.h5", left)
    write(tmp_path / "r.h5", right)
    rows, columns = SHAPE
    layout = h5py.VirtualLayout((3, rows, 2 * columns + 4), np.uint16)
    layout[:, :, :columns] = h5py.VirtualSource("l.h5", "data", (3, *SHAPE))
    layout[:2, :, columns + 4 :] = h5py.VirtualSource("r.h5", "data", (3, *SHAPE))[:2]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout, fillvalue=fill)
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(source[1][:, columns + 4 :], right[1])
    assert statuses(source) == ["ok"] * 3
    assert len(source.remarks) == told
    if told:
        assert f"{4 * rows} pixels of a frame are in no source" in source.remarks[0]
        assert "1 of 3 frames lack modules that others have" in source.remarks[0]
        assert (source[2][:, columns:] == 65535).all()
        assert (source[1] == 65535).sum() == 4 * rows
        assert source.h5_location(0) is None


def test_virtual_datasets_of_virtual_datasets_are_followed_to_the_end(joined, tmp_path):
    path, stack = joined
    inner = h5py.VirtualSource("v.h5", "entry/data/data", (5, *SHAPE))
    join(tmp_path / "w.h5", (2, *SHAPE), [(np.s_[:], inner, np.s_[2:4])])
    source = open_source(tmp_path / "w.h5")
    np.testing.assert_array_equal(np.stack(list(source)), stack[2:4])
    assert source.h5_location(1) == (str(tmp_path / "b.h5"), "/data", 2)
    path.with_name("a.h5").unlink()
    assert statuses(open_source(tmp_path / "w.h5")) == ["missing-source", "ok"]


def test_sources_in_the_same_file_and_in_other_folders(tmp_path, monkeypatch):
    stack = counts(4)
    (tmp_path / "sub").mkdir()
    write(tmp_path / "v.h5", stack[:2], name="raw")
    write(tmp_path / "sub" / "a.h5", stack[2:])
    pieces = [
        (np.s_[:2], h5py.VirtualSource(".", "raw", (2, *SHAPE)), None),
        (np.s_[2:], h5py.VirtualSource("sub/a.h5", "data", (2, *SHAPE)), None),
    ]
    join(tmp_path / "v.h5", (4, *SHAPE), pieces)
    monkeypatch.chdir(tmp_path.parent)
    np.testing.assert_array_equal(np.stack(list(open_source(tmp_path / "v.h5"))), stack)


def test_numbered_sources_of_an_unlimited_mapping(tmp_path):
    stack = counts(6)
    for number, part in enumerate(np.split(stack, 3)):
        write(tmp_path / f"part_{number}.h5", part)
    unlimited = h5py.h5s.UNLIMITED
    target = h5py.h5s.create_simple((6, *SHAPE), (unlimited, *SHAPE))
    target.select_hyperslab((0, 0, 0), (unlimited, 1, 1), (2, 1, 1), (2, *SHAPE))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_virtual(target, b"part_%b.h5", b"data", h5py.h5s.create_simple((2, *SHAPE)))
    with h5py.File(tmp_path / "v.h5", "w", libver="latest") as file:
        group = file.create_group("entry/data")
        h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT16, target, plist)
    source = open_source(tmp_path / "v.h5")
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.h5_location(3) == (str(tmp_path / "part_1.h5"), "/data", 1)


def test_a_mapping_for_each_frame_opens_its_file_as_one(tmp_path):
    write(tmp_path / "a.h5", counts(50)[:, :16, :16])
    layout = h5py.VirtualLayout((2000, 16, 16), np.uint16)
    source = h5py.VirtualSource("a.h5", "data", (50, 16, 16))
    for index in range(2000):
        layout[index] = source[(7 * index) % 50]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    opened = open_source(tmp_path / "v.h5")
    assert len(opened.contents.linked_files) == 1
    assert opened.h5_location(1234) == (str(tmp_path / "a.h5"), "/data", (7 * 1234) % 50)
