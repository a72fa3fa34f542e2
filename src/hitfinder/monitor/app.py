"""What the server answers: the page, what was found, and frames by their number."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hitfinder.errors import ConfigError, HitfinderError, SourceError
from hitfinder.monitor.decision import Decision
from hitfinder.monitor.guard import Guard
from hitfinder.monitor.packing import Packed
from hitfinder.monitor.prometheus import CONTENT_TYPE, RunMetrics
from hitfinder.monitor.shown import ShownRun

log = logging.getLogger(__name__)

UPLOT = "uPlot-1.6.32"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".txt": "text/plain"}
PAGE = (
    *("index.html", "style.css", "main.js", "server.js", "cards.js", "charts.js", "viewer.js"),
    *("picture.js", "colours.js", "words.js", "notes.js", "live.js", "warnings.js"),
    *(f"vendor/{UPLOT}.min.js", f"vendor/{UPLOT}.min.css", "vendor/uPlot-LICENSE.txt"),
)
"""Everything that the page is made of; nothing else of the package is served."""

POLL_S, KEEP_ALIVE_S = 1.0, 15.0
"""How often the folder is looked at, and how often a reader hears that the server is there."""

FRESH = {"cache-control": "no-store"}


class MonitorApp:
    """The server's side of the page of a run.

    Parameters
    ----------
    shown : ShownRun
        The run.
    token : str, optional
        What a reader must know; without it only this machine is answered.
    """

    def __init__(self, shown: ShownRun, token: str | None = None) -> None:
        self.shown = shown
        self._boot = secrets.token_hex(4)
        self._changed = asyncio.Event()
        self._ending = False
        self._files = _page_files()
        routes = [
            Route("/", self._page),
            Route("/page/{name:path}", self._page),
            Route("/api/about", self._asked(lambda request: self._about())),
            Route("/api/summary", self._asked(self._summary)),
            Route("/api/frame/{number:int}", self._asked(self._frame)),
            Route("/api/frame/{number:int}/counts", self._asked(self._counts)),
            Route("/api/go/{goal:str}", self._asked(self._go)),
            Route("/api/mask", self._asked(lambda request: self.shown.answers.mask())),
            Route("/api/whole/{kind:str}", self._asked(self._whole)),
            Route("/api/profile", self._asked(lambda request: self.shown.answers.profile())),
            Route("/api/pixels", self._asked(lambda request: self.shown.answers.pixels())),
            Route("/api/notes", self._asked(lambda request: {"notes": self.shown.notes.all()})),
            Route("/api/notes", self._add_note, methods=["POST"]),
            Route("/api/notes/{name:str}", self._remove_note, methods=["DELETE"]),
            Route("/api/events", self._events),
            Route("/metrics", self._asked(lambda request: self._metrics())),
        ]
        self.starlette = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            middleware=[Middleware(Guard, token=token), Middleware(GZipMiddleware)],
        )

    def end(self) -> None:
        """Let the streams of events end, so that the server can."""
        self._ending = True

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            self.shown.close()

    async def _watch(self) -> None:
        """Look at the folder again and again; tell the readers when it has changed."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                changed = await run_in_threadpool(self.shown.refresh)
            except (HitfinderError, OSError) as error:
                # A run that is being written again has no tables for a while, and a busy machine
                # may have no more files to open.
                log.debug("%s", error)
                continue
            if changed:
                self._tell()

    def _tell(self) -> None:
        # Each change has an event of its own, and no lock: readers leave while they wait for it.
        self._changed.set()
        self._changed = asyncio.Event()

    async def _page(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._files:
            return PlainTextResponse("there is no such page\n", 404)
        kind = TYPES[name[name.rindex(".") :]]
        return Response(self._files[name], media_type=kind, headers={"cache-control": "no-cache"})

    def _asked(self, answer: Callable[[Request], Any]) -> Callable[[Request], Response]:
        """Return an endpoint, run in a thread of its own, that tells errors in one line."""

        def endpoint(request: Request) -> Response:
            try:
                told = answer(request)
            except SourceError as error:
                return JSONResponse({"error": str(error), "status": error.status}, 409)
            except HitfinderError as error:
                return JSONResponse({"error": str(error)}, 400)
            if isinstance(told, Packed):
                headers = told.headers | FRESH
                return Response(told.body, headers=headers, media_type="application/octet-stream")
            if isinstance(told, bytes):
                return Response(told, headers=FRESH | {"content-type": CONTENT_TYPE})
            return JSONResponse(told, headers=FRESH)

        return endpoint

    def _about(self) -> Any:
        if self.shown.is_waiting:
            return {"waiting": True, "folder": str(self.shown.folder.resolve())}
        return self.shown.answers.about()

    def _metrics(self) -> bytes:
        if self.shown.is_waiting:
            return RunMetrics({}, {}, 0, "waiting").text()
        return self.shown.answers.metrics().text()

    def _decision(self, request: Request) -> Decision:
        asked = request.query_params
        try:
            threshold = float(asked["threshold"]) if "threshold" in asked else None
            least = int(asked["min_peaks"]) if "min_peaks" in asked else None
        except ValueError as error:
            raise ConfigError("threshold and min_peaks are numbers") from error
        return self.shown.answers.decision(threshold, least)

    def _summary(self, request: Request) -> Any:
        return self.shown.answers.summary(self._decision(request))

    def _frame(self, request: Request) -> Any:
        return self.shown.answers.frame(request.path_params["number"], self._decision(request))

    def _counts(self, request: Request) -> Packed:
        return self.shown.answers.counts(request.path_params["number"])

    def _whole(self, request: Request) -> Packed:
        return self.shown.answers.whole(request.path_params["kind"])

    def _go(self, request: Request) -> Any:
        try:
            number = int(request.query_params.get("frame", "-1"))
        except ValueError as error:
            raise ConfigError("frame is a number") from error
        goal = request.path_params["goal"]
        return {"frame": self.shown.answers.go(goal, number, self._decision(request))}

    async def _add_note(self, request: Request) -> Response:
        try:
            told = json.loads(await request.body())
            given = {name: told[name] for name in ("text", "mark", "frame") if name in told}
        except (ValueError, TypeError, RecursionError):
            return JSONResponse({"error": "a note is a JSON object"}, 400)
        return await self._noted(lambda: self.shown.notes.add(**given))

    async def _remove_note(self, request: Request) -> Response:
        return await self._noted(lambda: self.shown.notes.remove(request.path_params["name"]))

    async def _noted(self, change: Callable[[], Any]) -> Response:
        try:
            await run_in_threadpool(change)
            notes = await run_in_threadpool(self.shown.notes.all)
        except (HitfinderError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 400)
        self._tell()
        return JSONResponse({"notes": notes}, headers=FRESH)

    async def _events(self, request: Request) -> Response:
        """Tell a reader of each change: of the present state at once, unless it has that."""
        known = request.headers.get("last-event-id", "")
        headers = FRESH | {"x-accel-buffering": "no"}
        return StreamingResponse(
            self._stream(known), media_type="text/event-stream", headers=headers
        )

    async def _stream(self, known: str) -> AsyncIterator[str]:
        yield "retry: 1000\n\n"
        quiet = 0.0
        while not self._ending:
            changed = self._changed
            run, revision, notes = self.shown.version
            now = f"{self._boot}-{run}-{revision}-{notes}"
            if now != known:
                told = {
                    "run": self.shown.name,
                    "revision": revision,
                    "notes": notes,
                    "boot": self._boot,
                    "state": self.shown.state,
                }
                yield f"id: {now}\ndata: {json.dumps(told)}\n\n"
                known, quiet = now, 0.0
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), POLL_S)
                continue
            quiet += POLL_S
            if quiet >= KEEP_ALIVE_S:
                yield ": here\n\n"
                quiet = 0.0


def _page_files() -> dict[str, bytes]:
    folder = resources.files("hitfinder.monitor") / "page"
    return {name: folder.joinpath(name).read_bytes() for name in PAGE}
