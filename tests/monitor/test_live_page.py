"""The page beside a real live run, which a simulated detector feeds, in a real browser."""

import itertools
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

import hitfinder as hf
from monitor.seen import SHOWN, brightest_near, circles, frame_shown, tiles, wait_until
from waiting import LONGEST_S, wait_for

pytest.importorskip("zmq")

N_IMAGES, RATE_HZ = 400, 40.0
HOLDS = 100, 250
"""Images after which the detector waits, so that what is looked at stays as it is."""


class LiveRun:
    """``hitfinder live --page`` in a process of its own, and a detector that is started later."""

    def __init__(self, master, out):
        from hitfinder.io.simplon.simulated import SimulatedDetector, StreamSender, send_stream

        self.out, self._sender = out, StreamSender("tcp://127.0.0.1:*")
        detector = SimulatedDetector("stream2", RATE_HZ, n_images=N_IMAGES)
        command = [sys.executable, "-m", "hitfinder", "live", self._sender.address]
        options = ["--out", out, "--stop-at-end", "--page", "0", "--max-delay", "600", "-j", "1"]
        # The frames come over and over, and so does what is in them.
        settings = out.with_name("settings.toml")
        settings.write_text("hot_pixel_frames = 0\n")
        finder = ["--finder", "likelihood", "--config", str(settings)]
        self._process = subprocess.Popen(
            [*command, *map(str, options), *finder],
            env=os.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = re.search(r"http\S+", self._process.stdout.readline())[0]

        n_sent, self._go_on = itertools.count(1), threading.Semaphore(0)

        def hold(n):
            if next(n_sent) in HOLDS:
                self._go_on.acquire()

        def send():
            with hf.open(master) as source:
                send_stream(source, detector, self._sender, timeout_s=LONGEST_S, advance=hold)

        self._thread = threading.Thread(target=send, daemon=True)

    def start(self):
        self._thread.start()

    def go_on(self):
        self._go_on.release()

    def wait(self):
        self._thread.join(LONGEST_S)
        self._process.communicate(timeout=LONGEST_S)
        assert self._process.returncode == 0

    def close(self):
        self._process.kill()
        self._process.wait()
        self._sender.close(linger_ms=0)


@pytest.fixture
def running(finished, tmp_path):
    run = LiveRun(finished.parent / "frames" / "run_master.h5", tmp_path / "out")
    yield run
    run.close()


def count(page, label):
    """Return the number of a tile whose words begin so."""
    found = next(value for words, value in tiles(page).items() if words.startswith(label))
    return int(re.sub(r"\D", "", found))


def wait_for_frames(page, n):
    """Wait until so many are processed, of which the page tells then."""
    wait_for(lambda: count(page, "frames processed") == n, rest=lambda: page.wait_for_timeout(50))


@pytest.mark.slow
def test_the_page_from_before_the_first_frame_to_the_end_of_a_run(running, serve, opened):
    page = opened(running.address, waits=True)
    assert page.inner_text("#state") == "waiting"
    assert "No frame has come yet" in page.inner_text("#waiting")
    running.start()
    wait_until(page, "document.getElementById('state').innerText === 'running'")
    wait_until(page, SHOWN + " && document.querySelectorAll('.peak').length > 3")

    # Circles lie on the peaks in the picture of a hit that has just come.
    wait_for_frames(page, HOLDS[0])
    before = frame_shown(page)
    page.keyboard.press("n" if before < HOLDS[0] // 2 else "p")
    wait_until(page, f"document.getElementById('number').value !== '{before}'")
    frame_shown(page)
    page.uncheck("#show-rings")
    scale = page.evaluate("Math.min(canvas.clientWidth / 220, canvas.clientHeight / 200)")
    drawn = circles(page)
    assert len(drawn) > 2
    for x, y in drawn:
        assert np.allclose(brightest_near(page, x, y, 3 * scale), (x, y), atol=0.75 * scale)

    # A threshold of the reader holds for the frames that come next.
    page.fill("#least", "200")
    page.keyboard.press("Enter")
    wait_until(page, "!document.getElementById('again').hidden")
    running.go_on()
    wait_for_frames(page, HOLDS[1])
    told_hits = count(page, "hits")

    # A second reader joins late, and sees all from the first frame on, by the run's own threshold.
    late = opened(running.address, 390, 844)
    wait_until(late, "document.getElementById('state').innerText === 'running'")
    assert count(late, "frames processed") == HOLDS[1]
    assert late.evaluate("document.documentElement.scrollWidth") <= 390
    shown = frame_shown(late)

    running.go_on()
    running.wait()
    for one in (page, late):
        wait_until(one, "document.getElementById('state').innerText === 'server not reached'")
    frames = pq.read_table(running.out / "frames.parquet")
    score, hit = frames["score"].to_numpy(), frames["hit"].to_numpy()
    assert told_hits == (score[: HOLDS[1]] >= 200).sum() < hit[: HOLDS[1]].sum()

    # The server is back: both readers catch up, and say what the tables say.
    port = int(running.address.rstrip("/").rpartition(":")[2])
    with serve(running.out, port=port):
        for one in (page, late):
            wait_until(one, "document.getElementById('state').innerText === 'complete'")
            wait_until(one, f"document.querySelector('#numbers').innerText.includes('{N_IMAGES}')")
        assert count(page, "hits") == (score >= 200).sum()
        assert count(late, "hits") == hit.sum()
        assert count(late, "frames processed") == N_IMAGES
        assert frame_shown(late) == shown
        n_peaks = np.median(frames["n_peaks"].to_numpy()[hit])
        assert float(tiles(late)["peaks in the median hit"]) == n_peaks
