"""Waiting in tests: as long as it takes, however busy the machine is; what hangs is told."""

import contextlib
import itertools
import os
import socket
import time

LONGEST_S = 300
"""Deadline of whatever must come: long enough that only what hangs reaches it, and shorter than
the time that a test has."""

_OUTGOING_FROM = 32_768
"""From here on Linux gives ports to connections by itself."""
_FIRST_PORT = 10_000


def wait_for(condition, what="nothing came of it", rest=lambda: time.sleep(0.01)):
    """Return what a condition gives once that is true.

    Parameters
    ----------
    condition : callable
        Asked again and again.
    what : str or callable
        What is said if it never comes true.
    rest : callable
        What to do between.
    """
    until = time.monotonic() + LONGEST_S
    while not (found := condition()):
        assert time.monotonic() < until, what() if callable(what) else what
        rest()
    return found


_ports = itertools.count(97 * os.getpid())


def kept_port():
    """Return a free port, never the same, that no connection gets by chance before it is used."""
    for number in itertools.islice(_ports, _OUTGOING_FROM - _FIRST_PORT):
        port = _FIRST_PORT + number % (_OUTGOING_FROM - _FIRST_PORT)
        with socket.socket() as end, contextlib.suppress(OSError):
            end.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
