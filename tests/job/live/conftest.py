import pytest

from job.live.half_hits import write_half_hits


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """A master of few frames; every other one has spots."""
    return write_half_hits(tmp_path_factory.mktemp("frames") / "run7_master.h5")
