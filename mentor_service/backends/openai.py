"""Any server that speaks the OpenAI chat protocol: llama-server, vLLM, Ollama, hosted ones.

The reply's form is asked for in `response_format`, and the schema stands in the question too, since
some servers ignore the one and some the other. A status of 200 promises nothing: the body is read
up to a limit, parsed and checked. Redirects are not followed, cookies are not kept, and what is
compressed is not taken, since a small body can hold a large one. Several samples are asked for in
one request by `n`; from a server that ignores or refuses it, in some requests at once, each with a
seed of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar, TypeVar

import httpx
import structlog

from mentor_service.protocols import Question, Reply
from mentorgrad.errors import (
    DeadlineExceeded,
    InvalidInput,
    MentorgradError,
    ResourceExhausted,
    Unavailable,
)

log = structlog.get_logger(__name__)

R = TypeVar("R")

_MAX_BODY = 2 * 1024 * 1024
_TRIES = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
_LONGEST_WISH = 86_400.0
"""Seconds; a longer `Retry-After` counts as this, which is beyond every deadline anyway."""
_MOST_TOKENS = 2**31
"""A server that counts more cannot count."""
_CHECK_SECONDS = 5.0
_CHARACTERS_A_TOKEN = 2.0
"""Cautious: a question shorter than this certainly fits."""
_REQUESTS_AT_ONCE = 4
"""For one question, where the server takes no `n`."""


class _Refused(Unavailable):
    """The server does not take the request as it is."""


@dataclass(frozen=True)
class _Said:
    """What one response holds."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    prompt_tokens: int
    cached_tokens: int
    reply_tokens: int

    def head(self, count: int) -> _Said:
        """The first of its replies; what the server counted was generated all the same."""
        return replace(self, texts=self.texts[:count], finish_reasons=self.finish_reasons[:count])


class _Retry(Exception):
    """Worth another try; carries the error to raise when there is none left."""

    def __init__(self, error: MentorgradError, after: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class OpenAIBackend:
    """See the module. One instance serves one event loop.

    Args:
        base_url: Up to and with the version, for example ``http://127.0.0.1:8080/v1``.
        model: Name of the model at the server.
        api_key: Bearer token; empty: none is sent.
        context_tokens: Longest question and reply together; the server's own limit holds besides.
        queue_limit: Questions that may be under way.
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
            raise InvalidInput.field("base_url", f"must be an http(s) address, not {base_url!r}")
        if not model:
            raise InvalidInput.field("model", "must name the model at the server")
        headers = {"accept-encoding": "identity"}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        # The deadline of each question is what counts; this only bounds a connection attempt.
        limit = httpx.Timeout(None, connect=10.0)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=limit,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._queue_limit = queue_limit
        self._talks: set[asyncio.Task[Any]] = set()
        self._under_way = 0
        self._takes_n = True
        self.model = model
        self.context_tokens = context_tokens

    @property
    def waiting(self) -> int:
        """See `mentor_service.protocols.Backend`."""
        return self._under_way

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        longest = (self.context_tokens - question.max_tokens) * 8
        if len(question.system) + len(question.user) > longest:
            raise InvalidInput(
                "the question is longer than the model's context", reason="QUESTION_TOO_LONG"
            )
        if self._under_way >= self._queue_limit:
            raise ResourceExhausted(
                f"{self._under_way} questions are under way already", reason="MENTOR_BUSY"
            )
        started = time.monotonic()
        self._under_way += 1
        try:
            async with asyncio.timeout(timeout):
                said = await self._samples(question, started + timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"the server did not answer within {timeout:.1f} s") from None
        finally:
            self._under_way -= 1
        prompt = max(part.prompt_tokens for part in said)
        return Reply(
            texts=tuple(text for part in said for text in part.texts),
            prompt_tokens=prompt,
            # The first request finds in the server's cache what there was; the others its question.
            evaluated_tokens=max(0, prompt - said[0].cached_tokens),
            reply_tokens=sum(part.reply_tokens for part in said),
            duration=timedelta(seconds=time.monotonic() - started),
            finish_reasons=tuple(finish for part in said for finish in part.finish_reasons),
        )

    async def _samples(self, question: Question, deadline: float) -> list[_Said]:
        """Responses that hold as many replies together as the question wants."""
        wanted = question.samples
        said: list[_Said] = []
        if wanted == 1 or self._takes_n:
            try:
                said.append((await self._request(question, 0, wanted, deadline)).head(wanted))
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
            # Servers that do not know `n` mostly pass over it. They are not asked again.
            self._takes_n = False
            log.info("llm_server_takes_no_n", model=self.model)
        return said + [part.head(1) for part in rest]

    async def _request(self, question: Question, number: int, count: int, deadline: float) -> _Said:
        """`count` replies, from the question's `number`-th on."""
        payload = _payload(self.model, question, number, count)
        return _said(await self._with_retries(payload, deadline))

    async def check(self) -> None:
        """Raises `Unavailable` when the server is not there, fails, or refuses the key.

        It is asked for its models; one that has no such list answers that, which is an answer.
        """
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                status = await self._cancelled_once(self._look())
        except TimeoutError:
            raise Unavailable("the LLM server does not answer") from None
        except httpx.RequestError as error:
            name = type(error).__name__
            raise Unavailable(f"the LLM server cannot be reached ({name})") from None
        if status in (401, 403) or status >= 500:
            raise Unavailable(f"the LLM server answers with status {status}")

    async def close(self) -> None:
        """Closes the connections."""
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._http.aclose()

    async def _cancelled_once(self, talk: Coroutine[Any, Any, R]) -> R:
        """Talks to the server in a task of its own, which is cancelled at most once.

        httpx closes the connection on its way out. A second cancellation on that way, as when two
        deadlines end in one moment, would leave it open, and a server that never stops talking.
        """
        task = asyncio.ensure_future(talk)
        self._talks.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._talks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else may look, and asyncio complains of what nobody saw

    async def _with_retries(self, payload: dict[str, Any], deadline: float) -> dict[str, Any]:
        for turn in range(_TRIES):
            try:
                return await self._once("chat/completions", payload)
            except _Retry as retry:
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**turn) * random.uniform(0.5, 1.0)
                pause = max(pause, retry.after or 0.0)
                # What cannot come in time is not waited for: the caller can do something else.
                if turn + 1 == _TRIES or time.monotonic() + pause >= deadline:
                    raise retry.error from None
                log.info("llm_server_retry", reason=str(retry), pause=round(pause, 2))
                await asyncio.sleep(pause)
        raise AssertionError("the last turn returns or raises")

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
            raise Unavailable("the LLM server answered something that is not a JSON object")
        return document

    async def _post(self, path: str, payload: dict[str, Any]) -> tuple[httpx.Response, bytes]:
        async with self._http.stream("POST", path, json=payload) as response:
            return response, await _limited_body(response)

    async def _look(self) -> int:
        async with self._http.stream("GET", "models") as response:
            return response.status_code


