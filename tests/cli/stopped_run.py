"""A run that stops itself: stopped_run.py INPUT OUT SIGNAL FRAMES [GEOM NETWORK=FOLDER...]."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from hitfinder import logs
from hitfinder.cli.run import tell
from hitfinder.experiment.settings import GeometrySettings
from hitfinder.finding.settings import FinderSettings
from hitfinder.run.job import run_job
from hitfinder.run.settings import JobSettings


def main() -> None:
    source, out, name, frames, *study = sys.argv[1:]
    settings = JobSettings(workers=2)
    if study:
        options = dict(option.split("=") for option in study[1:])
        finder = FinderSettings(finder="study", options=options)
        settings = JobSettings(GeometrySettings(study[0]), finder, workers=1)

    @contextlib.contextmanager
    def show(what, total):
        done = 0

        def stop(n, note=""):
            nonlocal done
            done += n
            if done >= int(frames):
                children = ["pgrep", "-P", str(os.getpid())]
                print(subprocess.run(children, capture_output=True, text=True).stdout, flush=True)
                # A terminal sends Ctrl-C to the workers too.
                send = os.killpg if name == "SIGINT" else os.kill
                send(os.getpid(), getattr(signal, name))

        yield stop

    # Shells start what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logs.configure()
    tell(run_job([source], Path(out), settings, show=show))


if __name__ == "__main__":
    main()
