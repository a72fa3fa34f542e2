"""A run that stops itself: stopped_run.py INPUT OUT SIGNAL FRAMES [GEOM NETWORK=FOLDER...]."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from hitfinder import logs
from hitfinder.cli.run import tell
from hitfinder.job.run import run


def below(process: int) -> list[int]:
    """Return the processes below one: workers are children of its child."""
    told = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [one for child in told.stdout.split() for one in (int(child), *below(int(child)))]


def main() -> None:
    source, out, name, frames, *study = sys.argv[1:]
    options = {"workers": 2}
    if study:
        given = dict(option.split("=") for option in study[1:])
        options = {"geometry": study[0], "finder": "study", "finder_options": given, "workers": 1}

    @contextlib.contextmanager
    def show(what, total):
        done = 0

        def stop(n, note=""):
            nonlocal done
            done += n
            if done >= int(frames):
                print(*below(os.getpid()), flush=True)
                # A terminal sends Ctrl-C to the workers too.
                send = os.killpg if name == "SIGINT" else os.kill
                send(os.getpid(), getattr(signal, name))

        yield stop

    # Shells start what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logs.configure()
    tell(run(source, Path(out), **options, show=show))


if __name__ == "__main__":
    main()
