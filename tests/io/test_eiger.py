import shutil

import h5py
import hdf5plugin
import numpy as np
import pytest

from hdf5files import statuses
from hitfinder.errors import SourceError
from hitfinder.io.open import open_source

SHAPE = (20, 24)


def counts(n, dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).poisson(0.3, (n, *SHAPE)).astype(dtype)


def write_data(path, stack, **options):
    options = options or hdf5plugin.Bitshuffle(cname="lz4")
    with h5py.File(path, "w") as file:
        file.create_dataset("entry/data/data", data=stack, chunks=(1, *stack.shape[1:]), **options)


def write_master(path, names, *, announced=None, dtype_bits=16, mask=None, cutoff=None):
    """Write the parts of an Eiger master that tell about the frames."""
    with h5py.File(path, "w") as file:
        for number, name in enumerate(names, 1):
            link = h5py.ExternalLink(name, "/entry/data/data")
            file[f"entry/data/data_{number:06d}"] = link
        detector = file.create_group("entry/instrument/detector")
        specific = detector.create_group("detectorSpecific")
        detector["beam_center_x"], detector["beam_center_y"] = np.float32(11.25), np.float32(9.5)
        detector["detector_distance"] = np.float32(0.134255)
        detector["detector_distance"].attrs["units"] = np.bytes_("m")
        detector["x_pixel_size"] = np.float32(7.5e-5)
        detector["x_pixel_size"].attrs["units"] = np.bytes_("m")
        detector["bit_depth_image"] = np.int32(dtype_bits)
        detector["description"] = np.bytes_("Dectris Eiger toy")
        file["entry/instrument/beam/incident_wavelength"] = np.float32(0.9801122)
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = np.bytes_("angstrom")
        if announced is not None:
            specific["nimages"], specific["ntrigger"] = np.uint32(announced), np.uint32(1)
        if mask is not None:
            specific["pixel_mask"] = mask
        if cutoff is not None:
            specific["countrate_correction_count_cutoff"] = np.uint32(cutoff)


@pytest.fixture
def series(tmp_path):
    """A master with data files of 3, 3 and 1 frames."""
    stack = counts(7)
    for number, part in enumerate(np.split(stack, [3, 6]), 1):
        write_data(tmp_path / f"x_data_00000{number}.h5", part)
    names = [f"x_data_00000{number}.h5" for number in (1, 2, 3)]
    write_master(tmp_path / "x_master.h5", names, announced=7)
    return tmp_path / "x_master.h5", stack


def status_of(source, index):
    with pytest.raises(SourceError) as caught:
        source.read(index)
    return caught.value.status


def test_frames_of_linked_files_come_in_order_by_number(series):
    path, stack = series
    source = open_source(path)
    assert (len(source), source.shape, source.dtype) == (7, SHAPE, np.uint16)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.ref(5).file == str(path)
    assert source.ref(5).event == "//5"
    assert source.index_of("//5") == 5
    with pytest.raises(IndexError):
        source.read(7)
    with pytest.raises(SourceError, match="it has 7"):
        source.index_of("//7")


def test_more_than_nine_files_follow_their_numbers_not_their_letters(tmp_path):
    for number in range(1, 13):
        write_data(tmp_path / f"d{number}.h5", np.full((1, *SHAPE), number, np.uint16))
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        for number in range(1, 13):
            link = h5py.ExternalLink(f"d{number}.h5", "/entry/data/data")
            file[f"entry/data/data_{number}"] = link
    assert [frame[0, 0] for frame in open_source(tmp_path / "x_master.h5")] == list(range(1, 13))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int32, np.float32, ">u2"])
@pytest.mark.parametrize(
    "options",
    [
        hdf5plugin.Bitshuffle(cname="lz4"),
        hdf5plugin.Bitshuffle(cname="zstd"),
        hdf5plugin.Bitshuffle(cname="none"),
        hdf5plugin.LZ4(),
        {"compression": "gzip", "shuffle": True},
        {"compression": None},
    ],
    ids=["bslz4", "bszstd", "bs", "lz4", "gzip", "plain"],
)
def test_every_packing_and_type_is_read_as_h5py_reads_it(tmp_path, dtype, options):
    stack = (counts(2) * 97).astype(dtype)
    write_data(tmp_path / "d.h5", stack, **options)
    write_master(tmp_path / "x_master.h5", ["d.h5"])
    source = open_source(tmp_path / "x_master.h5")
    out = np.empty(source.shape, source.dtype)
    assert source.dtype.isnative
    for index in (1, 0):
        assert source.read(index, out) is out
        np.testing.assert_array_equal(out, stack[index])


