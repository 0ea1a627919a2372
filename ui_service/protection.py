"""What a browser may do with the page, and for which host names the page answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mentorgrad.wire.addresses import is_loopback

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every response."""


class Protection:
    """Refuses requests for other hosts and from other sites, and sends `HEADERS`.

    A site of somebody else can have its name resolve to this address (DNS rebinding), and is then
    the same site to the browser. It cannot have an IP address for its name.

    Args:
        app: The page.
        listen: Listen address; a page on loopback answers for loopback addresses alone.
        hosts: Host names by which the page may be reached, beside localhost.
    """

    def __init__(self, app: ASGIApp, listen: str, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in ("localhost", *hosts))
        self._is_local = is_loopback(listen)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(HEADERS)
            await send(message)

        if not self._is_ours(headers.get("host", "")):
            said = "the page does not answer for this host name; give it with --host"
            await _refused(421, "HOST_NOT_ALLOWED", said)(scope, receive, protected)
        elif headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            scope["path"].startswith("/api/")
        ):
            said = "the API is for the page alone"
            await _refused(403, "OTHER_SITE", said)(scope, receive, protected)
        else:
            await self._app(scope, receive, protected)

    def _is_ours(self, host: str) -> bool:
        name = host.lower()
        if name.rpartition(":")[2].isdigit() and not name.endswith("]"):
            name = name.rpartition(":")[0]
        if name.rstrip(".") in self._hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return not self._is_local or is_loopback(f"{name}:0")


def _refused(status: int, reason: str, message: str) -> JSONResponse:
    error = {"reason": reason, "message": message, "field": ""}
    return JSONResponse({"error": error}, status, {"cache-control": "no-store"})
