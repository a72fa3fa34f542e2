"""What a worker does with frames as they came."""

import h5py
import numpy as np
import pytest

from hitfinder.executors.processes import Processes
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.datafile import FramePacker
from hitfinder.io.open import open_source
from hitfinder.io.simplon.images import PackedImage
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.flow import Flow
from hitfinder.job.live.kept import shards
from hitfinder.job.live.searching import at_once
from hitfinder.job.live.work import LiveChunk, LiveWork

SHAPE, DTYPE = (64, 70), np.dtype("<u2")
GEOMETRY = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)


@pytest.fixture
def frames():
    """Six frames, the odd ones with Bragg peaks."""
    frames = np.random.default_rng(5).poisson(0.05, (6, *SHAPE)).astype(DTYPE)
    frames[1::2, 5:60:9, 7:60:11] += 30
    return frames


def work_in(folder):
    (folder / "shards").mkdir()
    search = ChunkWork(None, SHAPE, DTYPE, GEOMETRY, FinderSettings(finder="likelihood"))
    return LiveWork(search, folder, "frames.h5")


def worked(folder, images):
    with work_in(folder).opened() as find:
        return find(LiveChunk(0, 6, images, {}))


def test_hits_are_kept_as_the_detector_packed_them(tmp_path, frames):
    packed = [FramePacker(SHAPE, DTYPE).pack(frame) for frame in frames]
    images = {n: PackedImage(SHAPE, DTYPE, "bslz4", packed[n]) for n in range(6)}
    # Those that HDF5 cannot take as they are: not packed, and of the other byte order.
    images[3] = PackedImage(SHAPE, DTYPE, "", frames[3].tobytes())
    other = DTYPE.newbyteorder(">")
    swapped = FramePacker(SHAPE, DTYPE).pack(frames[5].byteswap())
    images[5] = PackedImage(SHAPE, other, "bslz4", swapped)
    assert worked(tmp_path, images).rows["hit"].tolist() == 3 * [False, True]
    (shard,) = shards(tmp_path)
    with open_source(shard) as source:
        np.testing.assert_array_equal(source[:], frames[1::2])
    with h5py.File(shard) as file:
        kept = file["/entry_1/data_1/data"].id.read_direct_chunk((0, 0, 0))[1]
    assert kept == packed[1]


def test_what_cannot_be_unpacked_costs_no_other_frame(tmp_path, frames):
    packed = [FramePacker(SHAPE, DTYPE).pack(frame) for frame in frames]
    images = {n: PackedImage(SHAPE, DTYPE, "bslz4", packed[n]) for n in range(6)}
    images[1] = PackedImage(SHAPE, DTYPE, "bslz4", packed[1][:40])
    images[2] = "the frame has no channel 'x'"
    images[4] = PackedImage((64, 71), DTYPE, "", bytes(2 * 64 * 71))
    result = worked(tmp_path, images)
    status = ["ok", "damaged", "damaged", "ok", "damaged", "ok"]
    assert result.rows["status"].tolist() == status
    assert [*result.problems] == [1, 2, 4]
    assert result.problems[2] == "the frame has no channel 'x'"
    assert "(64, 71) uint16" in result.problems[4]
    with h5py.File(shards(tmp_path)[0]) as file:
        assert file["/entry_1/result_1/frame"][()].tolist() == [3, 5]


def test_the_more_frames_wait_the_more_are_given_together():
    assert [at_once(n, 2, 1 << 22) for n in (0, 40, 200, 1000)] == [8, 10, 50, 64]
    assert at_once(1000, 1, 1 << 24) == 16
    assert at_once(1000, 1, 1 << 28) == 8


class Deadly:
    """An image that no worker survives."""

    held_bytes = 0

    def __reduce__(self):
        return eval, ("__import__('os').kill(__import__('os').getpid(), 9)",)


@pytest.mark.slow
def test_a_frame_no_worker_survives_costs_no_other(tmp_path, frames):
    images = {n: PackedImage(SHAPE, DTYPE, "", frames[n].tobytes()) for n in range(5)}
    chunk = LiveChunk(0, 7, images | {3: Deadly()}, {5: ("x", ""), 6: ("x", "")})
    flow, settled = Flow([chunk]), []
    with Processes(2) as executor:
        for outcome in executor.run(work_in(tmp_path), flow.tasks()):
            settled.append(flow.settle(outcome))
    ((whole, result),) = [one for one in settled if one is not None]
    assert whole is chunk
    assert result.frames.tolist() == [*range(7)]
    assert result.rows["status"].tolist() == ["ok", "ok", "ok", "failed", "ok", "x", "x"]
    assert "SIGKILL" in result.problems[3]
    assert [path.stem[-1] for path in shards(tmp_path)] == ["1"]
