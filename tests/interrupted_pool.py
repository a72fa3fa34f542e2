"""Two interrupts in a row, to a pool of processes as a terminal sends them; prints what came of it.

In each process a job notes that it began, sleeps, and cleans up slowly.
"""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

from hitfinder import interrupts

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else None


def job(folder, number):
    (folder / f"began{number}").touch()
    try:
        time.sleep(60)
    finally:
        time.sleep(0.5)
        (folder / f"cleaned{number}").touch()


def blocked(connection):
    connection.send(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def first_process_is_held(context):
    """Whether Ctrl-C is held from the very first process, with which others come."""
    ours, theirs = context.Pipe()
    process = context.Process(target=blocked, args=(theirs,))
    with interrupts.held():
        process.start()
    held = ours.recv()
    process.join()
    return held


def main():
    os.setpgrp()
    context = multiprocessing.get_context("spawn")
    print("first held", first_process_is_held(context))
    pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    with interrupts.held():
        for number in range(4):
            pool.submit(interrupts.interruptible, job, FOLDER, number)
        while len(list(FOLDER.glob("began*"))) < 2:
            time.sleep(0.05)
        for _ in range(2):
            os.killpg(0, signal.SIGINT)
            time.sleep(0.2)
        pool.shutdown(wait=True, cancel_futures=True)
        signal.sigtimedwait({signal.SIGINT}, 0)
    print(" ".join(sorted(path.name for path in FOLDER.iterdir())))


if __name__ == "__main__":
    main()
