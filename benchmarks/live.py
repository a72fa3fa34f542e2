"""What a live run costs beside `hitfinder run` on the same frames, and how soon it tells.

Other programs may share the machine, so costs are processor time, of a longer job less that of a
shorter one, `run` and `live` taking turns; rates follow from them. Parts: `cost` (processor time of
a frame, by process, with one worker and with two), `pieces` (what receiving, unpacking and so on
cost by themselves), `delay` (from the moment a frame is sent until ``live-frames.json`` has it, and
until a reader of the page, who asks as its scripts do, has a point for it in the chart), `memory`
(of each process over many small frames), `first` (until the first frame has a result).
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hitfinder.geometry.geometry import Geometry
from hitfinder.io.datafile import FramePacker
from hitfinder.io.memory import ArraySource
from hitfinder.io.simplon.compose import COMPOSERS
from hitfinder.io.simplon.intake import Intake
from hitfinder.io.simplon.simulated import StreamSender, announcement
from hitfinder.io.write import NexusWriter
from report import results_header, write_json

LARGE, SMALL = (2167, 2070), (96, 128)
PHOTONS = 0.0022
"""Photons a pixel of one shot: 10⁴ on an EIGER 4M (6 keV, 0.15 m, 10 µm of water)."""

N_WARM, MOST_DISTINCT = 20, 1000
"""Frames of a job that only compiles; frames that share nothing, before they come again. What came
again sooner would be learnt as static."""

SHORT, LONG = 500, 1000
"""Frames of the jobs whose difference is taken: by the first, most that is static is learnt."""

AHEAD = 200
HITFINDER = (sys.executable, "-m", "hitfinder")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def frames_of(shape: tuple[int, int], n: int) -> Iterator[np.ndarray]:
    """Yield single-shot frames, every fifth with Bragg peaks."""
    rng = np.random.default_rng(7)
    mean = (PHOTONS if shape == LARGE else 0.05) * shape[0] * shape[1]
    for number in range(n):
        frame = np.zeros(shape, np.uint16)
        np.add.at(frame.reshape(-1), rng.integers(0, frame.size, rng.poisson(mean)), 1)
        if number % 5 == 0:
            frame[rng.integers(2, shape[0], 30), rng.integers(2, shape[1], 30)] += 20
        yield frame


class Detector:
    """Sends packed frames, over and over if they are many, as fast as it may."""

    def __init__(self, shape: tuple[int, int], n: int) -> None:
        self.like, self.shape = np.zeros(shape, np.uint16), shape
        packer = FramePacker(shape, self.like.dtype)
        self.packed = [packer.pack(frame) for frame in frames_of(shape, min(n, MOST_DISTINCT))]
        self.sender = StreamSender("tcp://127.0.0.1:*")
        self.sent_s: dict[int, float] = {}

    def messages(self, n: int, series: int = 1) -> Iterator[list[bytes]]:
        """Compose a series."""
        composer = COMPOSERS["stream2"](0.001)
        said = announcement(ArraySource(self.like[None]), n, 0.001)
        place = {"photon_energy_ev": 6000.0, "camera_length_m": 0.15}
        center = self.shape[1] / 2, self.shape[0] / 2
        said = type(said)(**{**vars(said), **place, "beam_center": center})
        yield composer.start(series, said, "all", "")
        for number in range(n):
            packed = self.packed[number % len(self.packed)]
            yield composer.image(series, number, self.like, packed)
        yield composer.end(series)

    def send(self, n: int, may_go: Callable[[int], bool], rate_hz: float | None) -> None:
        """Send a series, a frame when it may go."""
        due = 0.0
        for number, parts in enumerate(self.messages(n), -1):
            while not may_go(number):
                time.sleep(0.02)
            if rate_hz and number >= 0:
                due = max(due, time.monotonic()) if number == 0 else due + 1 / rate_hz
                time.sleep(max(0.0, due - time.monotonic()))
            assert self.sender.send(parts, 300), "nobody takes the frames"
            self.sent_s[number] = time.monotonic()

    def close(self) -> None:
        """Stop listening."""
        self.sender.close(linger_ms=0)


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, in s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def below(pid: int) -> list[int]:
    """Return the processes below one: workers are children of its child."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [one for line in found.stdout.split() for one in (int(line), *below(int(line)))]


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def whole(process: subprocess.Popen) -> float:
    """Wait for a process; return the processor time of it and its children, in s."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{process.args} ended with {process.returncode}"
    return usage.ru_utime + usage.ru_stime


def started(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.Popen:
    """Start the command."""
    command = [*HITFINDER, *map(str, arguments)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment or os.environ)


def read(path: Path) -> dict[str, Any]:
    """Read a file of the status; nothing if it is not there yet."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return {}


