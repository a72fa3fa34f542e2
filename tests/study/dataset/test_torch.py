import h5py
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import SourceError
from hitfinder.study.dataset.torch import EpochSampler, FrameDataset, loader
from hitfinder.study.dataset.tree import open_tree


@pytest.fixture
def tree(make_tree):
    return open_tree(make_tree())


def test_a_sample_holds_what_is_asked_for(tree):
    targets = np.arange(len(tree))
    sample = FrameDataset(tree, ("frame", "signal", "label"), targets)[20]
    for name, folder in (
        ("frame", "peaks_water_overlay"),
        ("signal", "peaks"),
        ("label", "labels"),
    ):
        assert sample[name].shape == (1, 32, 28)
        assert np.array_equal(sample[name][0].numpy(), tree.read(folder, 20))
    assert sample["frame"].dtype == torch.uint16
    assert (sample["target"], sample["photon_energy"], sample["clen"]) == (20, 6000, 0.25)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_frames_in_order(tree, workers):
    found = []
    for batch in loader(FrameDataset(tree), 5, workers=workers):
        for index, image in zip(batch["index"], batch["frame"], strict=True):
            assert np.array_equal(image[0].numpy(), tree.read("peaks_water_overlay", int(index)))
            found.append(int(index))
    assert found == list(range(len(tree)))


def test_shuffling_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        sampler = EpochSampler(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert sorted(order(1, 0)) == list(range(50))
    assert order(1, 3) == order(1, 3)
    assert len({tuple(order(s, e)) for s in (1, 2) for e in (0, 1)}) == 4
    assert order(None, 3) == list(range(50))


def test_shares_of_several_devices_cover_all_frames():
    shares = [list(EpochSampler(11, 4, rank, 3)) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    assert sorted({n for share in shares for n in share}) == list(range(11))


def test_files_of_different_types_share_a_batch(tree):
    path = tree.sets[0].files["peaks_water_overlay"].path
    with h5py.File(path, "r+") as file:
        data = file["entry/data/data"][()]
        del file["entry/data/data"]
        file["entry/data/data"] = data.astype(np.float32) + 0.25
    mixed = open_tree(tree.root)
    batch = next(iter(loader(FrameDataset(mixed), 6)))
    assert batch["frame"].dtype == torch.float32
    assert batch["frame"][0, 0, 0, 0] % 1 == 0.25
    assert torch.all(batch["frame"][5] % 1 == 0)


def test_a_damaged_frame_is_named_through_the_workers(tree):
    path = tree.sets[0].files["peaks_water_overlay"].path
    with h5py.File(path) as file:
        info = file["entry/data/data"].id.get_chunk_info(1)
    with open(path, "r+b") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff" * info.size)
    with pytest.raises(SourceError, match=r"//1.*damaged"):
        list(loader(FrameDataset(tree), 4, workers=1))


def test_targets_for_another_number_of_frames(tree):
    with pytest.raises(ValueError, match="3 targets for 36 frames"):
        FrameDataset(tree, targets=np.zeros(3))
