import h5py
import numpy as np
import pytest

from hdf5files import SHAPE, counts, write
from hitfinder.errors import SourceError
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.layout import FrameLayout, Slab
from hitfinder.io.open import open_source
from hitfinder.job.static import learn_static


def failure(source, index=0):
    with pytest.raises(SourceError) as caught:
        source.read(index)
    return caught.value


@pytest.mark.parametrize(
    "path",
    [
        "entry/data/data",
        "entry_1/data_1/data",
        "entry_1/instrument_1/detector_1/data",
        "data/data",
        "somewhere/else/images",
    ],
)
def test_frames_are_found_where_they_are(tmp_path, path):
    stack = counts(3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file[path] = stack
        file["pixel_mask"] = np.zeros((4, *SHAPE), np.uint16)
        file["spectrum"] = np.zeros((3, 5))
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.contents.dataset == f"/{path}"
    assert source.ref(2).event == "//2"
    assert source.h5_location(2) == (str(tmp_path / "x.h5"), f"/{path}", 2)


def test_all_entries_of_a_cxi_file_are_read_in_the_order_of_their_numbers(tmp_path):
    stack, path = counts(11), tmp_path / "x.cxi"
    with h5py.File(path, "w") as file:
        for number, frame in enumerate(stack, 1):
            file[f"entry_{number}/data_1/data"] = frame
        file["entry_2/image_1"] = h5py.SoftLink("/entry_2/data_1")
    source = open_source(path)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.ref(1).event == "entry_2//"
    assert source.index_of("/entry_3//") == 2
    with h5py.File(tmp_path / "linked.cxi", "w") as file:
        file["entry_1/data_1/data"] = stack
        file["entry_2"] = h5py.SoftLink("/entry_1")
    assert open_source(tmp_path / "linked.cxi").ref(10).event == "//10"


def test_each_entry_of_a_cxi_file_tells_of_its_own_frames(tmp_path):
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        for number, energy in enumerate((9500.0, 9500.0, 8000.0), 1):
            entry = file.create_group(f"entry_{number}")
            entry["data_1/data"] = counts(2)
            # CXI files have J.
            entry["instrument_1/source_1/energy"] = energy * 1.602176634e-19
            entry["instrument_1/detector_1/distance"] = [0.1, 0.2]
    source = open_source(tmp_path / "x.cxi")
    told = [source.frame_metadata(index) for index in range(6)]
    assert [said.photon_energy_ev for said in told] == pytest.approx([9500] * 4 + [8000] * 2)
    assert [said.camera_length_m for said in told] == [0.1, 0.2] * 3


def test_the_largest_dataset_is_taken_and_of_equals_none(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["run/thumbnails"] = np.zeros((3, 16, 16), np.uint16)
        file["run/images"] = counts(3)
    assert open_source(tmp_path / "x.h5").contents.dataset == "/run/images"
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["run/sums"] = counts(3)
    error = failure(open_source(tmp_path / "x.h5"))
    assert error.status == "unreadable"
    assert "/run/images (3, 20, 24), /run/sums (3, 20, 24)" in error.what
    chosen = open_source(tmp_path / "x.h5", dataset="/run/sums")
    np.testing.assert_array_equal(np.stack(list(chosen)), counts(3))


def test_a_soft_link_to_the_frames_is_no_second_candidate(tmp_path):
    with h5py.File(tmp_path / "x.cxi", "w") as file:
        file["run/images"] = counts(3)
        file["run/same"] = h5py.SoftLink("/run/images")
    assert len(open_source(tmp_path / "x.cxi")) == 3


def test_a_single_frame_file_of_the_report(tmp_path):
    frame = counts(dtype=np.int64)
    with h5py.File(tmp_path / "01_6keV_clen01_000001.h5", "w") as file:
        dataset = file.create_dataset("entry/data/data", data=frame)
        dataset.attrs["clen"], dataset.attrs["photon_energy"] = 0.15, 6000
        dataset.attrs["peak"] = True
    source = open_source(tmp_path / "01_6keV_clen01_000001.h5")
    assert (len(source), source.ref(0).event, source.dtype) == (1, "", np.int64)
    np.testing.assert_array_equal(source[0], frame)
    assert source.metadata.camera_length_m == 0.15
    assert source.metadata.photon_energy_ev == 6000
    assert source.h5_location(0)[2] == -1


def test_frames_with_their_own_energy_in_a_folder_of_single_frames(tmp_path):
    for number, energy in enumerate((6000, 7000, 8000)):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["entry/data/data"] = counts()
            file["entry"].attrs["photon_energy"] = energy
    source = open_source(tmp_path)
    energies = [source.frame_metadata(i).photon_energy_ev for i in range(3)]
    assert energies == [6000, 7000, 8000]


def test_an_energy_for_each_frame_of_a_stack(tmp_path):
    path = write(
        tmp_path / "x.h5",
        entry__data__data=counts(3),
        photon_energy_ev=np.array([6000.0, 7000.0, 9000.0]),
        camera_length_m=np.array([0.15, 0.15, 0.25]),
    )
    source = open_source(path)
    assert source.metadata.photon_energy_ev == 7000
    assert source.frame_metadata(2).photon_energy_ev == 9000
    assert source.frame_metadata(2).camera_length_m == 0.25


def test_values_missing_from_an_array_are_made_up_for_by_the_others(tmp_path):
    path = write(
        tmp_path / "x.h5",
        entry__data__data=counts(4),
        photon_energy_ev=np.array([6000.0, np.nan, 9000.0, 8000.0]),
        camera_length_m=np.array([0.1, 0.0, 0.2, -1.0]),
    )
    source = open_source(path)
    assert source.metadata.photon_energy_ev == 8000
    said = [source.frame_metadata(i) for i in range(4)]
    assert [frame.photon_energy_ev for frame in said] == [6000, 8000, 9000, 8000]
    assert [frame.camera_length_m for frame in said] == pytest.approx([0.1, 0.15, 0.2, 0.15])
    energy, length = source.metadata.notes
    assert "the photon energy at /photon_energy_ev is no positive number in 1 of 4" in energy
    assert "2 of 4" in length


def test_an_array_of_another_length_than_the_frames_is_told(tmp_path):
    energies = np.array([6000.0, 7000.0, 9000.0])
    path = write(tmp_path / "x.h5", entry__data__data=counts(4), photon_energy_ev=energies)
    source = open_source(path)
    assert source.frame_metadata(2).photon_energy_ev == source.metadata.photon_energy_ev == 7000
    assert ["3 values for 4 frames" in note for note in source.metadata.notes] == [True]


def test_an_attribute_that_cannot_be_is_passed_over(tmp_path):
    path = write(tmp_path / "x.h5", entry__data__data=counts(1))
    with h5py.File(path, "a") as file:
        file["entry/data"].attrs["photon_energy"] = np.nan
        file["entry"].attrs["photon_energy"] = 6000
    assert open_source(path).metadata.photon_energy_ev == 6000


@pytest.mark.parametrize(
    ("path", "value", "unit", "expected"),
    [
        ("entry_1/instrument_1/source_1/energy", 9.6130609e-16, None, 6000),
        ("entry_1/instrument_1/source_1/energy", 6000.0, "eV", 6000),
        ("entry/instrument/beam/incident_energy", 6.0, "keV", 6000),
        ("entry/instrument/beam/photon_energy", 6.0, None, 6000),
        ("LCLS/photon_energy_eV", 6000.0, None, 6000),
        ("entry/instrument/beam/incident_wavelength", 0.2066403, "nm", 6000),
    ],
)
def test_photon_energy_in_the_units_of_each_format(tmp_path, path, value, unit, expected):
    file_path = write(tmp_path / "x.cxi", entry__data__data=counts(1))
    with h5py.File(file_path, "a") as file:
        file[path] = value
        if unit is not None:
            file[path].attrs["units"] = unit
    energy = open_source(file_path).metadata.photon_energy_ev
    assert energy == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [(0.15, "m", 0.15), (150.0, "mm", 0.15), (150.0, None, 0.15), (0.15, None, 0.15)],
)
def test_camera_length_in_m_or_mm(tmp_path, value, unit, expected):
    path = write(tmp_path / "x.cxi", entry_1__data_1__data=counts(1))
    with h5py.File(path, "a") as file:
        file["entry_1/instrument_1/detector_1/distance"] = value
        if unit is not None:
            file["entry_1/instrument_1/detector_1/distance"].attrs["units"] = unit
    assert open_source(path).metadata.camera_length_m == pytest.approx(expected)


def test_a_beam_centre_given_as_a_length_is_turned_to_pixels(tmp_path):
    path = write(
        tmp_path / "x.h5",
        entry__data__data=counts(1),
        entry__instrument__detector__beam_center_x=0.9,
        entry__instrument__detector__beam_center_y=0.75,
        entry__instrument__detector__x_pixel_size=75e-6,
    )
    with h5py.File(path, "a") as file:
        for axis in "xy":
            file[f"entry/instrument/detector/beam_center_{axis}"].attrs["units"] = "mm"
        file["entry/instrument/detector/x_pixel_size"].attrs["units"] = "m"
    assert open_source(path).metadata.beam_center == pytest.approx((12.0, 10.0))


def test_a_cxi_mask_marks_any_set_bit(tmp_path):
    mask = np.zeros(SHAPE, np.uint16)
    mask[1, 2], mask[3, 4] = 1, 256
    path = write(
        tmp_path / "x.cxi",
        entry_1__data_1__data=counts(1),
        entry_1__instrument_1__detector_1__mask=mask,
    )
    said = open_source(path).metadata
    assert said.mask is not None
    assert np.argwhere(said.mask).tolist() == [[1, 2], [3, 4]]


def test_modules_stored_apart_make_one_frame_by_a_layout(tmp_path):
    stack = counts(3, 4)
    path = write(tmp_path / "x.cxi", entry_1__data_1__data=stack)
    slabs = tuple(
        Slab("/entry_1/data_1/data", ("%", m, "ss", "fs"), 20 * m, 20, 24) for m in range(4)
    )
    source = open_source(path, layout=FrameLayout(slabs))
    assert source.shape == (80, 24)
    np.testing.assert_array_equal(source[2], stack[2].reshape(80, 24))
    assert source.h5_location(0) is None
    error = failure(open_source(path))
    assert "modules or channels" in error.what


def test_transposed_narrower_and_single_modules_are_placed(tmp_path):
    a, b = counts(2), np.random.default_rng(2).poisson(1.0, (10, 2, 16)).astype(np.uint16)
    path = write(tmp_path / "x.h5", a=a, b=b)
    layout = FrameLayout(
        (
            Slab("/a", ("%", "fs", "ss"), 0, 24, 20),
            Slab("/b", ("fs", "%", "ss"), 24, 16, 10),
        )
    )
    frame = open_source(path, layout=layout)[1]
    np.testing.assert_array_equal(frame[:24], a[1].T)
    np.testing.assert_array_equal(frame[24:, :10], b[:, 1].T)
    assert not frame[24:, 10:].any()


def test_one_module_of_several_is_read_alone(tmp_path):
    stack = counts(3, 4)
    path = write(tmp_path / "x.h5", data=stack)
    layout = FrameLayout((Slab("/data", ("%", 2, "ss", "fs"), 0, 20, 24),))
    np.testing.assert_array_equal(open_source(path, layout=layout)[1], stack[1, 2])
    beyond = FrameLayout((Slab("/data", ("%", 4, "ss", "fs"), 0, 20, 24),))
    assert failure(open_source(path, layout=beyond)).status == "wrong-shape"


def test_a_plain_layout_takes_the_datasets_own_size(tmp_path):
    path = write(tmp_path / "x.h5", frames=counts(2))
    layout = FrameLayout((Slab("/frames", ("%", "ss", "fs"), 0, 18, 20),))
    assert open_source(path, layout=layout).shape == SHAPE


def test_groups_of_a_frame_each(tmp_path):
    stack = counts(2)
    path = write(tmp_path / "x.h5", ev1__frame=stack[0], ev2__frame=stack[1])
    layout = FrameLayout((Slab("/%/frame", ("ss", "fs"), 0, 20, 24),))
    source = open_source(path, layout=layout)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert source.ref(1).event == "ev2//"
    assert source.index_of("ev2//") == 1


def test_groups_within_groups(tmp_path):
    stack = counts(4)
    held = {
        f"run/{a}/shots/{b}/data": stack[2 * i + k]
        for i, a in enumerate(("1", "2"))
        for k, b in enumerate("xy")
    }
    held |= {"run/3/other/z/data": stack[0], "run/4/shots/w/nothing": stack[0]}
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for place, frame in held.items():
            file[place] = frame
    layout = FrameLayout((Slab("/run/%/shots/%/data", ("ss", "fs"), 0, 20, 24),))
    source = open_source(path, layout=layout)
    np.testing.assert_array_equal(np.stack(list(source)), stack)
    assert [source.ref(i).event for i in range(4)] == ["1/x//", "1/y//", "2/x//", "2/y//"]
    assert source.ref(2).group == "2/x"


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda path: path.write_text("a,b\n"), "unreadable", "not an HDF5 file"),
        (lambda path: path.write_bytes(b""), "truncated", "empty"),
        (lambda path: None, "missing-file", "no such file"),
        (lambda path: write(path, entry__x=1), "no-frames", "no dataset looks like"),
        (lambda path: write(path, entry__data__data=["a", "b"]), "unreadable", "not counts"),
        (lambda path: write(path, entry__data__data=counts(2) > 0), "unreadable", "bool"),
        (lambda path: write(path, entry__data__data=counts(2)[:0]), "no-frames", "empty"),
        (
            lambda path: write(path, entry__data=h5py.SoftLink("/nowhere")),
            "missing-source",
            "/nowhere",
        ),
        (
            lambda path: write(path, entry__data__data=h5py.ExternalLink("gone.h5", "/x")),
            "missing-source",
            "gone.h5 is missing",
        ),
        (lambda path: path.mkdir(), "no-frames", "no files"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, make, status, words):
    path = tmp_path / "x.h5"
    make(path)
    source = open_source(path)
    assert len(source) == 1
    assert source.n_readable == 0
    error = failure(source)
    assert error.status == status
    assert words in str(error)
    assert str(path) in str(error)
    assert "\n" not in str(error)