def run_live(
    detector: Detector,
    folder: Path,
    n: int,
    *options: object,
    rate_hz: float | None = None,
    before: Callable[[subprocess.Popen], object] = lambda process: None,
    environment: dict[str, str] | None = None,
    page: int | None = None,
) -> dict[str, Any]:
    """Run a series live; return processor time by process, memory and when frames were told.

    Memory is that of the main process, the worker, and the server of the page if it is given.
    """
    shutil.rmtree(folder, ignore_errors=True)
    detector.sent_s.clear()
    process = started(
        *("live", detector.sender.address, "--out", folder, "--stop-at-end", "--max-delay", 900),
        *("--memory", 4000, *options),
        environment=environment,
    )
    before(process)
    done = {"processed": 0}
    sending = threading.Thread(
        target=detector.send,
        args=(n, lambda number: number < done["processed"] + AHEAD, rate_hz),
    )
    sending.start()
    told_s: dict[int, float] = {}
    memory: list[tuple[int, float, float, float]] = []
    cpu: dict[str, float] = {}
    while _is_alive(process.pid):
        live = read(folder / "live.json")
        done["processed"] = live.get("counts", {}).get("processed", 0)
        now = time.monotonic()
        for number in read(folder / "live-frames.json").get("number", []):
            told_s.setdefault(number, now)
        with contextlib.suppress(OSError, IndexError):
            team = below(process.pid)
            state = live.get("state", "running")
            if state == "running":
                cpu = {"main": cpu_s(process.pid), "workers": sum(map(cpu_s, team))}
                workers = max(map(resident_mb, team), default=0.0)
                server = 0.0 if page is None else resident_mb(page)
                memory.append((done["processed"], resident_mb(process.pid), workers, server))
        if live.get("state", "running") != "running":
            break
        time.sleep(0.05)
    sending.join()
    total = whole(process)
    live = read(folder / "live.json")
    return {"total": total, **cpu, "memory": memory, "told_s": told_s, "live": live}


