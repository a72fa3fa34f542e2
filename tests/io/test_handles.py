import gc

import h5py
import numpy as np
import pytest

from hitfinder.io.handles import FilePool


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(5)
    return str(tmp_path / "a.h5")


def test_handles_that_were_closed_elsewhere_are_opened_anew(path):
    pool = FilePool()
    assert pool.dataset(path, "x")[3] == 3
    pool.dataset(path, "x").id.close()
    assert pool.dataset(path, "x")[3] == 3
    pool.file(path).close()
    assert pool.dataset(path, "x")[3] == 3
    assert pool.dataset(path, "x") is pool.dataset(path, "x")


def test_no_garbage_is_collected_while_hdf5_is_used(path):
    pool = FilePool()
    with pool.lock:
        assert not gc.isenabled()
        with pool.visit():
            pool.file(path)
        assert not gc.isenabled()
    assert gc.isenabled()
