"""The page of a run beside the work on it, in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.monitor.serve import PageServer

_PATIENCE_S = 5.0


@contextlib.contextmanager
def page_beside(folder: Path, host: str, port: int) -> Iterator[str]:
    """Serve the page of a folder during a block, from a process that ends with this one.

    Parameters
    ----------
    folder : Path
        Where the run will be, or its series.
    host, port
        As for `PageServer`.

    Yields
    ------
    str
        Address of the page.

    Raises
    ------
    ConfigError
        If the address cannot be listened at.
    """
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(
        target=_serve, args=(theirs, folder, host, port), name="page", daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield _address(ours)
    finally:
        ours.close()
        process.join(_PATIENCE_S)
        process.kill()


def _address(pipe: Connection) -> str:
    try:
        told = pipe.recv()
    except EOFError as error:
        raise ConfigError("the server of the page has ended by itself") from error
    if isinstance(told, HitfinderError):
        raise told
    return str(told)


def _serve(pipe: Connection, folder: Path, host: str, port: int) -> None:
    """Serve until the other end of the pipe is closed, be it that its process was killed."""
    # Ctrl-C is for the run, whose page stays until its results are written.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server = PageServer(folder, host, port, wait=True)
    except HitfinderError as error:
        pipe.send(error)
        return
    pipe.send(server.address)
    thread = threading.Thread(target=server.serve_until_stopped, name="page")
    thread.start()
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    server.stop()
    thread.join()
