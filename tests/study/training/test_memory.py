"""The memory of a step is kept for the next one, and only in training."""

import platform
import subprocess
import sys

import pytest

# 40 MB: at most glibc keeps arrays of 32 MB by itself.
CODE = """
import resource, torch
from hitfinder.study.training.memory import memory_kept

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

page_faults()
print(page_faults())
with memory_kept():
    print(min(page_faults() for _ in range(20)))
print(page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries are left alone")
def test_large_arrays_are_kept_within_the_block_alone():
    """Pages that the kernel hands out for an array, after one as large. In the block the first
    few may be new: glibc cuts each to its alignment and keeps seven of the scraps behind them."""
    said = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    before, within, after = map(int, said.stdout.split())
    assert 10 * within < min(before, after)
