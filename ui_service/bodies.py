"""Bodies of requests: JSON, of limited size."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from mentorgrad.errors import InvalidInput

_LOGIN_BYTES = 16 * 1024
_BODY_SECONDS = 10.0


def check_json(request: Request) -> None:
    """Refuses what a form of another site could send.

    Raises:
        InvalidInput: The content is not said to be JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise InvalidInput.field("Content-Type", "must be application/json")


async def json_body(request: Request, field: str, most_bytes: int) -> Any:
    """The body of a request; None if it is no JSON.

    Args:
        request: The request.
        field: What an error calls the body.
        most_bytes: Maximum size.

    Raises:
        InvalidInput: The body is not said to be JSON, is too large, or too slow.
    """
    check_json(request)
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise InvalidInput.field(field, "is too large")
    except TimeoutError:
        raise InvalidInput.field(field, "took too long to arrive") from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


async def login_token(request: Request) -> str:
    """The token of a login.

    Raises:
        InvalidInput: The body is not ``{"token": "..."}``, too large, or too slow.
    """
    body = await json_body(request, "token", _LOGIN_BYTES)
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token.isascii():
        raise InvalidInput.field("token", 'must be given, as {"token": "..."}')
    return token.strip()
