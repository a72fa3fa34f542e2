import h5py
import numpy as np
import pytest

from hdf5files import SHAPE, counts, write
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.open import open_source


def test_a_cxi_mask_does_not_hide_the_peaks_that_it_marks(tmp_path):
    mask = np.zeros(SHAPE, np.uint16)
    mask[1, 1], mask[2, 2], mask[3, 3], mask[4, 4] = 8192, 2048, 4, 8192 | 128
    mask[5, 5] = 256  # beyond the resolution in which peaks are wanted
    path = write(
        tmp_path / "x.cxi",
        entry_1__instrument_1__detector_1__data=counts(2),
        entry_1__instrument_1__detector_1__mask=np.stack([mask, mask]),
    )
    masked = open_source(path).metadata.mask
    assert np.argwhere(masked).tolist() == [[3, 3], [4, 4], [5, 5]]


def test_the_bits_of_other_masks_all_count(tmp_path):
    mask = np.zeros(SHAPE, np.uint32)
    mask[1, 1] = 8192
    path = write(
        tmp_path / "x.h5", entry__data__data=counts(2), entry__instrument__detector__pixel_mask=mask
    )
    assert np.argwhere(open_source(path).metadata.mask).tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("data", "mask"),
    [
        ("entry_1/image_1/data", "entry_1/image_1/mask"),
        ("somewhere/images", "somewhere/pixel_mask"),
    ],
)
def test_a_mask_beside_the_frames_counts_first(tmp_path, data, mask):
    bad = np.zeros(SHAPE, np.uint8)
    bad[3, 4] = 1
    path = tmp_path / "x.cxi"
    with h5py.File(path, "w") as file:
        file[data], file[mask] = counts(2), bad
        file["entry_1/instrument_1/detector_1/mask"] = np.zeros(SHAPE, np.uint8)
    np.testing.assert_array_equal(open_source(path).metadata.mask, bad)


def test_each_entry_of_a_cxi_file_has_its_own_mask(tmp_path):
    path, masks = tmp_path / "x.cxi", np.zeros((4, *SHAPE), np.uint8)
    for number in range(4):
        masks[number, number, number] = 1
    with h5py.File(path, "w") as file:
        for number in (1, 2, 3, 4):
            file[f"entry_{number}/data_1/data"] = counts(2)
        file["entry_1/data_1/mask"] = masks[0]
        file["entry_2/data_1/mask"] = masks[1]
        file["entry_3/instrument_1/detector_1/mask"] = masks[2:4]
    source = open_source(path)
    expected = [masks[n] for n in (0, 0, 1, 1, 2, 3, 0, 0)]
    for index, mask in enumerate(expected):
        np.testing.assert_array_equal(source.mask_of(index), mask)
    keys = [source.mask_key(index) for index in range(8)]
    assert keys[0] == keys[1] != keys[2] == keys[3] != keys[4] != keys[5]
    masked = FrameMasks(source)
    assert masked.vary
    assert not masked.common.any()
    np.testing.assert_array_equal(masked.of(5), masks[3])
