"""The page's HTTP API, ``/api/v1``: convert, read, answer. It changes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from service_common.refusals import Strangers
from ui_service import messages, positions, requests
from ui_service.event_stream import EventStream, EventStreams
from ui_service.logins import LOGIN_SECONDS, Logins
from ui_service.reads import Reads

log = structlog.get_logger(__name__)

_MAX_BODY_BYTES = 16 * 1024
_BODY_SECONDS = 10.0
_LARGE_BYTES = 16 * 1024
_STATUS: dict[type[MentorgradError], int] = {InvalidInput: 400, NotFound: 404}
"""Status of an error of the trainer; 503 of every other: the page's own credentials, too, are no
business of a browser's."""

_LOGIN_STATUS: dict[type[MentorgradError], int] = {
    InvalidInput: 400,
    Unauthenticated: 401,
    PermissionDenied: 401,
    ResourceExhausted: 429,
}
"""Status of an error of a login."""


class LoginRefused(Exception):
    """A request whose login is missing or refused."""

    def __init__(self, cause: MentorgradError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Api:
    """The routes under ``/api/v1``.

    Args:
        reads: What is answered.
        streams: The open streams.
        logins: The sessions; None: no login is required.
    """

    def __init__(self, reads: Reads, streams: EventStreams, logins: Logins | None) -> None:
        self._reads, self._streams, self._logins = reads, streams, logins
        self._strangers = Strangers()

    def routes(self) -> list[Route]:
        """The routes."""
        reads = self._reads
        answers: dict[str, Callable[[Request], Awaitable[bytes]]] = {
            "/house": lambda _: reads.house(self._logins is not None),
            "/house/work": lambda _: reads.work(),
            "/runs": lambda asked: reads.runs(requests.of_runs(asked.query_params)),
            "/runs/{run_id}": lambda asked: reads.run(_run(asked)),
            "/runs/{run_id}/events": lambda asked: reads.events(
                _run(asked), requests.of_events(asked.query_params)
            ),
            "/runs/{run_id}/trajectory": lambda asked: reads.trajectory(
                _run(asked), requests.of_points(asked.query_params)
            ),
            "/runs/{run_id}/path": lambda asked: reads.path(_run(asked)),
            "/runs/{run_id}/artifacts": lambda asked: reads.artifacts(_run(asked)),
            "/compare": lambda asked: reads.compared(asked.query_params.getlist("run")),
            "/experiments": lambda asked: reads.experiments(
                requests.of_experiments(asked.query_params)
            ),
            "/reports/{experiment_id}": lambda asked: reads.report(
                str(asked.path_params["experiment_id"]), requests.of_report(asked.query_params)
            ),
        }
        return [
            *(Route(path, self._answering(answer)) for path, answer in answers.items()),
            Route("/stream", self._stream),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._logout, methods=["POST"]),
        ]

    def _answering(
        self, answer: Callable[[Request], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            self._check(request, is_counted=True)
            return await _sized(request, await answer(request))

        return endpoint

    async def _stream(self, request: Request) -> Any:
        self._check(request, is_counted=True)
        stated = positions.parse(request.query_params.getlist("run"))
        found = positions.resumed(stated, request.headers.get("last-event-id", ""))
        return EventStream(self._streams, found, lambda: self._check(request))

    async def _login(self, request: Request) -> Response:
        if self._logins is None:
            return Response(status_code=204)
        token = await _token(request)
        address = request.client.host if request.client is not None else ""
        try:
            name = self._logins.begin(token, address)
        except MentorgradError as error:
            if self._strangers.count(address):  # whoever tries often fills no log
                log.info("login_refused", address=address, reason=error.reason)
            raise LoginRefused(error) from None
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        response.set_cookie(
            max_age=int(LOGIN_SECONDS), **_cookie(request), value=name, httponly=True
        )
        return response

    async def _logout(self, request: Request) -> Response:
        _check_json(request)
        response = Response(status_code=204, headers={"cache-control": "no-store"})
        if self._logins is not None:
            cookie = _cookie(request)
            self._logins.end(request.cookies.get(cookie["key"], ""))
            response.delete_cookie(**cookie, httponly=True)
        return response

    def _check(self, request: Request, is_counted: bool = False) -> None:
        """Checks the login of a request.

        Raises:
            LoginRefused: It has none, or makes too many requests.
        """
        if self._logins is None:
            return
        try:
            record = self._logins.check(request.cookies.get(_cookie(request)["key"], ""))
            if is_counted:
                self._logins.count(record)
        except MentorgradError as error:
            raise LoginRefused(error) from None


def json_response(content: bytes, status: int = 200) -> Response:
    """A response with JSON that nobody stores."""
    headers = {"cache-control": "no-store"}
    return Response(content, status, headers, "application/json")


async def refused(request: Request, error: Exception) -> Response:
    """The response to a request that failed by a `MentorgradError` or `LoginRefused`."""
    found, table = (
        (error.cause, _LOGIN_STATUS) if isinstance(error, LoginRefused) else (error, _STATUS)
    )
    assert isinstance(found, MentorgradError)  # noqa: S101  # those that it is registered for
    status = next((table[cls] for cls in type(found).__mro__ if cls in table), 503)
    log.debug("request_refused", path=request.url.path, status=status, reason=found.reason)
    response = json_response(messages.encoded(messages.of_error(found)), status)
    if isinstance(found, ResourceExhausted):
        response.headers["retry-after"] = str(int(found.retry_after) + 1)
    return response


async def failed(request: Request, error: Exception) -> Response:
    """The response to a request that failed by a bug; no details are sent."""
    log.error("request_failed", path=request.url.path, exc_info=error)
    said = MentorgradError("internal error; see the log of the page")
    return json_response(messages.encoded(messages.of_error(said)), 500)


async def unknown(request: Request, error: Exception) -> Response:
    """The response to a request for a path or a method that there is none."""
    status = getattr(error, "status_code", 404)
    said = NotFound(f"there is no {request.method} {request.url.path}", reason="NO_SUCH_PATH")
    return json_response(messages.encoded(messages.of_error(said)), status)


async def _sized(request: Request, content: bytes) -> Response:
    """An answer, compressed if it is large and the browser can read that."""
    if len(content) < _LARGE_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return json_response(content)
    response = json_response(await asyncio.to_thread(gzip.compress, content, 1))
    response.headers["content-encoding"] = "gzip"
    return response


def _run(request: Request) -> str:
    return str(request.path_params["run_id"])


def _cookie(request: Request) -> dict[str, Any]:
    """Name and attributes of the cookie. Browsers accept `__Host-` over TLS alone."""
    secure = request.url.scheme == "https"
    name = "__Host-mentorgrad" if secure else "mentorgrad"
    return {"key": name, "path": "/", "secure": secure, "samesite": "strict"}


def _check_json(request: Request) -> None:
    """Refuses what a form of another site could send.

    Raises:
        InvalidInput: The content is not said to be JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidInput.field("Content-Type", "must be application/json")


async def _token(request: Request) -> str:
    """The token of a login.

    Raises:
        InvalidInput: The body is not ``{"token": "..."}``, too large, or too slow.
    """
    _check_json(request)
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise InvalidInput.field("token", "is too large")
    except TimeoutError:
        raise InvalidInput.field("token", "took too long to arrive") from None
    try:
        token = json.loads(body)["token"]
    except (ValueError, KeyError, TypeError):
        token = None
    if not isinstance(token, str) or not token.isascii():
        raise InvalidInput.field("token", 'must be given, as {"token": "..."}')
    return token.strip()
