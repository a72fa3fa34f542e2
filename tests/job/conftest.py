"""Frames as a detector writes them, for the tests of jobs."""

import pytest

from hitfinder.io.write import NexusWriter


@pytest.fixture(scope="module")
def master(frames, geometry, tmp_path_factory):
    """A series of the module's own frames."""
    path = tmp_path_factory.mktemp("series") / "run_master.h5"
    with NexusWriter(path, geometry, frames.dtype) as writer:
        for frame in frames:
            writer.write(frame)
    return path
