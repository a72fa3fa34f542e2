"""A long run in minutes: what page and server hold does not grow with its frames."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.results.chunk import ChunkResult
from hitfinder.results.following import FollowedStore
from hitfinder.results.store import Store
from monitor.seen import tiles, wait_until

N_FRAMES, FRAMES_A_CHUNK = 100_000, 480
MEGABYTE = 1e6


@pytest.fixture
def coming(stopped, finished, tmp_path):
    """A live run that has just begun, and what it may find in a chunk of frames."""
    followed = FollowedStore(stopped)
    known, totals = list(followed.chunks()), followed.totals()
    folder = tmp_path / "live"
    (folder / "shards").mkdir(parents=True)
    told = json.loads((finished / "run.json").read_text())
    live = {name: told[name] for name in ("geometry", "hits_from")} | {"state": "running"}
    (folder / "live.json").write_text(json.dumps(live))
    shutil.copy(finished / "hits.geom", folder)
    frames = finished.parent / "frames" / "run_master.h5"
    hf.run(frames, tmp_path / "kept", workers=1, hot_pixel_frames=0, copy_frames=True)
    shutil.copy(tmp_path / "kept" / "hits.cxi", folder / "shards" / "hits-000000000.cxi")
    times = FRAMES_A_CHUNK // sum(len(chunk.frames) for chunk in known)
    rows = np.tile(np.concatenate([chunk.rows for chunk in known]), times)
    peaks = np.tile(np.concatenate([chunk.peaks for chunk in known]), times)

    def chunk(first):
        numbers = np.arange(first, first + len(rows))
        return ChunkResult(numbers, rows, peaks, totals=totals)

    return folder, chunk


class Memory:
    """What the page's process and its scripts hold, in bytes."""

    def __init__(self, browser, page):
        self._browser, self._page = browser, page.context.new_cdp_session(page)
        self._page.send("Performance.enable")

    @property
    def scripts(self):
        self._page.send("HeapProfiler.collectGarbage")
        told = self._page.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in told if one["name"] == "JSHeapUsedSize")

    @property
    def process(self):
        """The largest process of a page, with its part of what it shares with others."""
        told = self._browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        pages = [one["id"] for one in told["processInfo"] if one["type"] == "renderer"]
        return max(shared_out(pid) for pid in pages)


def shared_out(pid):
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    return 0


@pytest.mark.slow
def test_a_hundred_thousand_frames_take_no_more_memory_than_a_few(browser, opened, coming, serve):
    folder, chunk = coming
    held = []
    with Store(folder) as store:
        store.add(0, chunk(0))
        with serve(folder) as served:
            page = opened(served.server.address)
            memory = Memory(browser, page)
            # The picture of all frames is fetched anew whenever there are more.
            page.check("#sum")
            for number, first in enumerate(range(FRAMES_A_CHUNK, N_FRAMES, FRAMES_A_CHUNK), 2):
                store.add(first, chunk(first))
                if number % 4 == 0:
                    page.wait_for_timeout(1000)
                if number % 50 == 0:
                    held.append((memory.scripts, memory.process))
            n_frames = first + FRAMES_A_CHUNK
            grouped = f"{n_frames // 1000}\\u202f{n_frames % 1000:03d}"
            said = "document.querySelector('#numbers').innerText"
            wait_until(page, f"{said}.includes('{grouped}')")
            assert tiles(page)["hits"] == str(int(store.counts.hits))
            sent = page.evaluate("performance.getEntries().map(e => e.transferSize || 0)")
    scripts, process = np.array(held).T
    assert scripts[-1] - scripts[0] < 2 * MEGABYTE
    assert process[-1] < 200 * MEGABYTE
    assert max(sent) < MEGABYTE