class PageReader:
    """Reads the page of a folder as its scripts do: at each event, what is known of all frames.

    Parameters
    ----------
    folder : Path
        The folder, which may come later.

    Attributes
    ----------
    told_s : dict of int to float
        When each frame was there.
    process : subprocess.Popen
        The server.
    """

    def __init__(self, folder: Path) -> None:
        self.told_s: dict[int, float] = {}
        self.process = subprocess.Popen(
            [*HITFINDER, "monitor", str(folder), "--wait", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._host = self.process.stdout.readline().split("//")[1].split("/")[0]
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        events = http.client.HTTPConnection(self._host)
        events.request("GET", "/api/events")
        answers = http.client.HTTPConnection(self._host)
        with contextlib.suppress(OSError, http.client.HTTPException):
            for line in events.getresponse():
                if not line.startswith(b"data:") or json.loads(line[5:])["state"] == "waiting":
                    continue
                for path in ("about", "profile", "summary"):
                    answers.request("GET", f"/api/{path}", headers={"accept-encoding": "gzip"})
                    answer = answers.getresponse()
                    body = answer.read()
                if answer.status == 200:
                    packed = answer.getheader("content-encoding") == "gzip"
                    told = json.loads(gzip.decompress(body) if packed else body)
                    now = time.monotonic()
                    for number in told["points"]["frame"]:
                        self.told_s.setdefault(number, now)

    def close(self) -> None:
        """End the server, and so the reader."""
        self.process.terminate()
        self.process.wait()
        self._thread.join()


def run_files(master: Path, folder: Path, n: int, workers: int) -> dict[str, float]:
    """Run on files; return processor time, in all and of the workers, in s."""
    shutil.rmtree(folder, ignore_errors=True)
    process, used = started("run", master, "--out", folder, "-j", workers, "--limit", n), 0.0
    while _is_alive(process.pid):
        with contextlib.suppress(OSError):
            used = max(used, sum(map(cpu_s, below(process.pid))))
        time.sleep(0.05)
    return {"total": whole(process), "workers": used}


def cost(folder: Path, turns: int, numbers: list[int]) -> dict[str, Any]:
    """Processor time of a frame, of `run` and `live` in turn."""
    geometry = Geometry.flat(LARGE, 75e-6, camera_length_m=0.15, photon_energy_ev=6000.0)
    master = folder / "frames_master.h5"
    with NexusWriter(master, geometry, np.uint16) as writer:
        for frame in frames_of(LARGE, LONG):
            writer.write(frame)
    detector, found = Detector(LARGE, LONG), dict[str, Any]()
    # What is compiled once is no part of the cost.
    run_files(master, folder / "run", N_WARM, 1)
    run_live(detector, folder / "live", N_WARM, "-j", 1)
    for workers in numbers:
        rows: dict[str, list[float]] = {}
        for _ in range(turns):
            jobs: dict[str, list[dict[str, Any]]] = {"run": [], "live": []}
            for n in (SHORT, LONG):
                jobs["run"].append(run_files(master, folder / "run", n, workers))
                jobs["live"].append(run_live(detector, folder / "live", n, "-j", workers))
            for name, job, key in (
                ("run", "run", "total"),
                ("workers of run", "run", "workers"),
                ("live", "live", "total"),
                ("main", "live", "main"),
                ("workers", "live", "workers"),
            ):
                less, more = (one[key] for one in jobs[job])
                rows.setdefault(name, []).append((more - less) / (LONG - SHORT))
            print(workers, rows, flush=True)
        ms = {name: round(1e3 * float(np.median(values)), 2) for name, values in rows.items()}
        found[f"{workers} workers" if workers > 1 else "1 worker"] = {
            "ms_per_frame": ms,
            "live_over_run": round(ms["live"] / ms["run"], 3),
            "cores_for_1_khz": round(ms["live"], 1),
            "most_hz_of_one_main_process": round(1e3 / ms["main"]),
        }
    detector.close()
    return found


def pieces(n: int = 40) -> dict[str, float]:
    """Processor time of the steps of a frame by themselves, in ms."""
    detector = Detector(LARGE, n)
    messages = list(detector.messages(n))[:-1]
    intake, found = Intake("stream2"), dict[str, float]()
    intake.take(messages[0])
    Intake("stream2").take(messages[1])

    def timed(name: str, what: Callable[[], object]) -> None:
        began = time.process_time()
        what()
        found[name] = round(1e3 * (time.process_time() - began) / n, 3)

    timed("decode and sort a message", lambda: [intake.take(parts) for parts in messages[1:]])
    series = intake.next_series()
    assert series is not None
    series.end("all is there")
    images = []
    while (batch := series.batch(8)) is not None:
        images += [one.image for one in batch.images.values() if not isinstance(one.image, str)]
    images[0].unpacked()  # compiles
    timed("unpack", lambda: [image.unpacked() for image in images])
    detector.close()
    found["megabytes_per_frame"] = round(len(messages[1][0]) / 1e6, 3)
    return found


def delay(folder: Path, n: int, rate_hz: float) -> dict[str, Any]:
    """Time from sending a frame until the status, and the page, tell of it."""
    detector, reader = Detector(LARGE, n), PageReader(folder / "delay")
    out = run_live(
        *(detector, folder / "delay", n, "-j", 1),
        rate_hz=rate_hz,
        before=lambda process: _until_idle(process, 600.0),
    )
    reader.close()
    detector.close()

    def waits(told_s: dict[int, float]) -> dict[str, float]:
        waited = [told - detector.sent_s[k] for k, told in told_s.items() if k >= n // 4]
        middle, most = np.percentile(waited, [50, 99])
        return {
            "frames": len(waited),
            "median_s": round(float(middle), 2),
            "p99_s": round(float(most), 2),
        }

    return {
        "frames_per_second": rate_hz,
        "the result is there": out["live"]["delays_s"],
        "live-frames.json tells": waits(out["told_s"]),
        "the page shows": waits(reader.told_s),
    }


def memory(folder: Path, n: int) -> dict[str, Any]:
    """Resident memory over many small frames, with a reader of the page."""
    detector, reader = Detector(SMALL, n), PageReader(folder / "memory")
    out = run_live(
        *(detector, folder / "memory", n, "-j", 1, "--finder", "likelihood"),
        page=reader.process.pid,
    )
    reader.close()
    rows = out["memory"]
    at = [min(rows, key=lambda row: abs(row[0] - share * n)) for share in np.linspace(0.1, 1, 10)]
    detector.close()
    return {
        "frames": out["live"]["ledger"]["processed"],
        "at_frames": [row[0] for row in at],
        "main_mb": [round(row[1]) for row in at],
        "worker_mb": [round(row[2]) for row in at],
        "page_server_mb": [round(row[3]) for row in at],
    }


def first(folder: Path) -> dict[str, Any]:
    """Wall time until the first frame has a result: sent at once, and when workers are ready."""
    detector, found = Detector(LARGE, 30), dict[str, Any]()
    for cold in (False, True):
        with tempfile.TemporaryDirectory() as empty:
            more = {"NUMBA_CACHE_DIR": empty} if cold else {}
            for name, wait_s in (("sent at once", 0.0), ("when workers are ready", 3600.0)):
                if cold and wait_s:
                    continue
                began = time.monotonic()
                out = run_live(
                    *(detector, folder / "first", 30, "-j", 1),
                    before=lambda process, wait_s=wait_s: _until_idle(process, wait_s),
                    environment={**os.environ, **more},
                )
                since = detector.sent_s[0] if wait_s else began
                title = f"{name}, {'nothing compiled yet' if cold else 'compiled before'}"
                found[title] = {
                    "wall_s": round(min(out["told_s"].values()) - since, 1),
                    "processor_s": round(out["total"], 1),
                }
                print(title, found[title], flush=True)
    detector.close()
    return found


def _until_idle(process: subprocess.Popen, longest_s: float) -> None:
    """Wait until the worker is there and nothing uses the processor any more."""
    until, before = time.monotonic() + longest_s, -1.0
    while time.monotonic() < until:
        now = sum(map(cpu_s, [process.pid, *below(process.pid)]))
        if below(process.pid) and now - before < 0.05:
            return
        before = now
        time.sleep(1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("cost", "pieces", "delay", "memory", "first")
    parser.add_argument("--only", choices=parts, action="append", help="a part; others stay")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--workers", type=int, action="append", help="of the cost: 1 and 2")
    parser.add_argument("--frames", type=int, default=100_000, help="small frames, for memory")
    parser.add_argument("--rate", type=float, default=10.0, help="frames in a second, for delays")
    arguments = parser.parse_args()
    result = Path(__file__).parent / "results" / "live.json"
    found = json.loads(result.read_text()) if result.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure: dict[str, Callable[[], dict[str, Any]]] = {
            "cost": lambda: cost(folder, arguments.turns, arguments.workers or [1, 2]),
            "pieces": pieces,
            "delay": lambda: delay(folder, 200, arguments.rate),
            "memory": lambda: memory(folder, arguments.frames),
            "first": lambda: first(folder),
        }
        for part in arguments.only or parts:
            found[part] = {
                **results_header([]),
                "load": os.getloadavg()[0],
                "found": measure[part](),
            }
            print(json.dumps(found[part]["found"], indent=1), flush=True)
            write_json("live.json", found)


if __name__ == "__main__":
    main()
