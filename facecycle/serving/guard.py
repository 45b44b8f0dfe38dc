"""What comes before every request: who may ask, as browsers tell it, and what a browser may do with the answer."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self' blob: data:; script-src 'self'; style-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer. Nothing comes from elsewhere, nothing goes there, and no browser keeps a picture."""


class Guard:
    """Wraps an application; requests that other sites cause get no further."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        """Guard an application.

        Args:
            app: what answers.
            host: the address or name that it listens on.
        """
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert scope["type"] == "http"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refused(scope["method"], scope["path"], Headers(scope=scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refused(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        if not is_ours(host, self._host):
            return JSONResponse({"message": f"This program does not answer for the host {host!r}."}, 421)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        followed = method == "GET" and path == "/" and headers.get("sec-fetch-dest") == "document"
        if (origin is not None and origin != f"http://{host}") or not (site in ("same-origin", "none") or followed):
            return JSONResponse({"message": "Other sites may not ask this program."}, 403)
        return None


def is_ours(host: str, listening: str) -> bool:
    """Tell whether a Host header means this program.

    A site that has its own name point to this machine would else pass for us. Addresses cannot be made to point
    anywhere. A program that listens on a loopback address is reached by loopback addresses alone.

    Args:
        host: the header, with or without a port.
        listening: the address or name that the program listens on.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(name).is_loopback or not is_loopback(listening)
    except ValueError:  # a name
        return name in ("localhost", listening.lower())


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name is one of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
