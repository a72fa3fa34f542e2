"""The memory of a step is kept for the next one, and only in training."""

import platform

import pytest
import torch

from hitfinder.study.training.memory import memory_kept

SIZE = 80 << 20
"""Bytes for which glibc never uses its heap by itself: at most it does so to 32 MB."""


def is_on_heap() -> bool:
    """Whether a large array has its memory from the heap, which is kept."""
    place = torch.ones(SIZE // 4).data_ptr()
    with open("/proc/self/maps") as maps:
        for line in maps:
            if line.rstrip().endswith("[heap]"):
                start, stop = (int(end, 16) for end in line.split()[0].split("-"))
                if start <= place < stop:
                    return True
    return False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_large_arrays_are_kept_within_the_block_alone():
    assert not is_on_heap()
    with memory_kept():
        assert is_on_heap()
    assert not is_on_heap()
