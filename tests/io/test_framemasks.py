import h5py
import numpy as np
import pytest

from hitfinder.errors import SourceError
from hitfinder.io.framemasks import FrameMasks
from hitfinder.io.open import open_source

SHAPE = (20, 24)


def write(path, n_frames, mask):
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = np.zeros((n_frames, *SHAPE), np.uint16)
        if mask is not None:
            file["entry/instrument/detector/pixel_mask"] = mask
    return path


def marked(*pixels, n_frames=None):
    mask = np.zeros(SHAPE, np.uint32)
    for pixel in pixels:
        mask[pixel] = 1
    return mask if n_frames is None else np.repeat(mask[None], n_frames, 0)


def test_files_with_the_same_mask_share_it(tmp_path):
    files = [write(tmp_path / f"{name}.h5", 2, marked((1, 2))) for name in "abc"]
    masks = FrameMasks(open_source(files))
    assert not masks.vary
    assert np.argwhere(masks.common).tolist() == [[1, 2]]


def test_files_with_different_masks_keep_their_own(tmp_path):
    files = [
        write(tmp_path / "a.h5", 2, marked((1, 2), (3, 4))),
        write(tmp_path / "b.h5", 2, marked((1, 2), (5, 6), (7, 8))),
    ]
    masks = FrameMasks(open_source(files))
    assert masks.vary
    assert np.argwhere(masks.common).tolist() == [[1, 2]]
    assert np.argwhere(masks.of(1)).tolist() == [[1, 2], [3, 4]]
    assert np.argwhere(masks.of(2)).tolist() == [[1, 2], [5, 6], [7, 8]]
    assert "a.h5 masks 0.417 %" in masks.summary
    assert "b.h5 masks 0.625 %" in masks.summary


@pytest.mark.parametrize("packed", [{"compression": "gzip"}, {"chunks": (5, 24)}])
def test_masks_that_are_stored_alike_are_unpacked_once(tmp_path, monkeypatch, packed):
    """Of those of another packing nobody knows whether they are the same."""
    files = [tmp_path / f"{name}.h5" for name in "abcd"]
    for file, pixel in zip(files, ((1, 2), (1, 2), (3, 4), (1, 2)), strict=True):
        with h5py.File(write(file, 2, None), "r+") as made:
            how = packed if file != files[3] else {"compression": "gzip", "shuffle": True}
            data = marked((5, 6), pixel)
            made.create_dataset("entry/instrument/detector/pixel_mask", data=data, **how)
    source = open_source(files)
    real, read = type(source).mask_of, []
    monkeypatch.setattr(
        type(source), "mask_of", lambda self, index: (read.append(index), real(self, index))[1]
    )
    masks = FrameMasks(source)
    assert read == [0, 4, 6]
    assert masks.vary
    assert np.argwhere(masks.common).tolist() == [[5, 6]]
    assert len(masks.shares) == 4
    assert [masks.of(index)[3, 4] for index in (0, 2, 4, 6)] == [False, False, True, False]


def test_a_file_without_a_mask_beside_one_with(tmp_path):
    files = [write(tmp_path / "a.h5", 1, marked((1, 2))), write(tmp_path / "b.h5", 1, None)]
    masks = FrameMasks(open_source(files))
    assert masks.vary
    assert not masks.common.any()
    assert masks.of(0).sum() == 1
    assert masks.of(1) is None
    assert not FrameMasks(open_source(files[1])).stored


@pytest.mark.parametrize("n_frames", [5, 200])
def test_frames_with_masks_of_their_own(tmp_path, n_frames):
    own = marked((1, 2), n_frames=n_frames)
    own[3, 7, 8] = 1
    masks = FrameMasks(open_source(write(tmp_path / "a.h5", n_frames, own)))
    assert masks.vary
    assert np.argwhere(masks.common).tolist() == [[1, 2]]
    assert masks.of(3).sum() == 2
    assert masks.of(4).sum() == 1
    if n_frames == 5:
        assert "a.h5 masks 0.208 to 0.417 %" in masks.summary


def test_a_few_equal_masks_are_one(tmp_path):
    masks = FrameMasks(open_source(write(tmp_path / "a.h5", 5, marked((1, 2), n_frames=5))))
    assert not masks.vary
    assert masks.common.sum() == 1


def test_frames_that_cannot_be_read_and_those_of_another_shape_do_not_count(tmp_path):
    good = write(tmp_path / "a.h5", 2, marked((1, 2)))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["entry/data/data"] = np.zeros((1, 30, 30), np.uint16)
        file["mask"] = np.ones((30, 30), np.uint8)
    masks = FrameMasks(open_source([tmp_path / "none.h5", good, tmp_path / "b.h5"]))
    assert not masks.vary
    assert masks.common.sum() == 1


def test_a_mask_that_cannot_be_read_fails_with_its_frames_only(tmp_path, monkeypatch):
    files = [write(tmp_path / f"{name}.h5", 1, marked((1, 2))) for name in "ab"]
    source = open_source(files)
    real = type(source).mask_of

    def broken(self, index):
        if index == 1:
            raise SourceError("unreadable", "the mask: damaged", "b.h5")
        return real(self, index)

    monkeypatch.setattr(type(source), "mask_of", broken)
    masks = FrameMasks(source)
    assert masks.of(0).sum() == 1
    with pytest.raises(SourceError, match="damaged"):
        masks.of(1)


def test_a_mask_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    def broken(self, index):
        raise SourceError("unreadable", "the mask: damaged", "a.h5")

    source = open_source(write(tmp_path / "a.h5", 2, marked((1, 2))))
    monkeypatch.setattr(type(source), "mask_of", broken)
    assert FrameMasks(source).vary
