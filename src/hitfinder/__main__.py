"""The command `hitfinder`, and `python -m hitfinder`."""

import atexit
import os
import sys
import threading


def main() -> None:
    """Run the command line and exit; Ctrl-C while it is loaded ends it as it does later."""
    _open_standard_streams()
    try:
        from hitfinder.cli.main import main as command
    except KeyboardInterrupt:
        print("hitfinder: interrupted", file=sys.stderr)
        sys.exit(130)
    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, int):
            _leave(end.code)
        raise


def _open_standard_streams() -> None:
    """Have what was closed lead to nowhere: else the next file that is opened takes its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+" if name == "stdin" else "w"))  # noqa: SIM115


def _leave(code: int) -> None:
    """End as Python does, but for taking down all modules, which takes long and helps nobody."""
    # Tells pools of threads to end, and waits for all threads that are no daemons.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
