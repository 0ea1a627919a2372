"""HTTP client for OpenAI-compatible servers: llama-server, vLLM, Ollama, hosted ones.

Responses are not trusted: the body is read up to a limit and must be a JSON object. Redirects are
not followed, cookies are not kept, and compressed responses are rejected, since a small body can
expand to a large one.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from typing import Any, TypeVar

import httpx
import structlog

from mentorgrad.errors import InvalidInput, MentorgradError, ResourceExhausted, Unavailable
from mentorgrad.wire.reconnect import backoff

log = structlog.get_logger(__name__)

R = TypeVar("R")
In = TypeVar("In")
Out = TypeVar("Out")

_MAX_BODY = 2 * 1024 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_LONGEST_WISH = 86_400.0
"""Upper limit of `Retry-After`, seconds; longer than any deadline."""
_MOST_TOKENS = 2**31
"""Upper limit of plausible token counts; larger ones are taken as 0."""


class Refused(Unavailable):
    """The server rejected the request."""


class _Retry(Exception):
    """The request may be retried; carries the error to raise after the last attempt."""

    def __init__(self, error: MentorgradError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class LLMServer:
    """An OpenAI-compatible server. One instance serves one event loop.

    Args:
        base_url: URL including the version, for example ``http://127.0.0.1:8080/v1``.
        api_key: Bearer token; empty: none is sent.
        key_variable: Environment variable that sets the key, for error messages.
        busy_reason: Error reason if the server is busy.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL.
    """

    def __init__(self, base_url: str, *, api_key: str, key_variable: str, busy_reason: str) -> None:
        url = parse_url(base_url)
        if url is None:
            raise InvalidInput.field("base_url", f"must be an http(s) URL, not {base_url!r}")
        headers = {"accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        # Each request has its own deadline; this only bounds a connection attempt.
        limit = httpx.Timeout(None, connect=10.0)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=limit,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._key_variable = key_variable
        self._busy_reason = busy_reason
        self._exchanges: set[asyncio.Task[Any]] = set()

    async def post(
        self, path: str, payload: dict[str, Any], deadline: float, tries: int | None = None
    ) -> dict[str, Any]:
        """Posts a request; repeats it after failures that may pass, with growing pauses.

        Args:
            path: Path below the base URL.
            payload: JSON body.
            deadline: Monotonic time after which it is not repeated.
            tries: Maximum number of attempts; None: any number until the deadline.

        Raises:
            Refused: The server rejected the request.
            Unavailable: The server cannot be reached, fails, or answers with something else.
            ResourceExhausted: The server is busy.
            InvalidInput: The input is too long for the model (reason QUESTION_TOO_LONG).
        """
        pauses = islice(backoff(_FIRST_PAUSE, _LONGEST_PAUSE), None if tries is None else tries - 1)
        while True:
            try:
                return await self._once(path, payload)
            except _Retry as retry:
                pause = max(next(pauses, math.inf), retry.after or 0.0)
                # After the last attempt, or if the next would be after the deadline: fail now.
                if time.monotonic() + pause >= deadline:
                    raise retry.error from None
                log.info("llm_server_retry", reason=str(retry), pause=round(pause, 2))
                await asyncio.sleep(pause)

    async def status(self, path: str) -> int:
        """The status of a GET request.

        Raises:
            Unavailable: The server cannot be reached.
        """
        try:
            return await self._cancelled_once(self._look(path))
        except httpx.RequestError as error:
            name = type(error).__name__
            raise Unavailable(f"the LLM server cannot be reached ({name})") from None

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object that a GET request returns; empty if it returns something else.

        Raises:
            Unavailable: The server cannot be reached.
        """
        try:
            response, body = await self._cancelled_once(self._exchange("GET", path, None))
        except httpx.RequestError as error:
            name = type(error).__name__
            raise Unavailable(f"the LLM server cannot be reached ({name})") from None
        return _document(body) or {} if response.status_code == 200 else {}

    async def close(self) -> None:
        """Closes the connections."""
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._http.aclose()

    async def _cancelled_once(self, exchange: Coroutine[Any, Any, R]) -> R:
        """Runs an HTTP exchange in its own task, which is cancelled at most once.

        On cancellation httpx closes the connection. A second cancellation meanwhile, as when two
        deadlines expire at once, would leave it open, and the server would go on generating.
        """
        task = asyncio.ensure_future(exchange)
        self._exchanges.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._exchanges.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, or asyncio logs it as never retrieved

    async def _once(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            response, body = await self._cancelled_once(self._exchange("POST", path, payload))
        except httpx.RequestError as error:
            name = type(error).__name__
            raise _Retry(Unavailable(f"the LLM server cannot be reached ({name})")) from None
        if response.status_code != 200:
            self._refuse(response, body)
        document = _document(body)
        if document is None:
            raise Unavailable("the LLM server's response is not a JSON object")
        return document

    async def _exchange(
        self, method: str, path: str, payload: dict[str, Any] | None
    ) -> tuple[httpx.Response, bytes]:
        async with self._http.stream(method, path, json=payload) as response:
            return response, await _limited_body(response)

    async def _look(self, path: str) -> int:
        async with self._http.stream("GET", path) as response:
            return response.status_code

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raises the error for a status other than 200."""
        status = response.status_code
        said = _message(body)
        if status in (408, 409, 425, 429) or status >= 500:
            after = seconds_of(response.headers.get("retry-after", ""))
            if status == 429:
                busy = ResourceExhausted(
                    f"the LLM server is busy ({said})",
                    retry_after=after or 1.0,
                    reason=self._busy_reason,
                )
                raise _Retry(busy, after)
            raise _Retry(Unavailable(f"the LLM server failed with status {status} ({said})"), after)
        lowered = said.lower()
        if (
            status in (400, 413, 422)
            and "context" in lowered
            and ("token" in lowered or status == 413)
        ):
            raise InvalidInput(said, reason="QUESTION_TOO_LONG")
        if status in (401, 403):
            raise Unavailable(
                f"the LLM server rejected the API key (status {status}); set {self._key_variable}"
            )
        raise Refused(f"the LLM server rejected the request with status {status} ({said})")


def parse_url(base_url: str) -> httpx.URL | None:
    """An http(s) URL that ends with a slash; None if it is no such URL."""
    try:
        url = httpx.URL(base_url.rstrip("/") + "/")
    except httpx.InvalidURL:
        return None
    return url if url.scheme in ("http", "https") and url.host else None


async def _limited_body(response: httpx.Response) -> bytes:
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise Unavailable("the LLM server's response is compressed, which was not requested")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > _MAX_BODY:
            raise Unavailable(f"the LLM server's response exceeds {_MAX_BODY} bytes")
    return bytes(body)


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _message(body: bytes) -> str:
    """The error message in a response body, as one short line."""
    try:
        document = json.loads(body)
        error = document.get("error", document)
        said = str(error.get("message", "") if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        said = body[:200].decode(errors="replace")
    # Without lone surrogates, which JSON can escape but UTF-8 cannot encode.
    said = " ".join(said.split())[:200].encode("utf-8", "replace").decode()
    return said or "no reason given"


def seconds_of(header: str) -> float | None:
    """Parses ``Retry-After``, seconds or a date, to seconds; None: neither."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(0.0, seconds), _LONGEST_WISH)  # in this order, NaN becomes 0


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def token_count(value: object) -> int:
    """The value if it is a plausible number of tokens, otherwise 0."""
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 <= value <= _MOST_TOKENS else 0


async def some_at_once(
    request: Callable[[In], Awaitable[Out]], inputs: Iterable[In], at_once: int
) -> list[Out]:
    """Sends a request per input, at most `at_once` concurrently; results in order. An error cancels
    the others."""
    places = asyncio.Semaphore(at_once)

    async def run(given: In) -> Out:
        async with places:
            return await request(given)

    tasks = [asyncio.ensure_future(run(given)) for given in inputs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