async def _some_at_once(
    request: Callable[[int], Awaitable[_Said]], numbers: Iterable[int]
) -> list[_Said]:
    """The requests of these numbers, a few at once, in order; the first error ends the others."""
    places = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def run(number: int) -> _Said:
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
        # Some servers take 32 bits only.
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
        raise Unavailable("the LLM server's answer is compressed, which was not asked for")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > _MAX_BODY:
            raise Unavailable(f"the LLM server's answer exceeds {_MAX_BODY} bytes")
    return bytes(body)


def _refuse(response: httpx.Response, body: bytes) -> None:
    """Raises what a status other than 200 means."""
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
            f"the LLM server refused the key (status {status}); "
            "set MENTORGRAD_MENTOR_OPENAI_API_KEY"
        )
    raise _Refused(f"the LLM server refused the question with status {status} ({said})")


def _message(body: bytes) -> str:
    """What an error body says, in one short line."""
    try:
        document = json.loads(body)
        error = document.get("error", document)
        said = str(error.get("message", "") if isinstance(error, dict) else error)
    except (ValueError, AttributeError, RecursionError):
        said = body[:200].decode(errors="replace")
    return _spelt(" ".join(said.split())[:200]) or "no reason given"


def _seconds(header: str) -> float | None:
    """What ``Retry-After`` asks for: seconds, or a date."""
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


def _spelt(text: str) -> str:
    # JSON can spell lone surrogates, which UTF-8 and so the wire cannot.
    return text.encode("utf-8", "replace").decode()


def _said(body: dict[str, Any]) -> _Said:
    try:
        texts = [choice["message"]["content"] for choice in body["choices"]]
        finishes = [choice.get("finish_reason") for choice in body["choices"]]
    except (KeyError, IndexError, TypeError, AttributeError):
        texts = []
    if not texts:
        raise Unavailable("the LLM server's answer holds no message")
    if not all(isinstance(text, str) for text in texts):
        raise Unavailable("the LLM server's answer holds no text")
    usage = _mapping(body.get("usage"))
    return _Said(
        texts=tuple(map(_spelt, texts)),
        finish_reasons=tuple("length" if reason == "length" else "stop" for reason in finishes),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reply_tokens=_count(usage.get("completion_tokens")),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 <= value <= _MOST_TOKENS else 0
