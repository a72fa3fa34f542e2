import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from hitfinder.errors import OutputError
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.results.binned import add_frame
from hitfinder.results.chunk import ChunkResult, empty_rows
from hitfinder.results.store import TOTALS_PER_CHECKPOINT, Store
from waiting import LONGEST_S


def make_chunk(start, n=4, problems=None, status="ok"):
    rows = empty_rows(n, status)
    rows["hit"][0], rows["n_peaks"][0] = True, 2
    rows["score"] = np.arange(n) + start
    peaks = np.zeros(2, PEAK_DTYPE)
    peaks["fs"] = [start + 0.25, start + 0.75]
    made = ChunkResult(np.arange(start, start + n), rows, peaks, problems or {})
    add_to(made.totals, start + 1)
    return made


def add_to(totals, counts):
    image = np.full((3, 5), counts, np.uint16)
    add_frame(totals.image, totals.maximum, image, np.zeros((3, 5), bool), np.uint16(60000))
    totals.profile.add(np.array([counts / 7, 0.1, np.nan]))


def same(a, b):
    fields = all(
        np.array_equal(a.rows[f], b.rows[f], equal_nan=a.rows[f].dtype.kind == "f")
        for f in a.rows.dtype.names
    )
    return (
        fields
        and (a.frames == b.frames).all()
        and (a.peaks == b.peaks).all()
        and a.problems == b.problems
    )


def in_totals(store, starts):
    """Whether the chunks that start there, and no others, are in the totals once."""
    profile = store.totals.profile.to_array()[2]
    expected = sum(start + 1 for start in starts)
    return (store.totals.image.image == expected).all() and profile.tolist() == [
        *(len(starts), len(starts), 0)
    ]


def test_chunks_come_back_in_frame_order(tmp_path):
    problems = {9: "x.h5: is gone"}
    with Store(tmp_path) as store:
        store.save_job({"a": [1, 2]})
        for start in (8, 0, 4):
            store.add(start, make_chunk(start, problems=problems if start == 8 else None))
    with Store(tmp_path) as store:
        store.resume()
        assert store.load_job() == {"a": [1, 2]}
        chunks = list(store.chunks())
        assert [chunk.frames[0] for chunk in chunks] == [0, 4, 8]
        assert all(same(c, make_chunk(c.frames[0], problems=c.problems)) for c in chunks)
        assert chunks[2].problems == problems
        assert chunks[1].frame_of_peak.tolist() == [4, 4]
        assert (store.counts.frames, store.counts.hits, store.counts.problems) == (12, 3, 0)


@pytest.mark.parametrize("n_chunks", [3, TOTALS_PER_CHECKPOINT, 2 * TOTALS_PER_CHECKPOINT + 3])
def test_every_chunk_is_in_the_totals_once(tmp_path, n_chunks):
    starts = range(0, 4 * n_chunks, 4)
    with Store(tmp_path) as store:
        for start in starts:
            store.add(start, make_chunk(start))
        assert in_totals(store, starts)
        mean = store.totals.profile.mean
    with Store(tmp_path) as store:
        store.resume()
        assert in_totals(store, starts)
        np.testing.assert_array_equal(store.totals.profile.mean, mean)
    assert len(list((tmp_path / ".parts").glob("totals-*"))) < TOTALS_PER_CHECKPOINT


class Killed(BaseException):
    pass


def test_a_kill_between_any_two_writes_loses_and_doubles_nothing(tmp_path, monkeypatch):
    n_chunks, finished = TOTALS_PER_CHECKPOINT + 2, False
    at = 0
    while not finished:
        # Every attempt is killed at its next write, so that each write is once the last one.
        at += 1
        with Store(tmp_path) as store:
            store.resume()
            writes = iter(range(at % 3 + 1))
            plain = Store._write

            def write(self, name, content, writes=writes, plain=plain):
                if next(writes, None) is None:
                    raise Killed
                plain(self, name, content)

            with monkeypatch.context() as patch:
                patch.setattr(Store, "_write", write)
                try:
                    for start in range(0, 4 * n_chunks, 4):
                        if start not in store.done:
                            store.add(start, make_chunk(start))
                    finished = True
                except Killed:
                    pass
    with Store(tmp_path) as store:
        store.resume()
        assert in_totals(store, range(0, 4 * n_chunks, 4))
        assert store.counts.frames == 4 * n_chunks


def test_a_kill_before_merged_totals_are_deleted_doubles_nothing(tmp_path, own_path):
    def killed(path, missing_ok=False):
        if path.name.startswith("totals-"):
            raise Killed
        Path.unlink(path, missing_ok)

    starts = range(0, 4 * TOTALS_PER_CHECKPOINT, 4)
    with Store(own_path(tmp_path, killed)) as store:
        for start in starts[:-1]:
            store.add(start, make_chunk(start))
        with pytest.raises(Killed):
            store.add(starts[-1], make_chunk(starts[-1]))
    with Store(tmp_path) as store:
        assert len(list(store.folder.glob("totals-*"))) == TOTALS_PER_CHECKPOINT
        store.resume()
        assert in_totals(store, starts)


