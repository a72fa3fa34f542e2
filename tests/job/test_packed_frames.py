"""Frames of files that stay packed until their counts are needed."""

import h5py
import numpy as np
import pytest

from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.composite import CompositeSource
from hitfinder.io.memory import ArraySource
from hitfinder.io.open import open_source
from hitfinder.io.shuffled import ShuffledFrame
from hitfinder.io.write import NexusWriter
from hitfinder.job.chunks import Chunk, ChunkFinder, ChunkWork
from hitfinder.results.chunk import OK

SHAPE = (301, 243)
N_FRAMES = 12


@pytest.fixture(scope="module")
def geometry():
    mask = np.zeros(SHAPE, bool)
    mask[:, 100:140] = True
    return Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000, mask=mask)


@pytest.fixture(scope="module")
def frames(geometry):
    """Dark ones, and some with photons in most pixels; what is masked has no reading."""
    rng = np.random.default_rng(4)
    rate = np.array([0.002, 0.004, 0.0, 0.002, 2.0, 0.003])[np.arange(N_FRAMES) % 6]
    frames = rng.poisson(rate[:, None, None], (N_FRAMES, *SHAPE)).astype(np.uint16)
    for k, frame in enumerate(frames):
        frame[20 : 290 : 40 + k, 7:90:31] += 12
        frame.ravel()[rng.integers(0, frame.size, k)] = 65535
    frames[:, geometry.detector.full_mask] = 65535
    return frames


def found_in(source, geometry, finder="likelihood"):
    work = ChunkWork(source, SHAPE, source.dtype, geometry, FinderSettings(finder=finder))
    with source:
        return ChunkFinder(work).find(Chunk(range(len(source)), 0))


@pytest.mark.parametrize("finder", ["likelihood", "network"])
def test_the_same_is_found_as_in_unpacked_frames(master, frames, geometry, finder):
    with open_source(master) as source:
        assert isinstance(source.open_frame(0), ShuffledFrame)
    with CompositeSource([source, source]) as both:
        assert isinstance(both.open_frame(N_FRAMES + 1), ShuffledFrame)
    found = found_in(source, geometry, finder)
    known = found_in(ArraySource(frames), geometry, finder)
    assert not found.problems
    for name in set(found.rows.dtype.names) - {"seconds"}:
        assert found.rows[name].tobytes() == known.rows[name].tobytes(), name
    assert found.peaks.tobytes() == known.peaks.tobytes()
    totals = known.totals.to_arrays()
    for name, values in found.totals.to_arrays().items():
        assert np.array_equal(values, totals[name], equal_nan=values.dtype.kind == "f"), name


def test_frames_are_not_unpacked_as_a_whole(master, frames, geometry):
    with open_source(master) as source:
        work = ChunkWork(source, SHAPE, source.dtype, geometry, FinderSettings(finder="likelihood"))
        finder = ChunkFinder(work)
        finder._buffer[:] = 7
        found = finder.find(Chunk(range(N_FRAMES), 0))
        assert (finder._buffer == 7).all()
    counts = np.where(frames == 65535, 0, frames)
    assert np.array_equal(found.rows["photons"], counts.sum(axis=(1, 2)))


class OfArrays:
    """A finder of somebody else, who knows of arrays alone."""

    def __init__(self, geometry, settings):
        from hitfinder.finding.likelihood import LikelihoodFinder

        self._finder, self.seen = LikelihoodFinder(geometry), []

    def __call__(self, frame, mask=None):
        self.seen.append(type(frame))
        return self._finder(frame, mask)


def test_a_finder_that_knows_of_arrays_alone_gets_them(master, geometry):
    with open_source(master) as source:
        work = ChunkWork(
            source, SHAPE, source.dtype, geometry, FinderSettings(finder=f"{__name__}:OfArrays")
        )
        finder = ChunkFinder(work)
        assert not finder.find(Chunk(range(3), 0)).problems
    assert finder._finder.seen == 3 * [np.ndarray]


def test_a_damaged_frame_costs_no_other(master, frames, geometry, tmp_path):
    path = tmp_path / "damaged_master.h5"
    with NexusWriter(path, geometry, frames.dtype) as writer:
        for frame in frames:
            writer.write(frame)
    data = next(tmp_path.glob("*_data_000001.h5"))
    with h5py.File(data, "r+") as file:
        dataset = file["entry/data/data"]
        for number in (1, 4):  # a dark one, and one with many photons
            whole = dataset.id.read_direct_chunk((number, 0, 0))[1]
            dataset.id.write_direct_chunk((number, 0, 0), whole[:-40])
    with open_source(path) as source:
        found = found_in(source, geometry)
    expected = ["ok", "unreadable", "ok", "ok", "unreadable", *["ok"] * (N_FRAMES - 5)]
    assert [str(status) for status in found.rows["status"]] == expected
    for number in (1, 4):
        assert "the counts are damaged" in found.problems[number]
        assert f"//{number}" in found.problems[number]
    known = found_in(ArraySource(frames), geometry)
    good = found.rows["status"] == OK
    assert good.sum() == N_FRAMES - 2
    assert found.rows["score"][good].tobytes() == known.rows["score"][good].tobytes()
