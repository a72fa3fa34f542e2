import contextlib
import dataclasses
import http.client
import json
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import hitfinder as hf
from hitfinder.geometry.detector import Detector, Panel
from hitfinder.geometry.geometry import Geometry
from hitfinder.io.write import NexusWriter
from monitor.seen import SHOWN, wait_until

pytest.importorskip("uvicorn")

from hitfinder.monitor.serve import PageServer
from waiting import LONGEST_S

SHAPE, N_FRAMES = (200, 220), 60


def write_frames(master: Path) -> Path:
    """Write a master of frames, every other one with spots of one pixel."""
    panel = Panel("p0", 0, 0, SHAPE[1], SHAPE[0], -110.0, -100.0)
    geometry = Geometry(Detector("small", SHAPE, (panel,)), 0.03, 6000.0)
    master.parent.mkdir(parents=True, exist_ok=True)
    with NexusWriter(master, geometry, np.uint16, frames_per_file=20) as writer:
        for index in range(N_FRAMES):
            rng = np.random.default_rng([7, index])
            frame = rng.poisson(0.02, SHAPE).astype(np.uint16)
            n_spots = 4 + index % 5 if index % 2 else 0
            for place in rng.choice(18 * 20, n_spots, replace=False):
                row, column = 10 * (place // 20) + 8 + index % 7, 10 * (place % 20) + 8 + index % 5
                frame[row, column] += rng.integers(12, 30)
            writer.write(frame)
    return master


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Folder of a finished run, whose frames are beside it."""
    place = tmp_path_factory.mktemp("monitor")
    master = write_frames(place / "frames" / "run_master.h5")
    hf.run(master, place / "run", workers=1, hot_pixel_frames=0)
    return place / "run"


def stop_after(n_chunks):
    """Progress that interrupts a run when so many chunks are done."""

    @contextlib.contextmanager
    def show(what, total):
        told = []

        def advance(n, note=""):
            told.append(n)
            if len(told) > n_chunks:
                raise KeyboardInterrupt

        yield advance

    return show


@pytest.fixture
def stopped(finished, tmp_path):
    """Folder of a run that was interrupted after three chunks of eight frames."""
    master = finished.parent / "frames" / "run_master.h5"
    hf.run(master, tmp_path / "run", workers=1, hot_pixel_frames=0, show=stop_after(3))
    return tmp_path / "run"


@dataclasses.dataclass(frozen=True)
class Served:
    """A server and ways to ask it."""

    server: PageServer
    folder: Path

    @property
    def port(self) -> int:
        return urlsplit(self.server.address).port

    def ask(self, path, method="GET", body=None, **headers):
        """Return status, headers and body of the answer; `None` as a header leaves it out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_S)
        sent = {"host": f"127.0.0.1:{self.port}"} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        with contextlib.closing(connection):
            connection.request(method, path, body, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def json(self, path):
        status, _, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)


@contextlib.contextmanager
def serving(folder, host="127.0.0.1", port=0, wait=False):
    server = PageServer(folder, host, port, wait)
    thread = threading.Thread(target=server.serve_until_stopped, daemon=True)
    thread.start()
    try:
        yield Served(server, folder)
    finally:
        server.stop()
        thread.join(LONGEST_S)
        assert not thread.is_alive(), "the server does not end"


@pytest.fixture(scope="module")
def served(finished):
    with serving(finished) as one:
        yield one


@pytest.fixture
def serve():
    """Serve a folder in a block."""
    return serving


@pytest.fixture(scope="module")
def browser():
    """A real browser. Its loop of events is in the way of others, so it ends with the module."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        yield one
        one.close()


@pytest.fixture
def opened(browser):
    """Open the page in a window of its own; what goes wrong there, or leaves it, is an error."""
    windows, wrong = [], []

    def page(address, width=1400, height=900, waits=False, **options):
        size = {"width": width, "height": height}
        own = address.partition("#")[0]
        windows.append(browser.new_context(viewport=size, **options))
        windows[-1].set_default_timeout(1000 * LONGEST_S)
        one = windows[-1].new_page()
        one.on("pageerror", lambda error: wrong.append(str(error)))
        one.on("request", lambda r: r.url.startswith(own) or wrong.append(r.url))
        one.on("console", lambda m: wrong.append(m.text) if "Security" in m.text else None)
        one.goto(address)
        wait_until(one, "!document.getElementById('waiting').hidden" if waits else SHOWN)
        return one

    yield page
    for window in windows:
        window.close()
    assert not wrong