@pytest.mark.parametrize("killed_at", [0, 1, 2])
@pytest.mark.parametrize("n_others", [0, TOTALS_PER_CHECKPOINT])
def test_frames_that_are_tried_once_more(tmp_path, monkeypatch, killed_at, n_others):
    """Their rows are replaced, and they add to the totals once, whenever the job is killed."""
    others = range(100, 100 + 4 * n_others, 4)
    chunk = make_chunk(0, problems={1: "gone", 3: "gone"})
    chunk.rows[[1, 3]] = empty_rows(2, "missing-file")
    better = ChunkResult(np.array([1, 3]), empty_rows(2, "ok"), chunk.peaks[:1].copy())
    better.rows["n_peaks"][1], better.rows["score"] = 1, [5, 6]
    add_to(better.totals, 50)
    with Store(tmp_path) as store:
        store.add(0, chunk)
        for start in others:
            store.add(start, make_chunk(start))
    with Store(tmp_path) as store, monkeypatch.context() as patch:
        store.resume()
        assert store.counts.problems == 2
        left, plain = [killed_at], Store._write

        def write(self, name, content):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            plain(self, name, content)

        patch.setattr(Store, "_write", write)
        try:
            store.add(0, better)
        except Killed:
            assert killed_at < 2
    with Store(tmp_path) as store:
        store.resume()
        if killed_at < 2:
            assert in_totals(store, [0, *others])
            store.add(0, better)
        assert in_totals(store, [0, 49, *others])
        assert (store.counts.frames, store.counts.problems) == (4 + 4 * n_others, 0)
        found = next(store.chunks())
        assert found.rows["status"].tolist() == ["ok"] * 4
        assert found.rows["score"].tolist() == [0, 5, 2, 6]
        assert found.frame_of_peak.tolist() == [0, 0, 3]
        assert found.problems == {}
    with Store(tmp_path) as store:
        store.resume()
        assert in_totals(store, [0, 49, *others])


@pytest.mark.parametrize(
    ("damage", "n_chunks"),
    [
        ("cut", 3),
        ("flip", TOTALS_PER_CHECKPOINT + 1),
        pytest.param("cut", TOTALS_PER_CHECKPOINT + 1, marks=pytest.mark.slow),
        pytest.param("flip", 3, marks=pytest.mark.slow),
    ],
)
def test_damaged_results_are_done_again(tmp_path, n_chunks, damage):
    """Any file, cut short or with a flipped bit: what is lost is found again, never used."""
    starts = range(0, 4 * n_chunks, 4)
    with Store(tmp_path) as store:
        for start in starts:
            store.add(start, make_chunk(start))
        store.save_array("hot", np.arange(12))
    rng = np.random.default_rng(n_chunks)
    for path in sorted((tmp_path / ".parts").glob("*.dat")):
        content = path.read_bytes()
        place = int(rng.integers(len(content)))
        flipped = bytes([content[place] ^ 1 << int(rng.integers(8))])
        damaged = content[:place] + (flipped + content[place + 1 :] if damage == "flip" else b"")
        path.write_bytes(damaged)
        with Store(tmp_path) as store:
            store.resume()
            lost = set(starts) - set(store.done)
            assert len(lost) == (0 if path.stem == "hot" else len(lost) or 1)
            assert (store.load_array("hot") is None) == (path.stem == "hot")
            assert not store.done or in_totals(store, sorted(store.done))
            for start in sorted(lost):
                store.add(start, make_chunk(start))
            assert in_totals(store, starts)
            store.save_array("hot", np.arange(12))


def test_a_damaged_job_is_not_taken_for_none(tmp_path):
    with Store(tmp_path) as store:
        store.save_job({"a": 1})
        path = store.folder / "job.json"
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(OutputError, match="damaged"):
            store.load_job()


@pytest.mark.parametrize("linked", ["folder", "lock"])
def test_nothing_outside_the_folder_is_touched(tmp_path, linked):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    out = tmp_path / "out"
    out.mkdir()
    if linked == "folder":
        (out / ".parts").symlink_to(elsewhere)
    else:
        (out / ".parts").mkdir()
        (out / ".parts" / "lock").symlink_to(elsewhere / "precious")
    with pytest.raises(OutputError, match="link"), Store(out):
        pass
    (out / ".parts").unlink() if linked == "folder" else (out / ".parts" / "lock").unlink()
    with Store(out) as store:
        (store.folder / "more").symlink_to(elsewhere)
        (store.folder / "file").symlink_to(elsewhere / "precious")
        store.clear()
        assert [path.name for path in store.folder.iterdir()] == ["lock"]
        (store.folder / "more").symlink_to(elsewhere)
        store.remove()
    assert (elsewhere / "precious").read_text() == "precious"
    assert not (out / ".parts").exists()


def _try_to_open(path, answers):
    try:
        Store(path)
        answers.put("opened")
    except OutputError as error:
        answers.put(str(error))


def test_a_folder_serves_one_process_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with Store(tmp_path):
        other = context.Process(target=_try_to_open, args=(tmp_path, answers))
        other.start()
        assert "another run is writing here" in answers.get(timeout=LONGEST_S)
        other.join()
    Store(tmp_path).close()


def test_unwritable_store_is_an_output_error(tmp_path):
    with Store(tmp_path) as store:
        store.folder.rename(tmp_path / "moved")
        with pytest.raises(OutputError):
            store.add(0, make_chunk(0))
