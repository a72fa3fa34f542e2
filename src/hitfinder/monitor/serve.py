"""Run the server of the page."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from hitfinder.errors import ConfigError
from hitfinder.monitor.app import MonitorApp
from hitfinder.monitor.guard import QUERY, is_local
from hitfinder.monitor.shown import ShownRun

_PATIENCE_S = 2
"""How long answers may take to end once the server is to end."""


class PageServer(uvicorn.Server):
    """Serves the page of a run. It listens from the start, and answers while it runs.

    Parameters
    ----------
    folder : Path
        Folder of the run, or of the series of ``hitfinder live``, the newest of which is shown.
    host : str
        Address to listen at. One that other machines reach needs a token, which is made up.
    port : int
        Port; 0 for any that is free.
    wait : bool
        Whether the run may begin later.

    Raises
    ------
    ConfigError
        If the folder holds no run and none is waited for, or the address cannot be listened at.

    Attributes
    ----------
    address : str
        Of the page, with the token if there is one.
    shown : ShownRun
        The run.
    """

    def __init__(self, folder: Path, host: str, port: int, wait: bool = False) -> None:
        token = None if is_local(host) else secrets.token_urlsafe(24)
        self.shown = ShownRun(folder, wait)
        self._app = MonitorApp(self.shown, token)
        self._listening = _listening(host, port)
        address = _address(host, self._listening.getsockname()[1])
        self.address = address if token is None else f"{address}?{QUERY}={token}"
        config = uvicorn.Config(
            self._app.starlette,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE_S,
        )
        super().__init__(config)

    def serve_until_stopped(self) -> None:
        """Answer until `stop`, or Ctrl-C."""
        with contextlib.closing(self._listening):
            self.run([self._listening])

    def stop(self) -> None:
        """Have it end; another thread may call this."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, and the streams of events first, which would not by themselves."""
        self._app.end()
        await super().shutdown(sockets)


def serve(
    folder: Path, host: str, port: int, ready: Callable[[str], None], wait: bool = False
) -> None:
    """Show the page of a run until Ctrl-C.

    Parameters
    ----------
    folder, host, port, wait
        As for `PageServer`.
    ready : callable
        Told the address of the page.

    Raises
    ------
    ConfigError
        As `PageServer` does.
    """
    server = PageServer(folder, host, port, wait)
    ready(server.address)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_until_stopped()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            hint = "Choose another one, or 0 for any that is free."
            raise ConfigError(f"port {port} is in use", where, hint) from error
        raise ConfigError(f"cannot listen here ({error.strerror})", where) from error


def _address(host: str, port: int) -> str:
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