def test_a_file_cut_short_is_named(tmp_path):
    path = write(tmp_path / "x.h5", entry__data__data=counts(50))
    path.write_bytes(path.read_bytes()[:-1000])
    assert failure(open_source(path)).status == "truncated"


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path / "x.h5", entry__data__data=counts(2))
    error = failure(open_source(path, dataset="/entry/nothing/here"))
    assert error.status == "no-frames"
    assert error.where.endswith("x.h5/entry/nothing/here")
    assert error.what == "there is no such dataset, nor anything at /entry/nothing"
    assert failure(open_source(path, dataset="/entry")).what == "is a group, not a dataset"


def test_frames_of_another_program_are_read_where_they_are(pattern_sim):
    source = open_source(pattern_sim)
    assert (len(source), source.shape, source.dtype) == (9, (2163, 2069), np.uint16)
    assert source.frame_metadata(0).photon_energy_ev == 6000
    assert source.frame_metadata(8).camera_length_m == 0.35
    with h5py.File(pattern_sim) as file:
        np.testing.assert_array_equal(source[4], file["entry/data/data"][4])


def test_of_two_equal_pictures_the_user_must_choose(tmp_path):
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        for name in ("polarised", "unpolarised"):
            file[name] = np.ones((64, 60), np.float32)
        file["hkl"], file["F"] = np.ones((500, 3), np.int16), np.ones(500, np.float32)
    assert "polarised" in str(failure(open_source(path)))
    chosen = open_source(path, dataset="polarised")
    assert (chosen.shape, chosen.dtype) == ((64, 60), np.float32)