def test_chunks_of_many_frames_or_of_parts_of_one_are_read(tmp_path):
    stack = counts(6)
    for name, chunks in (("many", (4, *SHAPE)), ("parts", (1, 7, 24))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            packing = hdf5plugin.Bitshuffle(cname="lz4")
            file.create_dataset("entry/data/data", data=stack, chunks=chunks, **packing)
        np.testing.assert_array_equal(
            np.stack(list(open_source(tmp_path / f"{name}.h5"))), stack, err_msg=name
        )


def test_a_chunk_stored_unpacked_is_read(tmp_path):
    # HDF5 leaves out a filter that does not help, and notes that in the chunk's filter mask.
    frame = counts(1)[0]
    write_data(tmp_path / "d.h5", frame[None])
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file["entry/data/data"].id.write_direct_chunk((0, 0, 0), (frame + 1).tobytes(), 1)
    np.testing.assert_array_equal(open_source(tmp_path / "d.h5")[0], frame + 1)


def test_a_missing_data_file_fails_its_own_frames_only(series):
    path, stack = series
    path.with_name("x_data_000002.h5").unlink()
    source = open_source(path)
    assert statuses(source) == ["ok"] * 3 + ["missing-source"] * 3 + ["ok"]
    np.testing.assert_array_equal(source[6], stack[6])
    assert source.n_readable == 4
    with pytest.raises(SourceError, match=r"x_data_000002\.h5 is missing"):
        source.read(4)
    linked = {file.path.rpartition("/")[2]: file for file in source.contents.linked_files}
    assert (linked["x_data_000002.h5"].status, linked["x_data_000002.h5"].frames) == (
        "missing-source",
        3,
    )


@pytest.mark.parametrize(
    ("gone", "announced", "expected"),
    [
        ((3,), 7, "ok ok ok ok ok ok missing-source"),
        ((1, 3), 7, "missing-source missing-source missing-source ok ok ok missing-source"),
        ((1, 2, 3), 7, " ".join(["missing-source"] * 7)),
        ((2,), None, "ok ok ok missing-source ok"),
    ],
)
def test_missing_files_stand_for_the_frames_they_should_hold(series, gone, announced, expected):
    path, _ = series
    write_master(path, [f"x_data_00000{n}.h5" for n in (1, 2, 3)], announced=announced)
    for number in gone:
        path.with_name(f"x_data_00000{number}.h5").unlink()
    assert statuses(open_source(path)) == expected.split()


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "no-dataset", "zero"])
def test_a_broken_data_file_is_named_and_the_rest_goes_on(series, kind):
    path, _ = series
    broken = path.with_name("x_data_000002.h5")
    if kind == "truncated":
        broken.write_bytes(broken.read_bytes()[:-100])
    elif kind == "text":
        broken.write_text("not HDF5")
    elif kind == "empty":
        broken.write_bytes(b"")
    elif kind == "no-dataset":
        h5py.File(broken, "w").close()
    else:
        write_data(broken, counts(3)[:0], maxshape=(None, *SHAPE))
    expected = {
        "truncated": "truncated",
        "text": "unreadable",
        "empty": "truncated",
        "no-dataset": "missing-source",
        "zero": "no-frames",
    }[kind]
    source = open_source(path)
    assert statuses(source) == ["ok"] * 3 + [expected] * 3 + ["ok"]
    assert any("x_data_000002.h5" in str(problem) for problem in source.problems)


def test_frames_of_another_shape_fail_alone(series):
    path, _ = series
    write_data(path.with_name("x_data_000002.h5"), counts(3)[:, :10])
    assert statuses(open_source(path)) == ["ok"] * 3 + ["wrong-shape"] * 3 + ["ok"]


