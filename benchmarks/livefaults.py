"""Live runs with all that can go wrong, for a given time; every ledger must close.

A detector is simulated in a process of its own, with faults chosen at random; it, workers of
`hitfinder live` and its main process get `kill -9` at random moments. What a killed run leaves is
finished by `hitfinder finish`. Then the ledger of every series must close, every number must have
one row, and the hits of the table must be the frames of ``hits.cxi``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - lets HDF5 read the frames
import numpy as np
import pyarrow.parquet as pq

from hitfinder.io.ledger import open_ends
from hitfinder.io.simplon.faults import FAULTS
from hitfinder.job.live.finish import finish
from hitfinder.results.following import FollowedStore
from kills import workers_of, write_series
from report import results_header, write_json

N_FRAMES, RATE_HZ = 150, 60
LONGEST_S, KEPT = 240.0, "live_faults.json"
ALARMS = (
    "Traceback",
    "ledger does not close",
    "status cannot be",
    "tables of the run so far cannot",
)
PLACE = ("--photon-energy-ev", 6000, "--camera-length-m", 0.03, "--pixel-size-um", 75)
"""Given, so that a series whose header is lost can be searched."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*arguments: object, log: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "hitfinder", *map(str, arguments)]
    with open(log, "ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)


def kill(process: int, counts: Counter[str], what: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
        counts[what] += 1


def one_round(
    folder: Path, master: Path, rng: random.Random, counts: Counter[str], problems: list[str]
) -> None:
    """One live process, some series with faults, some kills; then everything is checked."""
    folder.mkdir()
    log, address = folder / "log", f"tcp://127.0.0.1:{free_port()}"
    options = ["--finder", "likelihood", "-j", 2, "--max-delay", rng.choice([1, 60]), *PLACE]
    live = start("live", address, "--out", folder / "out", *options, log=log)
    if rng.random() < 0.8:
        _until_ready(live, log)
    number = 1
    for _ in range(rng.randint(1, 3)):
        faults = rng.sample(sorted(FAULTS), rng.randint(0, 3))
        n_series, n_images = rng.randint(1, 2), rng.choice([N_FRAMES, 5 * N_FRAMES])
        given = [option for fault in faults for option in ("--fault", fault)]
        sender = start(
            *("stream-sim", master, "--bind", address, "--rate", RATE_HZ, *given),
            *("--series", n_series, "--first-series", number, "--images", n_images),
            *("--timeout", LONGEST_S),
            *("--protocol", rng.choice(["v1", "stream2"])),
            log=log,
        )
        number += n_series
        counts.update(faults)
        began = time.monotonic()
        while sender.poll() is None and time.monotonic() - began < LONGEST_S:
            time.sleep(rng.uniform(0.2, 4))
            chance = rng.random()
            if chance < 0.15 and (team := workers_of(live.pid)):
                kill(rng.choice(team), counts, "killed workers")
            elif chance < 0.2:
                kill(sender.pid, counts, "killed senders")
            elif chance < 0.23 and (any(folder.glob("out/*/live.json")) or chance < 0.205):
                # Mostly when there is something to lose.
                kill(live.pid, counts, "killed live")
            if live.poll() is not None:
                kill(sender.pid, counts, "senders ended")
        if sender.poll() is None:
            problems.append(f"{folder}: the sender hangs")
            kill(sender.pid, counts, "senders ended")
        sender.wait()
        if live.poll() is not None:
            break
    _end(live, folder, rng, counts, problems)
    said = log.read_text(errors="replace")
    problems += [
        f"{folder}: {said[said.index(alarm) :][:4000]}" for alarm in ALARMS if alarm in said
    ]
    for series in sorted(folder.glob("out/*/")):
        counts["series"] += 1
        problems += check(series, counts)


def _until_ready(live: subprocess.Popen, log: Path) -> None:
    """Wait until the workers have started; senders that come before have to wait for them."""
    until = time.monotonic() + LONGEST_S
    while b"are ready" not in log.read_bytes() and live.poll() is None and time.monotonic() < until:
        time.sleep(0.1)


def _end(
    live: subprocess.Popen,
    folder: Path,
    rng: random.Random,
    counts: Counter[str],
    problems: list[str],
) -> None:
    """End a live process that is still there; finish what was killed."""
    if live.poll() is None:
        time.sleep(rng.uniform(0, 3))
        live.send_signal(signal.SIGINT)
    try:
        live.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        problems.append(f"{folder}: live hangs")
        os.killpg(live.pid, signal.SIGKILL)
        live.wait()
    # Ctrl-C that comes while Python starts ends it by the signal itself; a shell says 130 of both.
    if live.returncode not in (0, 1, 130, -signal.SIGINT, -signal.SIGKILL):
        problems.append(f"{folder}: live ended with {live.returncode}")
    for series in sorted(folder.glob("out/*/")):
        if (series / ".parts").exists():
            rows = [n for chunk in FollowedStore(series).fresh() for n in chunk.frames.tolist()]
            if not (series / ".parts" / "run.json").exists():
                counts["killed before the first frame"] += 1
                continue
            done = finish(series)
            counts["finished later"] += 1
            if len({*rows}) != len(rows) or not {*rows} <= {*range(done.summary.frames)}:
                problems.append(f"{series}: rows that were on disk are lost or doubled")


def check(series: Path, counts: Counter[str]) -> list[str]:
    """Return what is wrong with the folder of a series."""
    if not (series / "run.json").exists():
        if not (series / ".parts").exists():
            # Killed between making the folder and its first file.
            nothing = not any(series.iterdir())
            counts["killed before the first file"] += nothing
            return [] if nothing else [f"{series}: neither run.json nor .parts"]
        return []
    about = json.loads((series / "run.json").read_bytes())
    ledger, table = about["live"]["ledger"], pq.read_table(series / "frames.parquet")
    wrong = [f"{series}: {end}" for end in open_ends(ledger)]
    statuses = table["status"].to_pylist()
    counts["rows"] += len(statuses)
    counts.update(f"rows {status}" for status in statuses)
    if table["event"].to_pylist() != [f"//{n}" for n in range(len(statuses))]:
        wrong.append(f"{series}: the numbers of the rows are not 0, 1, 2, ...")
    if statuses.count("ok") != ledger["processed"]:
        wrong.append(f"{series}: {statuses.count('ok')} rows, {ledger['processed']} processed")
    passed, left = statuses.count("passed-over"), statuses.count("pending")
    if left or passed > ledger["passed_over"]:
        wrong.append(f"{series}: {left} rows pending, {passed} of {ledger['passed_over']} passed")
    if ledger["waiting"]:
        wrong.append(f"{series}: frames wait for ever")
    hits = np.flatnonzero(table["hit"].to_pylist())
    with h5py.File(series / "hits.cxi") as file:
        numbers = file["/entry_1/result_1/frame"][()]
        whole = all(frame.any() for frame in file["/entry_1/data_1/data"])
    if numbers.tolist() != hits.tolist() or not whole:
        wrong.append(f"{series}: hits.cxi does not hold the hits of the table")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", action="store_true", help="add what was counted to what results/ has of it"
    )
    arguments = parser.parse_args()
    counts, problems = Counter[str](), list[str]()
    began, seed = time.monotonic(), arguments.seed
    with tempfile.TemporaryDirectory() as name:
        master = write_series(Path(name), N_FRAMES)
        while time.monotonic() - began < 60 * arguments.minutes:
            folder = Path(name) / f"round{seed}"
            one_round(folder, master, random.Random(seed), counts, problems)
            counts["rounds"] += 1
            seed += 1
            print(seed, dict(counts), problems, flush=True)
    minutes, seeds = (time.monotonic() - began) / 60, [[arguments.seed, seed - 1]]
    kept = Path(__file__).parent / "results" / KEPT
    if arguments.keep and kept.exists():
        before = json.loads(kept.read_text())
        minutes, seeds = minutes + before["minutes"], [*before["seeds"], *seeds]
        counts.update(before["counts"])
        problems[:0] = before["problems"]
    told = {
        **results_header([]),
        "minutes": round(minutes, 1),
        "seeds": seeds,
        "counts": dict(sorted(counts.items())),
        "problems": problems,
    }
    if arguments.keep:
        write_json(KEPT, told)
    print(json.dumps(told, indent=1))
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
