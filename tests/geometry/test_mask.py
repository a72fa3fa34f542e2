import fabio.edfimage
import fabio.tifimage
import h5py
import hdf5plugin
import numpy as np
import pytest

from hitfinder.errors import GeometryError
from hitfinder.geometry.crystfel import geom_lines, write_geom
from hitfinder.geometry.geometry import Geometry
from hitfinder.geometry.mask import read_mask
from hitfinder.geometry.named import named_detector

SHAPE = (5, 8)
MASK = np.zeros(SHAPE, bool)
MASK[1, 2:6] = MASK[4, 7] = True


@pytest.fixture(params=["npy", "h5", "cxi", "tif", "edf"])
def mask_file(request, tmp_path):
    path = tmp_path / f"mask.{request.param}"
    values = MASK.astype(np.int32) * 3
    if request.param == "npy":
        np.save(path, values)
    elif request.param in ("h5", "cxi"):
        with h5py.File(path, "w") as h5file:
            h5file.create_dataset("/entry/some/mask", data=values, **hdf5plugin.Bitshuffle())
    elif request.param == "tif":
        fabio.tifimage.TifImage(values).write(str(path))
    else:
        fabio.edfimage.EdfImage(values).write(str(path))
    return path


def test_values_other_than_zero_are_bad(mask_file):
    mask = read_mask(mask_file, SHAPE)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


def test_ones_may_be_good(mask_file):
    np.testing.assert_array_equal(read_mask(mask_file, SHAPE, ones_are_good=True), ~MASK)


def test_a_mask_of_good_pixels_is_named_so(mask_file, caplog):
    np.testing.assert_array_equal(read_mask(f"good:{mask_file}", SHAPE), ~MASK)
    assert not caplog.records
    read_mask(mask_file, SHAPE)
    assert not caplog.records


def test_a_mask_that_leaves_little_is_asked_about(tmp_path, caplog):
    np.save(tmp_path / "m.npy", ~MASK)
    read_mask(tmp_path / "m.npy", SHAPE)
    assert "masks 87.5 % of the pixels; if other values than 0 stand for good" in caplog.text
    assert f"give it as good:{tmp_path}/m.npy" in caplog.text


def test_wrong_shape_names_both(mask_file):
    with pytest.raises(GeometryError, match=r"mask shape \(5, 8\) is not the frame shape \(6, 8\)"):
        read_mask(mask_file, (6, 8))


def test_nxmx_bits(tmp_path):
    bits = np.zeros(SHAPE, np.uint32)
    bits[MASK] = [1, 2, 1 << 8, 1 << 31, 16]
    with h5py.File(tmp_path / "x_master.h5", "w") as h5file:
        h5file["/entry/instrument/detector/detectorSpecific/pixel_mask"] = bits[None]
        h5file["/entry/instrument/detector/detectorSpecific/flatfield"] = np.ones(SHAPE, "f4")
    np.testing.assert_array_equal(read_mask(tmp_path / "x_master.h5", SHAPE), MASK)


def test_dataset_may_be_named(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as h5file:
        h5file["/a/mask"], h5file["/b/mask"] = MASK, ~MASK
    np.testing.assert_array_equal(read_mask(f"{path}//a/mask", SHAPE), MASK)
    np.testing.assert_array_equal(read_mask(path, SHAPE, "/b/mask"), ~MASK)
    with pytest.raises(GeometryError, match=r"several datasets .*/a/mask, /b/mask"):
        read_mask(path, SHAPE)
    with pytest.raises(GeometryError, match="no dataset '/c'"):
        read_mask(path, SHAPE, "/c")


def test_only_dataset_of_the_right_shape(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as h5file:
        h5file["/data/data"], h5file["/other"] = MASK, np.zeros((2, 2))
    np.testing.assert_array_equal(read_mask(path, SHAPE), MASK)


def test_file_without_a_mask(tmp_path):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as h5file:
        h5file["/other"] = np.zeros((2, 2))
    with pytest.raises(GeometryError, match=r"holds no mask of shape \(5, 8\)"):
        read_mask(path, SHAPE)


def test_geometry_file_gives_its_bad_regions(tmp_path):
    detector = named_detector("eiger-x-1m")
    path = tmp_path / "d.geom"
    write_geom(path, geom_lines(Geometry(detector, 0.1, 9000), data_path="/d"))
    np.testing.assert_array_equal(read_mask(path, detector.shape), detector.mask)


def test_geometry_file_of_a_larger_detector(tmp_path):
    path = tmp_path / "d.geom"
    write_geom(path, geom_lines(Geometry(named_detector("eiger-x-1m"), 0.1, 9000), data_path="/d"))
    with pytest.raises(GeometryError, match="1065 x 1030"):
        read_mask(path, SHAPE)


def test_not_a_number_is_bad_either_way(tmp_path):
    values = np.ones(SHAPE)
    values[0, 0], values[0, 1] = np.nan, 0
    np.save(tmp_path / "m.npy", values)
    assert read_mask(tmp_path / "m.npy", SHAPE, ones_are_good=True)[0, :3].tolist() == [1, 1, 0]


def test_mask_that_leaves_nothing(tmp_path):
    np.save(tmp_path / "m.npy", np.ones(SHAPE))
    with pytest.raises(GeometryError, match="leaves no pixel"):
        read_mask(tmp_path / "m.npy", SHAPE)
    assert not read_mask(tmp_path / "m.npy", SHAPE, ones_are_good=True).any()


@pytest.mark.parametrize("name", ["none.npy", "none.h5"])
def test_missing_file(tmp_path, name):
    with pytest.raises(GeometryError, match="no such mask file"):
        read_mask(tmp_path / name, SHAPE)


@pytest.mark.parametrize("name", ["m.npy", "m.h5", "m.tif", "m.msk", "m.xyz", "m.geom"])
def test_rubbish(tmp_path, name):
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(GeometryError, match=name):
        read_mask(tmp_path / name, SHAPE)


def test_text_is_no_mask(tmp_path):
    np.save(tmp_path / "m.npy", np.array([["a", "b"]]))
    with pytest.raises(GeometryError, match="no mask"):
        read_mask(tmp_path / "m.npy", (1, 2))


def test_real_eiger_master(shared):
    """Its masks of single modules are passed over; that of the frame masks nothing."""
    mask = read_mask(shared / "real" / "dectris_eiger_master.h5", (3269, 3110))
    assert not mask.any()


def test_masks_made_of_themselves_or_too_large_are_not_read(tmp_path):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        layout = h5py.VirtualLayout((5, 6), "u1")
        layout[:] = h5py.VirtualSource(".", "/mask", (5, 6), "u1")
        file.create_virtual_dataset("mask", layout)
        file.create_dataset("big_mask", (10**6, 10**6), "u1", chunks=(1000, 1000))
    with pytest.raises(GeometryError, match="is made of itself"):
        read_mask(tmp_path / "m.h5", (5, 6), "/mask")
    with pytest.raises(GeometryError, match="is not the frame shape"):
        read_mask(tmp_path / "m.h5", (5, 6), "/big_mask")
