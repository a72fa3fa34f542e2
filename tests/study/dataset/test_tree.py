import h5py
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.study.dataset import framefile
from hitfinder.study.dataset.framefile import Attributes
from hitfinder.study.dataset.framewriter import FrameFileWriter
from hitfinder.study.dataset.tree import open_tree


def test_a_table_of_all_frames(make_tree):
    tree = open_tree(make_tree())
    assert len(tree) == 36
    assert tree.shape == (32, 28)
    assert np.unique(tree.settings).tolist() == ["01", "02", "03", "04"]
    index = 20
    assert tree.settings[index] == "03"
    assert tree.frame_name(index) == "03/03_6keV_clen02_000001 //2"
    assert (tree.attributes.photon_energy[index], tree.attributes.clen[index]) == (6000, 0.25)
    with h5py.File(tree.root / "peaks/03/03_6keV_clen02_000001.h5") as file:
        assert np.array_equal(tree.read("peaks", index), file["entry/data/data"][2])


def test_reading_fills_the_given_array(make_tree):
    tree = open_tree(make_tree())
    out = np.empty((32, 28), np.uint16)
    assert tree.read("peaks_water_overlay", 5, out) is out
    assert np.array_equal(out, tree.read("peaks_water_overlay", 5))


def test_taking_frames_keeps_them_together_with_their_attributes(make_tree):
    tree = open_tree(make_tree())
    part = tree.take(tree.attributes.peak == 0)
    assert len(part) == 12
    assert not any(part.read("peaks", i).any() for i in range(len(part)))
    again = part.take(np.array([3]))
    assert again.frame_name(0) == part.frame_name(3)


def test_reports_own_file_names_and_attributes(tmp_path):
    """Single files with prefixes, attributes at the root, and one water file, as the lab has it."""
    for folder, prefix in (
        ("peaks", ""),
        ("labels", "label_"),
        ("peaks_water_overlay", "overlay_"),
    ):
        (tmp_path / folder / "02").mkdir(parents=True)
        for n in (1, 2):
            path = tmp_path / folder / "02" / f"{prefix}img_7keV_clen01_0000{n}.h5"
            with h5py.File(path, "w") as file:
                file["entry/data/data"] = np.full((6, 5), n, np.float32)
                file.attrs.update(clen=0.15, photon_energy=7000, peak=True)
    (tmp_path / "water/02").mkdir(parents=True)
    with h5py.File(tmp_path / "water/02/water_7keV_clen01.h5", "w") as file:
        file["entry/data/data"] = np.zeros((6, 5), np.float32)
    tree = open_tree(tmp_path)
    assert len(tree) == 2
    assert tree.attributes.peak.tolist() == [1, 1]
    assert tree.attributes.photon_energy.tolist() == [7000, 7000]
    assert tree.read("peaks_water_overlay", 1)[0, 0] == 2
    assert tree.read("water", 1).sum() == 0


def test_missing_folder_and_counterpart(make_tree):
    root = make_tree()
    (root / "labels/02/02_7keV_clen01_000002.h5").unlink()
    with pytest.raises(SourceError, match="no counterpart in labels/02"):
        open_tree(root)
    assert len(open_tree(root, ["peaks_water_overlay"])) == 36
    (root / "labels").rename(root / "hidden")
    with pytest.raises(SourceError, match="no folder 'labels'"):
        open_tree(root)


def test_a_missing_water_file_is_not_replaced_by_another(make_tree):
    root = make_tree(frames_per_file=5)
    (root / "water/01/01_6keV_clen01_000002.h5").unlink()
    with pytest.raises(SourceError, match="no counterpart in water/01"):
        open_tree(root)


def test_damaged_files_are_named(make_tree):
    root = make_tree()
    path = root / "peaks_water_overlay/01/01_6keV_clen01_000001.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=f"{path.name}.*cut short"):
        open_tree(root)
    path.write_bytes(b"no hdf5 at all")
    with pytest.raises(SourceError, match="not an HDF5 file"):
        open_tree(root)


def test_a_damaged_frame_leaves_the_others_readable(make_tree):
    root = make_tree()
    path = root / "peaks_water_overlay/01/01_6keV_clen01_000001.h5"
    with h5py.File(path) as file:
        info = file["entry/data/data"].id.get_chunk_info(1)
    with open(path, "r+b") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff" * info.size)
    tree = open_tree(root)
    with pytest.raises(SourceError, match=f"{path.name}.*//1.*damaged"):
        tree.read("peaks_water_overlay", 1)
    tree.read("peaks_water_overlay", 0)


def test_frames_of_other_shapes_are_refused(make_tree, tmp_path):
    root = make_tree()
    for folder in ("peaks", "labels", "peaks_water_overlay", "water"):
        path = next((root / folder / "04").glob("*_000003.h5"))
        path.unlink()
        with FrameFileWriter(path) as writer:
            writer.append(np.zeros((9, 9), np.uint16))
            writer.describe(Attributes(np.array([0.25]), np.array([7e3]), np.array([0], np.int8)))
    with pytest.raises(SourceError, match=r"shape \(9, 9\).*\(32, 28\)"):
        open_tree(root)


def test_attributes_for_another_number_of_frames(make_tree):
    root = make_tree()
    path = root / "peaks_water_overlay/01/01_6keV_clen01_000001.h5"
    with h5py.File(path, "r+") as file:
        del file["entry/data/clen"]
        file["entry/data/clen"] = [0.15, 0.15]
    with pytest.raises(SourceError, match="'clen' is given for 2 frames, the file has 4"):
        framefile.scan(path)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def write():
        with FrameFileWriter(tmp_path / "a.h5") as writer:
            writer.append(np.zeros((4, 4), np.uint16))
            writer.describe(Attributes(np.zeros(2), np.zeros(2), np.zeros(2, np.int8)))

    with pytest.raises(ValueError, match="1 frames with attributes for 2"):
        write()
    assert list(tmp_path.iterdir()) == []