def test_an_absent_filter_is_named_by_its_number(series):
    path, _ = series
    with h5py.File(path.with_name("x_data_000002.h5"), "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((1, *SHAPE))
        plist.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((3, *SHAPE))
        group = file.create_group("entry/data")
        dataset = h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT16, space, plist)
        for index in range(3):
            dataset.write_direct_chunk((index, 0, 0), b"packed by nobody knows what")
    source = open_source(path)
    assert statuses(source) == ["ok"] * 3 + ["missing-filter"] * 3 + ["ok"]
    with pytest.raises(SourceError, match="32999"):
        source.read(3)


def test_a_frame_never_written_is_not_read_as_zeros(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        packing = hdf5plugin.Bitshuffle(cname="lz4")
        dataset = file.create_dataset("entry/data/data", (3, *SHAPE), "u2", chunks=(1, *SHAPE))
        dataset[0] = 1
        other = file.create_dataset(
            "entry/data/packed", (3, *SHAPE), "u2", chunks=(1, *SHAPE), **packing
        )
        other[2] = 1
    assert statuses(open_source(tmp_path / "d.h5")) == ["ok"] + ["missing-source"] * 2
    packed = open_source(tmp_path / "d.h5", dataset="/entry/data/packed")
    assert statuses(packed) == ["missing-source"] * 2 + ["ok"]


def test_a_damaged_chunk_fails_its_own_frame_only(tmp_path):
    write_data(tmp_path / "d.h5", counts(3))
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        dataset = file["entry/data/data"].id
        _, chunk = dataset.read_direct_chunk((1, 0, 0))
        dataset.write_direct_chunk((1, 0, 0), chunk[: len(chunk) // 2])
    assert statuses(open_source(tmp_path / "d.h5")) == ["ok", "unreadable", "ok"]


def test_metadata_come_from_the_master(tmp_path):
    mask = np.zeros(SHAPE, np.uint32)
    mask[3, 4], mask[5, 6] = 1, 1 << 4
    write_data(tmp_path / "d.h5", counts(1, np.uint32))
    write_master(tmp_path / "x_master.h5", ["d.h5"], mask=mask, cutoff=12440, dtype_bits=16)
    said = open_source(tmp_path / "x_master.h5").metadata
    assert said.photon_energy_ev == pytest.approx(12398.41984 / 0.9801122, rel=1e-6)
    assert said.camera_length_m == pytest.approx(0.134255)
    assert said.beam_center == (11.25, 9.5)
    assert said.pixel_size_m == pytest.approx(75e-6)
    assert said.detector == "Dectris Eiger toy"
    assert said.mask is not None
    assert np.argwhere(said.mask).tolist() == [[3, 4], [5, 6]]
    assert said.saturation == 12440


def test_without_a_stated_limit_saturation_is_the_largest_count_of_the_image_depth(tmp_path):
    write_data(tmp_path / "d.h5", counts(1, np.uint32))
    write_master(tmp_path / "x_master.h5", ["d.h5"], dtype_bits=16)
    assert open_source(tmp_path / "x_master.h5").metadata.saturation == 65535
    write_master(tmp_path / "x_master.h5", ["d.h5"], dtype_bits=32)
    assert open_source(tmp_path / "x_master.h5").metadata.saturation == 2**32 - 1


def test_h5_location_leads_to_the_frame(series):
    path, stack = series
    source = open_source(path)
    for index in (0, 4, 6):
        file, dataset, at = source.h5_location(index)
        with h5py.File(file) as handle:
            np.testing.assert_array_equal(handle[dataset][at], stack[index])
    shutil.move(path.with_name("x_data_000003.h5"), path.with_name("elsewhere.h5"))
    assert open_source(path).h5_location(6) is None


def test_the_master_of_a_real_eiger_whose_data_are_missing(shared):
    source = open_source(shared / "real" / "dectris_eiger_master.h5")
    assert (len(source), source.shape, source.n_readable) == (1, (3269, 3110), 0)
    assert status_of(source, 0) == "missing-source"
    said = source.metadata
    assert said.photon_energy_ev == pytest.approx(12650, abs=1)
    assert said.camera_length_m == pytest.approx(0.134255)
    assert said.beam_center == pytest.approx((1607.415, 1586.4314), abs=1e-3)
    assert said.saturation == 12440
    # The mask of this sample was blanked before it was published.
    assert said.mask is not None
    assert not said.mask.any()
