import json
import os
from pathlib import Path

import numpy as np
import pytest

from hitfinder.errors import HitfinderError
from hitfinder.executors.inline import Inline
from hitfinder.executors.nursery import ENVIRONMENT
from hitfinder.executors.processes import Processes
from hitfinder.finding.settings import FinderSettings
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.job.chunksize import LARGEST_CHUNK, SMALLEST_CHUNK
from hitfinder.job.pipeline import Pipeline, chunks_of, chunks_of_stream
from hitfinder.results.store import Store

SHAPE = (60, 70)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def odd(tmp_path):
    from odd_sources import OddSource

    return lambda kind, **options: OddSource(kind, tmp_path, **options)


class Found:
    """What a pipeline left in its store."""

    def __init__(self, source, folder, executor, advance=lambda n, note="": None):
        panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -35.0, -30.0)
        geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.02, 6000.0)
        settings = FinderSettings(finder="likelihood")
        folder.mkdir()
        with Store(folder) as store:
            Pipeline(source, geometry, settings, store, hot_pixel_frames=0).run(executor, advance)
            chunks = list(store.chunks())
            self.totals, self.counts = store.totals, store.counts
        self.frames = np.concatenate([chunk.frames for chunk in chunks])
        self.rows = np.concatenate([chunk.rows for chunk in chunks])
        self.peaks = np.concatenate([chunk.peaks for chunk in chunks])
        self.problems = {k: v for chunk in chunks for k, v in chunk.problems.items()}
        self.status = self.rows["status"].tolist()

    def content(self):
        """Everything bit for bit, but for the time each frame took."""
        names = [name for name in self.rows.dtype.names if name != "seconds"]
        totals = {name: array.tobytes() for name, array in self.totals.to_arrays().items()}
        rows = [self.rows[name].tobytes() for name in names]
        return self.frames.tobytes(), rows, self.peaks.tobytes(), self.problems, totals


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What is found in 20 frames by this process alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        from odd_sources import OddSource

        folder = tmp_path_factory.mktemp("alone")
        return Found(OddSource("plain", folder), folder / "out", Inline())


def test_peaks_are_where_they_are(alone):
    assert alone.status == ["ok"] * 20
    assert alone.counts.frames == 20
    frames = np.repeat(alone.frames, alone.rows["n_peaks"])
    strong = alone.peaks["photons"] > 20
    np.testing.assert_array_equal(frames[strong], range(20))
    np.testing.assert_allclose(alone.peaks["fs"][strong], 20.5 + np.arange(20), atol=0.3)


@pytest.fixture(scope="module")
def two():
    """Two workers, which one test after another uses."""
    with Processes(2) as executor:
        yield executor


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_results_do_not_depend_on_the_executor(odd, alone, tmp_path, n_workers):
    fractions = {"dtype": np.float32}
    other = Found(odd("plain", **fractions), tmp_path / "other", Inline())
    with Processes(n_workers) as executor:
        assert Found(odd("plain"), tmp_path / "out", executor).content() == alone.content()
        found = Found(odd("plain", **fractions), tmp_path / "floats", executor)
    assert found.content() == other.content()
    assert found.totals.image.image.sum() % 1 > 0


def test_a_bad_frame_costs_only_itself(odd, alone, tmp_path, two):
    found = Found(odd("mixed"), tmp_path / "out", two)
    bad = {1: "truncated", 5: "failed"}
    assert found.status == [bad.get(index, "ok") for index in range(20)]
    assert found.problems[1] == "odd: ends too early"
    good = [index for index in range(20) if index not in bad]
    assert found.rows["score"][good].tolist() == alone.rows["score"][good].tolist()
    from odd_sources import frame_of

    assert found.totals.image.image.sum() == sum(int(frame_of(index).sum()) for index in good)
    most = np.max([frame_of(index) for index in good], axis=0)
    assert np.array_equal(found.totals.maximum.image, most)
    # The failing frame tells what its process was started with: one thread each.
    values = json.loads(found.problems[5].removeprefix("RuntimeError: "))
    assert values == [os.environ.get(name, value) for name, value in ENVIRONMENT.items()]


