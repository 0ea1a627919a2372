"""HTTP client for OpenAI-compatible servers: llama-server, vLLM, Ollama, hosted ones.

Responses are not trusted: the body is read up to a limit and must be a JSON object. Redirects are
not followed, cookies are not kept, and compressed responses are rejected, since a small body can
expand to a large one. A request whose parameter is refused by name is repeated without it
(`service_common.llm_dialect`). What a server says of an error is passed on without secrets.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import ssl
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
from mentorgrad.outside_text import one_line, without_secrets
from mentorgrad.wire.reconnect import backoff
from service_common.http_proxy import proxy_for
from service_common.llm_dialect import conceded, concession

log = structlog.get_logger(__name__)

R = TypeVar("R")
In = TypeVar("In")
Out = TypeVar("Out")

_MAX_BODY = 2 * 1024 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_MAX_NAMED = 4_000
"""Maximum characters of an error response that are read."""
_LONGEST_WISH = 86_400.0
"""Upper limit of `Retry-After`, seconds; longer than any deadline."""
_HIGHEST_PORT = 65535
_MOST_TOKENS = 2**31
"""Upper limit of plausible token counts; larger ones are taken as 0."""


class Refused(Unavailable):
    """The server rejected the request; `named`: what it says of it, in full."""

    def __init__(self, message: str, named: str = "") -> None:
        super().__init__(message)
        self.named = named


class _Retry(Exception):
    """The request may be retried; carries the error to raise after the last attempt."""

    def __init__(self, error: MentorgradError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


@functools.cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted; to load them takes as long as dozens of requests."""
    return httpx.create_ssl_context()


