import math

import pytest

torch = pytest.importorskip("torch")

from hitfinder.errors import ConfigError, OutputError
from hitfinder.study.training.checkpoint import SafeCheckpointIO, read

TREE = {
    "state_dict": {"a": torch.arange(6).reshape(2, 3).T, "empty": torch.empty(0)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.999)}],
    "numbers": [1, 2.5, math.inf, True, None, "text"],
    "tensor": {"map": 1},
}


def test_everything_comes_back(tmp_path):
    SafeCheckpointIO().save_checkpoint(TREE, tmp_path / "a" / "last.safetensors")
    back = SafeCheckpointIO().load_checkpoint(tmp_path / "a" / "last.safetensors")
    assert torch.equal(back["state_dict"]["a"], TREE["state_dict"]["a"])
    assert back["optimizer_states"][0]["state"][0]["step"] == 3
    assert back["optimizer_states"][0]["betas"] == (0.9, 0.999)
    assert back["numbers"] == TREE["numbers"]
    assert back["tensor"] == {"map": 1}
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["last.safetensors"]


def test_tensors_that_share_memory_come_back_both(tmp_path):
    a = torch.arange(4.0)
    SafeCheckpointIO().save_checkpoint({"a": a, "b": a[:2]}, tmp_path / "c")
    back = read(tmp_path / "c")
    assert (back["a"].tolist(), back["b"].tolist()) == ([0, 1, 2, 3], [0, 1])


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a complex"):
        SafeCheckpointIO().save_checkpoint({"a": 1j}, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_pickles_and_damaged_files_are_refused(tmp_path):
    torch.save({"a": 1}, tmp_path / "pickle.ckpt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "pickle.ckpt")
    SafeCheckpointIO().save_checkpoint(TREE, tmp_path / "c")
    whole = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(whole[:-8])
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "c")
    for at in (len(whole) // 2, -1):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        (tmp_path / "c").write_bytes(flipped)
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path / "c")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigError, match="no checkpoint that this program reads"):
        read(tmp_path / "other.safetensors")


@pytest.mark.parametrize("free_kb", [0, 4, 12])
def test_a_full_disk_is_told_and_leaves_no_file(small_disk, free_kb):
    disk = small_disk(free_kb << 10)
    large = {"a": torch.zeros(10_000)}
    with pytest.raises(OutputError, match=r"last: cannot be written \(No space left on device\)"):
        SafeCheckpointIO().save_checkpoint(large, disk / "last")
    assert [path.name for path in disk.iterdir()] == ["ballast"]
