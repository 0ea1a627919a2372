"""Any server that speaks the OpenAI chat protocol: llama-server, vLLM, Ollama, hosted ones.

The reply's form is asked for in `response_format`, and the schema stands in the question too, since
some servers ignore the one and some the other. A status of 200 promises nothing: the body is read
up to a limit, parsed and checked. Redirects are not followed, cookies are not kept, and what is
compressed is not taken, since a small body can hold a large one.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, ClassVar

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
        self._under_way = 0
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
                body = await self._with_retries(_request(self.model, question), started + timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"the server did not answer within {timeout:.1f} s") from None
        finally:
            self._under_way -= 1
        return _reply(body, timedelta(seconds=time.monotonic() - started))

    async def check(self) -> None:
        """Raises `Unavailable` when the server is not there, fails, or refuses the key.

        It is asked for its models; one that has no such list answers that, which is an answer.
        """
        try:
            async with (
                asyncio.timeout(_CHECK_SECONDS),
                self._http.stream("GET", "models") as response,
            ):
                status = response.status_code
        except TimeoutError:
            raise Unavailable("the LLM server does not answer") from None
        except httpx.RequestError as error:
            name = type(error).__name__
            raise Unavailable(f"the LLM server cannot be reached ({name})") from None
        if status in (401, 403) or status >= 500:
            raise Unavailable(f"the LLM server answers with status {status}")

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

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
            async with self._http.stream("POST", path, json=payload) as response:
                body = await _limited_body(response)
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


def _request(model: str, question: Question) -> dict[str, Any]:
    user = question.user
    payload: dict[str, Any] = {
        "model": model,
        "max_tokens": question.max_tokens,
        "temperature": question.temperature,
        # Some servers take 32 bits only.
        "seed": question.seed % 2**31,
    }
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
    raise Unavailable(f"the LLM server refused the question with status {status} ({said})")


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


def _reply(body: dict[str, Any], duration: timedelta) -> Reply:
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"]
        finish = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Unavailable("the LLM server's answer holds no message") from None
    if not isinstance(text, str):
        raise Unavailable("the LLM server's answer holds no text")
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Reply(
        text=_spelt(text),
        prompt_tokens=_count(counts.get("prompt_tokens")),
        reply_tokens=_count(counts.get("completion_tokens")),
        duration=duration,
        finish_reason="length" if finish == "length" else "stop",
    )


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return 0
    return value if 0 <= value <= _MOST_TOKENS else 0
