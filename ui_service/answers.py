"""Responses of the page's API: JSON, and errors as JSON."""

from __future__ import annotations

import asyncio
import gzip

import structlog
from starlette.requests import Request
from starlette.responses import Response

from mentorgrad.errors import (
    InvalidInput,
    MentorgradError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)
from ui_service import messages

log = structlog.get_logger(__name__)

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

_ACTION_STATUS: dict[type[MentorgradError], int] = {PermissionDenied: 403}
"""Status of an error of somebody who may change nothing."""


class LoginRefused(Exception):
    """A request whose login is missing or refused."""

    statuses = _LOGIN_STATUS

    def __init__(self, cause: MentorgradError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class ActionRefused(LoginRefused):
    """A change that the visitor may not ask for."""

    statuses = _ACTION_STATUS


def json_response(content: bytes, status: int = 200) -> Response:
    """A response with JSON that nobody stores."""
    headers = {"cache-control": "no-store"}
    return Response(content, status, headers, "application/json")


async def refused(request: Request, error: Exception) -> Response:
    """The response to a request that failed by a `MentorgradError` or `LoginRefused`."""
    found, table = (
        (error.cause, error.statuses) if isinstance(error, LoginRefused) else (error, _STATUS)
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


async def sized(request: Request, content: bytes) -> Response:
    """An answer, compressed if it is large and the browser can read that."""
    if len(content) < _LARGE_BYTES or "gzip" not in request.headers.get("accept-encoding", ""):
        return json_response(content)
    response = json_response(await asyncio.to_thread(gzip.compress, content, 1))
    response.headers["content-encoding"] = "gzip"
    return response
