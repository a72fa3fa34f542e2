"""Chunks of a job without an end are joined, so that their files stay few."""

import threading
from pathlib import Path

import numpy as np
import pytest

from hitfinder.results.binned import add_frame
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.following import FollowedStore
from hitfinder.results.store import TOTALS_PER_CHECKPOINT, Store

N = 6


def make_chunk(start, n=4):
    made = ChunkResult.without_results(range(start, start + n), "ok")
    made.rows["score"] = made.frames
    made.problems = {start: f"of {start}"}
    frame, mask = np.full((3, 5), start + 1, np.uint16), np.zeros((3, 5), bool)
    add_frame(made.totals.image, made.totals.maximum, frame, mask, np.uint16(60000))
    return made


def fill(store, starts):
    for start in starts:
        store.add(start, make_chunk(start))


def check(store, starts):
    """Every chunk is there once, in order, and is in the totals once."""
    chunks = list(store.chunks())
    frames = np.concatenate([chunk.frames for chunk in chunks])
    assert frames.tolist() == [start + i for start in starts for i in range(4)]
    assert np.concatenate([chunk.rows["score"] for chunk in chunks]).tolist() == frames.tolist()
    assert [key for chunk in chunks for key in chunk.problems] == [*starts]
    assert store.counts.frames == len(frames)
    assert sum(counts.frames for counts in store.done.values()) == len(frames)
    assert (store.totals.image.image == sum(start + 1 for start in starts)).all()


def test_joined_chunks_are_one_file_and_hold_the_same(tmp_path):
    starts = range(0, 4 * N, 4)
    with Store(tmp_path) as store:
        fill(store, starts)
        store.join([4, 8, 12])
        check(store, starts)
        assert [*store.done] == [0, 16, 20, 4]
        store.join([4, 16])
        fill(store, [4 * N])
    assert len(list((tmp_path / ".parts").glob("chunk-*"))) == 4
    with Store(tmp_path) as store:
        store.resume()
        check(store, [*starts, 4 * N])
        # What the totals hold is known by few names, however many chunks there were.
        store.join([0, 4, 20, 24])
        assert len(store._load("totals")["merged"]) == 1
    with Store(tmp_path) as store:
        store.resume()
        check(store, [*starts, 4 * N])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("n_joined_before", [0, 2])
def test_a_kill_at_any_moment_of_joining_loses_and_doubles_nothing(
    tmp_path, monkeypatch, own_path, n_joined_before
):
    starts, n_kills = range(0, 4 * N, 4), 0
    for at in range(20):
        out = tmp_path / str(at)
        out.mkdir()
        left = [np.inf]

        def counted(plain, left=left):
            def call(*given, **named):
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return plain(*given, **named)

            return call

        with Store(own_path(out, counted(Path.unlink))) as store:
            fill(store, starts)
            if n_joined_before:
                store.join([0, 4])
            with monkeypatch.context() as patch:
                patch.setattr(Store, "_write", counted(Store._write))
                left[0] = at
                try:
                    store.join([0, 8, 12] if n_joined_before else [0, 4, 8, 12])
                except Killed:
                    n_kills += 1
                left[0] = np.inf
        with Store(out) as store:
            store.resume()
            check(store, starts)
            store.join([*sorted(store.done)])
            check(store, starts)
    assert 5 <= n_kills < 20, "the last ones were not killed"


def test_what_cannot_be_done_again_is_kept_though_a_neighbour_is_lost(tmp_path):
    n = TOTALS_PER_CHECKPOINT
    with Store(tmp_path) as store:
        fill(store, range(0, 4 * n + 8, 4))
    lost, without_totals = store.folder / "chunk-000000008.dat", 4 * n + 4
    lost.write_bytes(b"")
    (store.folder / f"totals-{without_totals:09d}-0.dat").unlink()
    with Store(tmp_path) as store:
        store.resume(again=False)
        assert sorted(store.done) == [s for s in range(0, 4 * n + 8, 4) if s != 8]
        assert (store.totals.image.image == sum(range(1, 4 * n + 2, 4))).all()


def test_one_who_looks_on_sees_every_row_while_chunks_are_joined(tmp_path):
    followed, rows = FollowedStore(tmp_path), {}

    def look():
        for chunk in followed.fresh():
            rows.update(zip(chunk.frames.tolist(), chunk.rows["score"].tolist(), strict=True))

    with Store(tmp_path) as store:
        fill(store, range(0, 4 * N, 4))
        look()
        store.join([0, 4, 8, 12])
        assert followed.chunk_with(1).frames[0] == 0
        look()
        assert followed.chunk_with(14).rows["score"][14] == 14
        fill(store, [4 * N])
        look()
    assert rows == {number: number for number in range(4 * N + 4)}


def test_chunks_are_joined_by_one_thread_while_another_adds_them(tmp_path):
    n, seen = 150, []
    with Store(tmp_path) as store:
        adding = threading.Thread(target=fill, args=(store, range(0, 4 * n, 4)))
        adding.start()
        while adding.is_alive():
            homes = sorted(store.as_it_is().done)
            if len(homes) > 5:
                store.join(homes)
            now = store.as_it_is()
            frames = np.concatenate([[], *(chunk.frames for chunk in now.chunks())])
            assert len(frames) == now.counts.frames
            assert not len(frames) or (now.totals.image.image == (frames[::4] + 1).sum()).all()
            seen.append(len(frames))
        adding.join()
        check(store, range(0, 4 * n, 4))
    with Store(tmp_path) as store:
        store.resume()
        check(store, range(0, 4 * n, 4))
    assert seen == sorted(seen)