class LLMServer:
    """An OpenAI-compatible server. One instance serves one event loop.

    Args:
        base_url: URL including the version, for example ``http://127.0.0.1:8080/v1``. Its query,
            such as ``?api-version=1``, is sent with each request.
        api_key: Bearer token; empty: none is sent.
        key_variable: Environment variable that sets the key, for error messages.
        busy_reason: Error reason if the server is busy.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL, the key cannot be sent, or a proxy variable
            that applies is unusable.
    """

    def __init__(self, base_url: str, *, api_key: str, key_variable: str, busy_reason: str) -> None:
        url = parse_url(base_url)
        if url is None:
            shown = without_secrets(base_url)
            raise InvalidInput.field("base_url", f"must be an http(s) URL, not {shown!r}")
        api_key = api_key.strip()  # files and Kubernetes secrets end with a line end
        if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise InvalidInput.field(
                key_variable, "must be an API key: one word of printable ASCII characters"
            )
        headers = {"accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        # Each request has its own deadline; this only bounds a connection attempt.
        limit = httpx.Timeout(None, connect=10.0)
        self._http = httpx.AsyncClient(
            base_url=url.copy_with(query=None),
            params=url.params,
            headers=headers,
            timeout=limit,
            proxy=proxy_for(url),
            trust_env=False,  # `proxy_for` reads the proxies, and .netrc would replace the key
            verify=_trusted(),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._key_variable = key_variable
        self._busy_reason = busy_reason
        self._secrets = (api_key, url.password, url.userinfo.decode())
        self._concessions: frozenset[str] = frozenset()
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
        concessions = self._concessions
        while True:
            request = conceded(payload, concessions)
            try:
                body = await self._once(path, request)
            except Refused as refused:
                more = concession(refused.named, request)
                if more is None:
                    raise
                log.info("llm_server_concession", concession=more, reason=refused.message)
                concessions |= {more}
            except _Retry as retry:
                pause = max(next(pauses, math.inf), retry.after or 0.0)
                # After the last attempt, or if the next would be after the deadline: fail now.
                if time.monotonic() + pause >= deadline:
                    raise retry.error from None
                log.info("llm_server_retry", reason=str(retry), pause=round(pause, 2))
                await asyncio.sleep(pause)
            else:
                self._concessions |= concessions
                return body

    async def status(self, path: str) -> int:
        """The status of a GET request.

        Raises:
            Unavailable: The server cannot be reached.
        """
        try:
            return await self._cancelled_once(self._look(path))
        except httpx.RequestError as error:
            raise self._unreached(error) from None

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object that a GET request returns; empty if it returns something else.

        Raises:
            Unavailable: The server cannot be reached.
        """
        try:
            response, body = await self._cancelled_once(self._exchange("GET", path, None))
        except httpx.RequestError as error:
            raise self._unreached(error) from None
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
            raise _Retry(self._unreached(error)) from None
        document = _document(body)
        status = response.status_code
        if status == 200 and document is not None and (stated := _error_in(document)) is not None:
            code = mapping(stated).get("code")
            status = code if isinstance(code, int) and 400 <= code < 600 else status
            self._refuse(status, response, _named({"error": stated}))
        if status != 200:
            self._refuse(status, response, _named(_parsed(body)) or _raw(body))
        if document is None:
            raise Unavailable("the LLM server's response is not a JSON object")
        return document

    def _unreached(self, error: httpx.RequestError) -> Unavailable:
        """The error for a server without an answer, with what the system says of it: a name that
        nobody knows and a certificate that nobody trusts are mended in different places."""
        name = type(error).__name__
        why = without_secrets(one_line(str(error)), self._secrets)[:200]
        return Unavailable(f"the LLM server cannot be reached ({name}{why and ': '}{why})")

    async def _exchange(
        self, method: str, path: str, payload: dict[str, Any] | None
    ) -> tuple[httpx.Response, bytes]:
        async with self._http.stream(method, path, json=payload) as response:
            return response, await _limited_body(response)

    async def _look(self, path: str) -> int:
        async with self._http.stream("GET", path) as response:
            return response.status_code

    def _refuse(self, status: int, response: httpx.Response, named: str) -> None:
        """Raises the error for a status other than 200, or for an error in a response with 200."""
        if response.is_redirect:  # not followed: the key would go elsewhere
            named = f"it redirects to {one_line(response.headers['location'])}; set the URL to that"
        said = without_secrets(named[:_MAX_NAMED], self._secrets)[:200] or "no reason given"
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
        lowered = named.lower()
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
        raise Refused(f"the LLM server rejected the request with status {status} ({said})", named)


def parse_url(base_url: str) -> httpx.URL | None:
    """An http(s) URL whose path ends with a slash; None if it is no such URL."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        return None
    is_one = url.scheme in ("http", "https") and url.host and (url.port or 0) <= _HIGHEST_PORT
    if not is_one or " " in base_url:
        return None
    path, mark, query = url.raw_path.partition(b"?")
    return url.copy_with(raw_path=path.rstrip(b"/") + b"/" + mark + query)


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
    document = _parsed(body)
    return document if isinstance(document, dict) else None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_in(document: dict[str, Any]) -> object:
    """The error in a response that has the status of a success; None if there is none."""
    choices = document.get("choices")
    if not choices:
        return document.get("error")
    # Some servers put it into the choices.
    return mapping(choices[0]).get("error") if isinstance(choices, list) else None


def _named(said: Any) -> str:
    """What an error response says, on one line: its message, and the parameter that it names.

    OpenAI and most others: ``error: {message, param}``; vLLM, formerly, and Mistral: ``message``;
    Ollama: ``error``; FastAPI: ``detail``, a text or a list of ``{loc, msg}``; Google: a list.
    """
    if isinstance(said, list) and said:
        said = said[0]
    error = said.get("error", said) if isinstance(said, dict) else None
    parts = [error]
    if isinstance(error, dict):
        parts = [error.get("message"), error.get("detail"), error.get("param")]
    texts = [text for part in parts for text in _texts(part)]
    # A parameter that the message names is not repeated.
    return one_line(" ".join(texts[:1] + [text for text in texts[1:] if text not in texts[0]]))


def _raw(body: bytes) -> str:
    """The beginning of an error response that is no JSON, or JSON without a message."""
    return (
        "" if _document(body) is not None else one_line(body[:_MAX_NAMED].decode(errors="replace"))
    )


def _texts(part: object) -> list[str]:
    """The texts of a part of an error response."""
    if isinstance(part, list):
        items = [mapping(item) for item in part[:10]]
        found = [(item.get("loc"), item.get("msg")) for item in items]
        return [
            f"{'.'.join(map(str, place))}: {text}"
            for place, text in found
            if isinstance(place, list) and isinstance(text, str)
        ]
    if isinstance(part, dict):
        return _texts(part.get("detail"))
    return [str(part)[:_MAX_NAMED]] if isinstance(part, (str, int, float)) else []


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


def plain_text(content: object) -> str | None:
    """The text of a message's content, a string or a list of parts; None if it is neither.

    Parts of other types, as thoughts, are left out.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        return None
    parts = [mapping(part) for part in content]
    texts = [part.get("text") for part in parts if part.get("type") in ("text", "output_text")]
    return "".join(text for text in texts if isinstance(text, str)) if texts else None


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
