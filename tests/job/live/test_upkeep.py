"""The folder of a live run while it goes on: few files, and tables beside the flow of frames."""

import threading

import h5py
import numpy as np
import pytest

from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.simplon.images import PackedImage
from hitfinder.job.chunks import ChunkWork
from hitfinder.job.live import kept, upkeep
from hitfinder.job.live.kept import Shards, join_shards, shards
from hitfinder.job.live.upkeep import JOINED, SIZES, Upkeep, is_settled, neighbours
from hitfinder.job.live.work import LiveChunk, LiveWork, masked
from hitfinder.monitor.shards import HitShards
from hitfinder.results.chunk import ChunkResult, Counts
from hitfinder.results.store import Store
from waiting import LONGEST_S

SHAPE, DTYPE = (64, 70), np.dtype("<u2")
GEOMETRY = Geometry.flat(SHAPE, 75e-6, camera_length_m=0.05, photon_energy_ev=6000)


def after(n_frames, size):
    """What a store holds after so many frames in chunks of a size, joined whenever it can be."""
    done, written = {}, 0
    for home in range(0, n_frames, size):
        done[home] = Counts(size)
        for homes in list(neighbours(done)):
            n = sum(done.pop(each).frames for each in homes)
            done[homes[0]] = Counts(n)
            written += n
    assert sum(counts.frames for counts in done.values()) == n_frames
    return done, written


@pytest.mark.parametrize("size", [1, 8])
def test_files_stay_few_however_long_a_run_is(size):
    n_frames = 80_000
    done, written = after(n_frames, size)
    assert len(done) < 3 * JOINED + n_frames / SIZES[-1]
    # What is written to join them is a few times the results, not their square.
    assert written < 12 * n_frames


def test_only_chunks_that_follow_one_another_are_joined():
    done = {8 * n: Counts(8) for n in range(2 * JOINED) if n != 20}
    assert [*neighbours(done)] == [[8 * n for n in range(21, 21 + JOINED)]]
    assert is_settled(19 * 8 + 7, done)
    assert not is_settled(20 * 8, done)
    assert not is_settled(2 * JOINED * 8, done)
    assert not is_settled(0, {})


@pytest.fixture
def filled(tmp_path):
    """A folder with four shards of two hits each, the third with other static pixels."""
    (tmp_path / "shards").mkdir()
    rng = np.random.default_rng(5)
    frames = rng.poisson(0.05, (12, *SHAPE)).astype(DTYPE)
    frames[np.arange(12) % 3 > 0, 5:60:9, 7:60:11] += 30
    bad = np.zeros(SHAPE, bool)
    bad[40, 41] = True
    for first in range(0, 12, 3):
        geometry = masked(GEOMETRY, bad) if first == 6 else GEOMETRY
        search = ChunkWork(None, SHAPE, DTYPE, geometry, FinderSettings(finder="likelihood"))
        images = {n: PackedImage(SHAPE, DTYPE, "", frames[n].tobytes()) for n in range(12)}
        own = {n: images[n] for n in range(first, first + 3)}
        with LiveWork(search, tmp_path, "frames.h5").opened() as find:
            assert find(LiveChunk(first, first + 3, own, {})).rows["hit"].sum() == 2
    return tmp_path, frames


def content(paths):
    """Every row of every dataset that has one for each hit."""
    rows, mask = {}, None
    for path in paths:
        with h5py.File(path) as file:
            names = []
            file.visit(names.append)
            for name in names:
                if (getattr(file[name], "maxshape", None) or (0,))[0] is None:
                    values = [np.trim_zeros(np.ravel(row), "b") for row in file[name][()]]
                    rows.setdefault(name, []).extend(map(str, values))
            here = file["/entry_1/data_1/mask"][()]
            mask = here if mask is None else mask | here
    return rows, mask.tolist()


def test_joined_shards_hold_the_same_hits(filled):
    folder, frames = filled
    before, reader = content(shards(folder)), HitShards(folder)
    np.testing.assert_array_equal(reader.read(11), frames[11])
    join_shards(shards(folder)[1:])
    assert [path.name for path in shards(folder)] == ["hits-000000000.cxi", "hits-000000003.cxi"]
    assert content(shards(folder)) == before
    # One who looks on finds a hit where it is now.
    np.testing.assert_array_equal(reader.read(11), frames[11])
    join_shards(shards(folder))
    assert content(shards(folder)) == before
    np.testing.assert_array_equal(reader.read(4), frames[4])


def test_shards_are_joined_when_they_are_many_and_not_while_one_is_written(filled, monkeypatch):
    folder, _ = filled
    monkeypatch.setattr(kept, "_JOINED", 2)
    Shards(folder).join(lambda first: first != 3)
    assert [path.stem[-2:] for path in shards(folder)] == ["00", "03", "09"]
    monkeypatch.setattr(kept, "FULL_HITS", 4)
    Shards(folder).join(lambda first: True)
    assert [path.stem[-2:] for path in shards(folder)] == ["00", "03"]
    Shards(folder).join(lambda first: True)
    assert [path.stem[-2:] for path in shards(folder)] == ["00", "03"], "they are full"


def test_a_kill_while_shards_are_joined_loses_nothing(filled, own_path):
    folder, frames = filled
    places = kept.SeriesDescription(SHAPE, DTYPE.newbyteorder("="), 6000.0, 0.05, 75e-6)
    with pytest.raises(ZeroDivisionError):
        join_shards(shards(own_path(folder, lambda *given, **named: 1 / 0)))
    assert len(shards(folder)) == 4
    with h5py.File(kept.write_places(folder, places, 11)) as file:
        for number in (1, 2, 4, 5, 7, 8, 10):
            np.testing.assert_array_equal(file["entry/data/data"][number], frames[number])


def test_tables_are_written_beside_and_an_error_does_not_end_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(upkeep, "_LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(upkeep, "TABLES_EVERY_S", 0.0)
    seen, stopped, enough = [], [], threading.Event()

    with Store(tmp_path) as store:

        def write_tables(stopping):
            seen.append(len(store.as_it_is(stopping).done))
            if len(seen) == 2:
                raise OSError("the disk is full")
            if len(seen) == 4:
                enough.set()
                stopped.append(stopping.wait(LONGEST_S))
                list(store.as_it_is(stopping).chunks())
                raise AssertionError("it was to stop")

        with Upkeep(tmp_path, store, write_tables):
            for home in range(0, 8 * 100, 8):
                store.add(home, ChunkResult.without_results(range(home, home + 8), "ok"))
            assert enough.wait(LONGEST_S)
        assert stopped == [True], "it was asked to stop"
        assert sum(len(chunk.frames) for chunk in store.chunks()) == 800
    assert [r.getMessage() for r in caplog.records if "disk is full" in r.getMessage()]
    assert "it was to stop" not in caplog.text


def test_a_shard_that_is_full_is_left_as_it_is(filled, monkeypatch):
    folder, _ = filled
    monkeypatch.setattr(kept, "_JOINED", 2)
    monkeypatch.setattr(kept, "FULL_HITS", 4)
    both = Shards(folder)
    for _ in range(3):
        both.join(lambda first: True)
        assert [path.stem[-2:] for path in shards(folder)] == ["00", "06"]
