"""Who may ask the server, and what a page from it may do."""

from __future__ import annotations

import dataclasses
import hmac
import http.cookies
import ipaddress
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "hitfinder-token"
QUERY = "token"

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Sent with every answer: the page loads nothing from elsewhere and is shown in no other page."""

_MOST_BODY = 1 << 16
"""Bytes of a request; notes are short."""


def is_local(host: str) -> bool:
    """Say whether a name or address is this machine's own, which no other machine reaches."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclasses.dataclass(frozen=True)
class Guard:
    """Lets through what this page, opened by someone who may, asks for; refuses all else.

    Another page in the same browser could ask a server on this machine too: by its address, which
    its ``Origin`` tells, or by a name of its own that leads here, which the ``Host`` tells.

    Attributes
    ----------
    app : ASGI application
        What answers.
    token : str or None
        What a reader must know; None if only this machine is let in.
    """

    app: ASGIApp
    token: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *told]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        host = headers.get("host", "")
        if self.token is None and not is_local(_name_of(host)):
            return _refused("this server answers to the name of this machine only")
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            return _refused("pages of other origins are not answered")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _refused("pages of other origins are not answered")
        if scope["method"] not in ("GET", "HEAD"):
            if origin is None:
                return _refused("a request that changes something must say its origin")
            length = headers.get("content-length", "")
            if not (length.isdecimal() and int(length) <= _MOST_BODY):
                return _refused("the request is too long", 413)
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """Return None for a reader who knows the token; it moves from the address to a cookie.

        A program may send it in the ``Authorization`` header instead.
        """
        if self.token is None:
            return None
        kind, _, sent = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and hmac.compare_digest(sent.encode(), self.token.encode()):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get(QUERY)
        if asked and hmac.compare_digest(asked[0].encode(), self.token.encode()):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return answer
        try:
            cookies = http.cookies.SimpleCookie(headers.get("cookie", ""))
        except http.cookies.CookieError:
            cookies = http.cookies.SimpleCookie()
        shown = cookies[COOKIE].value if COOKIE in cookies else ""
        if hmac.compare_digest(shown.encode(), self.token.encode()):
            return None
        return _refused("open the address, with its token, that `hitfinder monitor` printed", 401)


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _refused(why: str, status: int = 403) -> Response:
    return PlainTextResponse(f"{why}\n", status)
