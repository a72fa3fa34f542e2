"""A run that stops itself: python stopped_run.py MASTER OUT SIGNAL FRAMES."""

import contextlib
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from hitfinder import logs
from hitfinder.cli.run import tell
from hitfinder.run.job import run_job
from hitfinder.run.settings import JobSettings


def main() -> None:
    master, out, name, frames = sys.argv[1:]

    @contextlib.contextmanager
    def show(what, total):
        done = 0

        def stop(n, note=""):
            nonlocal done
            done += n
            if done >= int(frames):
                print(*(child.pid for child in multiprocessing.active_children()), flush=True)
                # A terminal sends Ctrl-C to the workers too.
                send = os.killpg if name == "SIGINT" else os.kill
                send(os.getpid(), getattr(signal, name))

        yield stop

    # Shells start what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logs.configure()
    tell(run_job([master], Path(out), JobSettings(workers=2), show=show))


if __name__ == "__main__":
    main()
