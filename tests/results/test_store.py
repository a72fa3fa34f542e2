import multiprocessing

import numpy as np
import pytest

from hitfinder.errors import OutputError
from hitfinder.finding.peaks import PEAK_DTYPE
from hitfinder.results.store import IMAGES_PER_CHECKPOINT, Part, Store, empty_rows


def make_part(start, n=4, problems=None):
    rows = empty_rows(n, "ok")
    rows["hit"][0], rows["n_peaks"][0] = True, 2
    rows["score"] = np.arange(n) + start
    peaks = np.zeros(2, PEAK_DTYPE)
    peaks["fs"] = [start + 0.25, start + 0.75]
    return Part(start, rows, peaks, np.full((2, 3), float(start)), problems or {})


def image_of(start):
    return np.full((3, 5), start + 1, np.int64)


def same(a, b):
    fields = all(
        np.array_equal(a.rows[f], b.rows[f], equal_nan=a.rows[f].dtype.kind == "f")
        for f in a.rows.dtype.names
    )
    return fields and (a.peaks == b.peaks).all() and a.problems == b.problems


def test_parts_come_back_in_frame_order(tmp_path):
    problems = {9: "x.h5: is gone"}
    with Store(tmp_path) as store:
        store.save_job({"a": [1, 2]})
        for start in (8, 0, 4):
            store.add(make_part(start, problems=problems if start == 8 else None), image_of(start))
    with Store(tmp_path) as store:
        store.resume()
        assert store.load_job() == {"a": [1, 2]}
        parts = list(store.parts())
        assert [part.start for part in parts] == [0, 4, 8]
        assert all(same(p, make_part(p.start, problems=p.problems)) for p in parts)
        assert parts[2].problems == problems
        assert parts[1].frame_of_peak.tolist() == [4, 4]
        assert np.array_equal(parts[2].profile, np.full((2, 3), 8.0))
        assert (store.counts.frames, store.counts.hits, store.counts.problems) == (12, 3, 0)


@pytest.mark.parametrize("n_parts", [3, IMAGES_PER_CHECKPOINT, 2 * IMAGES_PER_CHECKPOINT + 3])
def test_every_image_is_in_the_sum_once(tmp_path, n_parts):
    starts = range(0, 4 * n_parts, 4)
    total = sum(start + 1 for start in starts)
    with Store(tmp_path) as store:
        for start in starts:
            store.add(make_part(start), image_of(start))
        assert (store.image == total).all()
    with Store(tmp_path) as store:
        store.resume()
        assert (store.image == total).all()
    assert len(list((tmp_path / ".parts").glob("image-*.npy"))) < IMAGES_PER_CHECKPOINT


def test_a_kill_between_any_two_writes_loses_and_doubles_nothing(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    n_parts, finished = IMAGES_PER_CHECKPOINT + 2, False
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
                    for start in range(0, 4 * n_parts, 4):
                        if start not in store.done:
                            store.add(make_part(start), image_of(start))
                    finished = True
                except Killed:
                    pass
    with Store(tmp_path) as store:
        store.resume()
        assert (store.image == sum(range(1, 4 * n_parts, 4))).all()
        assert store.counts.frames == 4 * n_parts


def test_a_kill_before_summed_images_are_deleted_doubles_nothing(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(path, missing_ok=False):
        if path.name.startswith("image-"):
            raise Killed

    with Store(tmp_path) as store, monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", killed)
        starts = range(0, 4 * IMAGES_PER_CHECKPOINT, 4)
        for start in starts[:-1]:
            store.add(make_part(start), image_of(start))
        with pytest.raises(Killed):
            store.add(make_part(starts[-1]), image_of(starts[-1]))
    with Store(tmp_path) as store:
        assert len(list(store.folder.glob("image-*"))) == IMAGES_PER_CHECKPOINT
        store.resume()
        assert (store.image == sum(range(1, 4 * IMAGES_PER_CHECKPOINT, 4))).all()


def test_damaged_parts_are_done_again(tmp_path):
    with Store(tmp_path) as store:
        for start in (0, 4):
            store.add(make_part(start), image_of(start))
    part = tmp_path / ".parts" / "part-000000004.npz"
    part.write_bytes(part.read_bytes()[:-40])
    with Store(tmp_path) as store:
        store.resume()
        assert list(store.done) == [0]
        assert (store.image == 1).all()


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
        assert "another run is writing here" in answers.get(timeout=60)
        other.join()
    Store(tmp_path).close()


def test_unwritable_store_is_an_output_error(tmp_path):
    with Store(tmp_path) as store:
        store.folder.rename(tmp_path / "moved")
        with pytest.raises(OutputError):
            store.add(make_part(0), image_of(0))
