"""Backend for servers with the OpenAI chat API: llama-server, vLLM, Ollama, hosted ones.

The JSON Schema of the reply is sent in `response_format` and in the prompt, since some servers
ignore the one and some the other. Responses are not trusted: the body is read up to a limit, parsed
and validated. Redirects are not followed, cookies are not kept, and compressed responses are
rejected, since a small body can expand to a large one. Several samples are requested by `n` in one
request; if a server ignores or rejects `n`, by concurrent requests with different seeds.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from typing import Any, ClassVar, TypeVar

import httpx
import structlog

from mentor_service.answer_limits import encodable
from mentor_service.protocols import Question, Reply
from mentorgrad.errors import (
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)
from mentorgrad.wire.reconnect import backoff

log = structlog.get_logger(__name__)

R = TypeVar("R")

_MAX_BODY = 2 * 1024 * 1024
_TRIES = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_LONGEST_WISH = 86_400.0
"""Upper limit of `Retry-After`, seconds; longer than any deadline."""
_MOST_TOKENS = 2**31
"""Upper limit of plausible token counts; larger ones are taken as 0."""
_CHECK_SECONDS = 5.0
_REQUESTS_AT_ONCE = 4
"""Concurrent requests per question, if the server does not support `n`."""


class _Refused(Unavailable):
    """The server rejected the request."""


class _Retry(Exception):
    """The request may be retried; carries the error to raise after the last attempt."""

    def __init__(self, error: MentorgradError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class OpenAIBackend:
    """Backend for an OpenAI-compatible server. One instance serves one event loop.

    Args:
        base_url: URL including the version, for example ``http://127.0.0.1:8080/v1``.
        model: Model name on the server.
        api_key: Bearer token; empty: none is sent.
        context_tokens: Maximum tokens of a question and its reply; the server may have a lower
            limit.
        queue_limit: Maximum questions in progress.

    Raises:
        InvalidInput: `base_url` is not an http(s) URL, or `model` is empty.
    """

    name: ClassVar[str] = "openai"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "",
        context_tokens: int = 8192,
        queue_limit: int = 16,
    ) -> None:
        try:
            url = httpx.URL(base_url.rstrip("/") + "/")
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidInput.field("base_url", f"must be an http(s) URL, not {base_url!r}")
        if not model:
            raise InvalidInput.field("model", "must be the model name on the server")
        headers = {"accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        # Each question has its own deadline; this only bounds a connection attempt.
        limit = httpx.Timeout(None, connect=10.0)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=limit,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._queue_limit = queue_limit
        self._exchanges: set[asyncio.Task[Any]] = set()
        self._in_progress = 0
        self._takes_n = True
        self.model = model
        self.context_tokens = context_tokens

    @property
    def waiting(self) -> int:
        """See `mentor_service.protocols.Backend`."""
        return self._in_progress

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        longest = (self.context_tokens - question.max_tokens) * 8
        if len(question.system) + len(question.user) > longest:
            raise InvalidInput(
                "the question is longer than the model's context", reason="QUESTION_TOO_LONG"
            )
        if self._in_progress >= self._queue_limit:
            raise ResourceExhausted(
                f"{self._in_progress} questions are already in progress", reason="MENTOR_BUSY"
            )
        started = time.monotonic()
        self._in_progress += 1
        try:
            async with asyncio.timeout(timeout):
                said = await self._samples(question, started + timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"the server did not answer within {timeout:.1f} s") from None
        finally:
            self._in_progress -= 1
        prompt = max(part.prompt_tokens for part in said)
        return Reply(
            texts=tuple(text for part in said for text in part.texts),
            prompt_tokens=prompt,
            # Only the first request says what was cached before; the others find its prompt.
            evaluated_tokens=max(0, prompt - said[0].prompt_tokens + said[0].evaluated_tokens),
            reply_tokens=sum(part.reply_tokens for part in said),
            duration=timedelta(seconds=time.monotonic() - started),
            finish_reasons=tuple(finish for part in said for finish in part.finish_reasons),
        )

    async def _samples(self, question: Question, deadline: float) -> list[Reply]:
        """Requests as many replies as the question has samples, in one or more responses."""
        wanted = question.samples
        said: list[Reply] = []
        if wanted == 1 or self._takes_n:
            try:
                said.append(await self._request(question, 0, wanted, deadline))
            except _Refused:
                if wanted == 1:
                    raise
        first = sum(len(part.texts) for part in said)
        if first == wanted:
            return said
        rest = await _some_at_once(
            lambda number: self._request(question, number, 1, deadline), range(first, wanted)
        )
        if wanted > 1 and self._takes_n:
            # Servers without `n` mostly ignore it. It is not sent to them again.
            self._takes_n = False
            log.info("llm_server_takes_no_n", model=self.model)
        return said + rest

    async def _request(self, question: Question, number: int, count: int, deadline: float) -> Reply:
        """Requests at most `count` replies, from the `number`-th sample of the question on."""
        payload = _payload(self.model, question, number, count)
        return _reply(await self._with_retries(payload, deadline), count)

    async def check(self) -> None:
        """Health check: requests the list of models. Any status below 500 counts as healthy, except
        401 and 403, since some servers have no such list.

        Raises:
            Unavailable: The server cannot be reached, fails, or rejects the API key.
        """
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                status = await self._cancelled_once(self._look())
        except TimeoutError:
            raise Unavailable("the LLM server does not respond") from None
        except httpx.RequestError as error:
            name = type(error).__name__
            raise Unavailable(f"the LLM server cannot be reached ({name})") from None
        if status in (401, 403) or status >= 500:
            raise Unavailable(f"the LLM server returned status {status}")

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

    async def _with_retries(self, payload: dict[str, Any], deadline: float) -> dict[str, Any]:
        pauses = islice(backoff(_FIRST_PAUSE, _LONGEST_PAUSE), _TRIES - 1)
        while True:
            try:
                return await self._once("chat/completions", payload)
            except _Retry as retry:
                pause = max(next(pauses, math.inf), retry.after or 0.0)
                # After the last attempt, or if the next would be after the deadline: fail now.
                if time.monotonic() + pause >= deadline:
                    raise retry.error from None
                log.info("llm_server_retry", reason=str(retry), pause=round(pause, 2))
                await asyncio.sleep(pause)

    async def _once(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            response, body = await self._cancelled_once(self._post(path, payload))
        except httpx.RequestError as error:
            name = type(error).__name__
            raise _Retry(Unavailable(f"the LLM server cannot be reached ({name})")) from None
        if response.status_code != 200:
            _refuse(response, body)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Unavailable("the LLM server's response is not a JSON object")
        return document

    async def _post(self, path: str, payload: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        async with self._http.stream("POST", path, json=payload) as response:
            return response, await _limited_body(response)

    async def _look(self) -> int:
        async with self._http.stream("GET", "models") as response:
            return response.status_code


async def _some_at_once(
    request: Callable[[int], Awaitable[Reply]], numbers: Iterable[int]
) -> list[Reply]:
    """Runs the requests, a few concurrently, results in order; an error cancels the others."""
    places = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def run(number: int) -> Reply:
        async with places:
            return await request(number)

    tasks = [asyncio.create_task(run(number)) for number in numbers]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _payload(model: str, question: Question, number: int, count: int) -> dict[str, Any]:
    user = question.user
    payload: dict[str, Any] = {
        "model": model,
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        # Some servers accept 32 bits only.
        "seed": (question.seed + number) % 2**31,
    }
    if count > 1:
        payload["n"] = count
    if question.repeat_penalty:
        payload["frequency_penalty"] = payload["presence_penalty"] = question.repeat_penalty
    if question.json_schema is not None:
        user += "\n\nJSON Schema of the answer: " + json.dumps(question.json_schema)
        payload["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "proposals", "strict": True, "schema": question.json_schema},
        }
    system = [{"role": "system", "content": question.system}] if question.system else []
    payload["messages"] = [*system, {"role": "user", "content": user}]
    return payload


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


def _refuse(response: httpx.Response, body: bytes) -> None:
    """Raises the error for a status other than 200."""
    status = response.status_code
    said = _message(body)
    if status in (408, 409, 425, 429) or status >= 500:
        after = _seconds(response.headers.get("retry-after", ""))
        if status == 429:
            busy = ResourceExhausted(
                f"the LLM server is busy ({said})", retry_after=after or 1.0, reason="MENTOR_BUSY"
            )
            raise _Retry(busy, after)
        raise _Retry(Unavailable(f"the LLM server failed with status {status} ({said})"), after)
    lowered = said.lower()
    if status in (400, 413, 422) and "context" in lowered and ("token" in lowered or status == 413):
        raise InvalidInput(said, reason="QUESTION_TOO_LONG")
    if status in (401, 403):
        raise Unavailable(
            f"the LLM server rejected the API key (status {status}); "
            "set MENTORGRAD_MENTOR_OPENAI_API_KEY"
        )
    raise _Refused(f"the LLM server rejected the request with status {status} ({said})")


def _message(body: bytes) -> str:
    """The error message in a response body, as one short line."""
    try:
        document = json.loads(body)
        error = document.get("error", document)
        said = str(error.get("message", "") if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        said = body[:200].decode(errors="replace")
    return encodable(" ".join(said.split())[:200]) or "no reason given"


def _seconds(header: str) -> float | None:
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


def _reply(body: dict[str, Any], most: int) -> Reply:
    """Parses a response; keeps at most `most` replies, but the token counts of all.

    Without a duration. The number of evaluated tokens is negative if the server counts only the
    cached ones.
    """
    try:
        texts = [choice["message"]["content"] for choice in body["choices"]]
        finishes = [choice.get("finish_reason") for choice in body["choices"]]
    except (KeyError, IndexError, TypeError, AttributeError):
        texts = []
    if not texts:
        raise Unavailable("the LLM server's response contains no message")
    if not all(isinstance(text, str) for text in texts):
        raise Unavailable("the LLM server's response contains no text")
    usage = _mapping(body.get("usage"))
    prompt = _count(usage.get("prompt_tokens"))
    cached = _count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    finished = ("length" if reason == "length" else "stop" for reason in finishes)
    return Reply(
        texts=tuple(map(encodable, texts[:most])),
        prompt_tokens=prompt,
        evaluated_tokens=prompt - cached,
        reply_tokens=_count(usage.get("completion_tokens")),
        duration=timedelta(0),
        finish_reasons=tuple(finished)[:most],
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 <= value <= _MOST_TOKENS else 0