@pytest.mark.parametrize("kind", ["dies", pytest.param("hangs", marks=pytest.mark.slow)])
def test_a_frame_no_worker_survives_is_given_up_alone(odd, alone, tmp_path, caplog, kind):
    """A worker that hangs is not tried frame by frame: that could take for ever."""
    with Processes(2, hung_after_s=2.0) as executor:
        found = Found(odd(kind), tmp_path / "out", executor)
    lost = range(8, 16) if kind == "hangs" else [13]
    good = [index for index in range(20) if index not in lost]
    assert found.frames.tolist() == list(range(20))
    assert found.status == ["worker-died" if index in lost else "ok" for index in range(20)]
    assert sorted(found.problems) == list(lost)
    assert ("SIGKILL" if kind == "dies" else "idle for 2 s") in found.problems[13]
    assert found.rows["score"][good].tolist() == alone.rows["score"][good].tolist()
    assert caplog.text.count("died (") == (4 if kind == "dies" else 2)
    assert ("trying frames 8 to 15 one by one" in caplog.text) == (kind == "dies")


def test_a_chunk_whose_worker_died_once_is_done_by_another(odd, alone, tmp_path, caplog, two):
    found = Found(odd("dies once"), tmp_path / "out", two)
    assert found.content() == alone.content()
    assert "frames 8 to 15; trying again" in caplog.text


def test_a_frame_without_memory_is_tried_again_by_the_next_job(odd, alone, tmp_path):
    short = Found(odd("large once"), tmp_path / "out", Inline())
    assert [n for n, status in enumerate(short.status) if status != "ok"] == [13]
    assert short.status[13] == "short-memory"
    assert short.problems[13].startswith("memory is short. See the limits")
    with Store(tmp_path / "out") as store:
        store.resume()
        assert [wanting.tolist() for wanting in store.wanting().values()] == [[13]]


def test_what_no_worker_can_do_ends_the_run(odd, tmp_path, two):
    with pytest.raises(HitfinderError, match="odd: cannot be used"):
        Found(odd("cannot work"), tmp_path / "out", two)


@pytest.mark.parametrize("where", ["here", "workers"])
def test_a_stream_needs_no_length(alone, tmp_path, where, two):
    """What has come when there is a pause is worked on; results are those of files."""
    from odd_sources import Stream

    done = []
    stream = Stream(20, pauses=(0, 3, 17))
    executor = Inline() if where == "here" else two
    found = Found(stream, tmp_path / "out", executor, lambda n, note="": done.append(n))
    assert found.content() == alone.content()
    assert sorted(done) == [0, 3, 3, 6, 8]


def test_chunks_of_a_stream_grow_with_it():
    stream = (np.zeros((1, 1)) for _ in range(40_000))
    sizes = [len(chunk.frames) for chunk in chunks_of_stream(stream)]
    assert sum(sizes) == 40_000
    assert sizes[0] == SMALLEST_CHUNK
    assert sizes[:-1] == sorted(sizes[:-1])
    assert sizes[-2] == pytest.approx(40_000 / 512, abs=2)


@pytest.mark.parametrize("n_frames", [1, 7, 8, 60, 5000, 100_000])
def test_chunks_cover_all_frames_in_order(n_frames):
    chunks = list(chunks_of(n_frames))
    assert [chunk.home for chunk in chunks] == [0, *(chunk.frames.stop for chunk in chunks[:-1])]
    assert [chunk.home for chunk in chunks] == [chunk.frames[0] for chunk in chunks]
    assert chunks[-1].frames.stop == n_frames
    sizes = {len(chunk.frames) for chunk in chunks[:-1]}
    assert sizes <= set(range(SMALLEST_CHUNK, LARGEST_CHUNK + 1))