def test_a_mask_for_each_frame(tmp_path):
    masks = np.zeros((3, *SHAPE), np.uint8)
    masks[0, 1, 2] = masks[2, 3, 4] = 1
    source = open_source(write(tmp_path / "x.h5", entry__data__data=counts(3), mask=masks))
    for index in range(3):
        np.testing.assert_array_equal(source.mask_of(index), masks[index] != 0)
    assert len({source.mask_key(index) for index in range(3)}) == 3
    assert not source.remarks


def test_a_mask_for_each_frame_of_modules_kept_apart(tmp_path):
    masks = np.zeros((3, 2, 10, 24), bool)
    masks[1, 1, 2, 3] = True
    source = open_source(write(tmp_path / "x.h5", entry__data__data=counts(3), mask=masks))
    assert np.argwhere(source.mask_of(1)).tolist() == [[12, 3]]
    assert not source.mask_of(0).any()


def test_a_mask_that_holds_for_all_frames_has_one_key(tmp_path):
    for number, shape in enumerate([SHAPE, (1, *SHAPE), (1, 1, *SHAPE), (2, 10, 24)]):
        file = write(tmp_path / f"{number}.h5", data__data=counts(3), mask=np.ones(shape, int))
        source = open_source(file)
        assert len({source.mask_key(index) for index in range(3)}) == 1
        assert source.mask_of(2).all()
        assert not source.remarks


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((10, 12), np.uint8), "its shape (10, 12) is not that of the frames, 20 x 24"),
        (np.zeros(SHAPE, np.float32), "its values are not integers"),
        (np.zeros((7, *SHAPE), np.uint8), "the first is used for all frames"),
    ],
)
def test_a_mask_that_does_not_fit_is_remarked_upon(tmp_path, mask, said):
    file = write(tmp_path / "x.h5", entry__data__data=counts(3), mask=mask)
    (remark,) = open_source([file, file]).remarks
    assert said in remark
    assert f"{file}:/mask" in remark
    assert (open_source(file).metadata.mask is not None) == (mask.ndim == 3)


def test_a_damaged_index_of_chunks_costs_its_frames_alone(tmp_path):
    """One bit of a node of the index: HDF5 does not even say whether the chunk was written."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/data", data=counts(200), chunks=(1, *SHAPE))
    content = bytearray(path.read_bytes())
    leaves = [at for at in range(len(content)) if content[at : at + 6] == b"TREE\x01\x00"]
    assert len(leaves) > 2
    content[leaves[-1]] ^= 1
    path.write_bytes(content)
    source = open_source(path)
    found = []
    for index in range(200):
        try:
            source.read(index)
            found.append("ok")
        except SourceError as error:
            found.append(error.status)
    assert set(found) == {"ok", "unreadable"}
    assert 0 < found.count("unreadable") < 100
    panel = Panel("p", 0, 0, SHAPE[1], SHAPE[0], -10.0, -10.0)
    geometry = Geometry(Detector("d", SHAPE, (panel,)), 0.1, 6000.0)
    assert not learn_static(source, geometry, 50).mask.any()
