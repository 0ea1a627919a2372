"""Backend for servers with the OpenAI chat API: llama-server, vLLM, Ollama, hosted ones.

The JSON Schema of the reply is sent in `response_format` and in the prompt, since some servers
ignore the one and some the other. Responses are not trusted (`service_common.llm_server`). Several
samples are requested by `n` in one request; if a server ignores or rejects `n`, by concurrent
requests with different seeds. A text to continue goes to ``completions``, and as a chat to a server
that does not offer it.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import structlog

from mentor_service.answer_limits import encodable
from mentor_service.protocols import Question, Reply
from mentor_service.reasoning import as_reasoning
from mentorgrad.errors import DeadlineExceeded, InvalidInput, ResourceExhausted, Unavailable
from mentorgrad.outside_text import one_line
from service_common.llm_server import (
    LLMServer,
    Refused,
    mapping,
    plain_text,
    some_at_once,
    token_count,
)

log = structlog.get_logger(__name__)

_TRIES = 4
_CHECK_SECONDS = 5.0
_REASONING_FIELDS = ("reasoning_content", "reasoning")
_REQUESTS_AT_ONCE = 4
"""Concurrent requests per question, if the server does not support `n`."""


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
        if not model:
            raise InvalidInput.field("model", "must be the model name on the server")
        self._server = LLMServer(
            base_url,
            api_key=api_key,
            key_variable="MENTORGRAD_MENTOR_OPENAI_API_KEY",
            busy_reason="MENTOR_BUSY",
        )
        self._queue_limit = queue_limit
        self._in_progress = 0
        self._takes_n = True
        self._offers_completions: bool | None = None  # None: not known yet
        self.model = model
        self.context_tokens = context_tokens

    @property
    def waiting(self) -> int:
        """See `mentor_service.protocols.Backend`."""
        return self._in_progress

    async def ask(self, question: Question, timeout: float) -> Reply:
        """See `mentor_service.protocols.Backend`."""
        longest = (self.context_tokens - question.reply_tokens) * 8
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
                said = await self._said(question, started + timeout)
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
            completed=said[0].completed,
        )

    async def _said(self, question: Question, deadline: float) -> list[Reply]:
        """Continues a text if the server can, otherwise asks by chat."""
        chat = replace(question, completes=False)
        if not question.completes or self._offers_completions is False:
            return await self._samples(chat, deadline)
        try:
            said = await self._samples(question, deadline)
        except Unavailable as error:
            if self._offers_completions:
                raise
            said = await self._samples(chat, deadline)
            # A server that is only overloaded is asked again the next time.
            if isinstance(error, (Refused, _NoText)):
                self._offers_completions = False
                log.info("llm_server_offers_no_completions", model=self.model)
        else:
            self._offers_completions = True
        return said

    async def _samples(self, question: Question, deadline: float) -> list[Reply]:
        """Requests as many replies as the question has samples, in one or more responses."""
        wanted = question.samples
        said: list[Reply] = []
        if wanted == 1 or self._takes_n:
            try:
                said.append(await self._request(question, 0, wanted, deadline))
            except Refused:
                if wanted == 1:
                    raise
        first = sum(len(part.texts) for part in said)
        if first == wanted:
            return said
        rest = await some_at_once(
            lambda number: self._request(question, number, 1, deadline),
            range(first, wanted),
            _REQUESTS_AT_ONCE,
        )
        if wanted > 1 and self._takes_n:
            # Servers without `n` mostly ignore it. It is not sent to them again.
            self._takes_n = False
            log.info("llm_server_takes_no_n", model=self.model)
        return said + rest

    async def _request(self, question: Question, number: int, count: int, deadline: float) -> Reply:
        """Requests at most `count` replies, from the `number`-th sample of the question on."""
        payload = _payload(self.model, question, number, count)
        path = "completions" if question.completes else "chat/completions"
        body = await self._server.post(path, payload, deadline, _TRIES)
        return _reply(body, count, question.completes)

    async def check(self) -> None:
        """Health check: requests the list of models. Any status below 500 counts as healthy, except
        401 and 403, since some servers have no such list.

        Raises:
            Unavailable: The server cannot be reached, fails, or rejects the API key.
        """
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                status = await self._server.status("models")
        except TimeoutError:
            raise Unavailable("the LLM server does not respond") from None
        if status in (401, 403) or status >= 500:
            raise Unavailable(f"the LLM server returned status {status}")

    async def close(self) -> None:
        """Closes the connections."""
        await self._server.close()


class _NoText(Unavailable):
    """A response without the text that was asked for."""


def _payload(model: str, question: Question, number: int, count: int) -> dict[str, Any]:
    user = question.user
    payload: dict[str, Any] = {
        "model": model,
        "max_tokens": question.reply_tokens,
        "temperature": question.temperature,
        # Some servers accept 32 bits only.
        "seed": (question.seed + number) % 2**31,
    }
    if count > 1:
        payload["n"] = count
    if question.repeat_penalty:
        payload["frequency_penalty"] = payload["presence_penalty"] = question.repeat_penalty
    if question.completes:
        return {**payload, "prompt": user, "stop": ["\n"]}
    if question.json_schema is not None:
        user += "\n\nJSON Schema of the answer: " + json.dumps(question.json_schema)
        payload["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "proposals", "strict": True, "schema": question.json_schema},
        }
    system = [{"role": "system", "content": question.system}] if question.system else []
    payload["messages"] = [*system, {"role": "user", "content": user}]
    return payload


def _content(message: dict[str, Any]) -> str | None:
    """The content of a message; without one, the reasoning that was cut off before it."""
    content = plain_text(message.get("content"))
    if not content:
        for name in _REASONING_FIELDS:
            if isinstance(text := message.get(name), str) and text:
                return as_reasoning(text)
    return content


def _reply(body: dict[str, Any], most: int, completes: bool) -> Reply:
    """Parses a response; keeps at most `most` replies, but the token counts of all.

    Without a duration. The number of evaluated tokens is negative if the server counts only the
    cached ones.
    """
    try:
        choices = body["choices"]
        texts: list[Any] = [
            said["text"] if completes else _content(said["message"]) for said in choices
        ]
        finishes = [choice.get("finish_reason") for choice in choices]
    except (KeyError, IndexError, TypeError, AttributeError):
        texts = []
    if not texts:
        raise _NoText("the LLM server's response contains no message")
    usage = mapping(body.get("usage"))
    is_cut_before = not completes and "length" in finishes and not any(texts)
    if is_cut_before or not all(isinstance(text, str) for text in texts):
        raise _NoText(f"the LLM server's response contains no text{_why(choices, usage)}")
    prompt = token_count(usage.get("prompt_tokens"))
    cached = token_count(mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    finished = ["length" if reason == "length" else "stop" for reason in finishes]
    if completes:  # some servers ignore `stop`
        cut = [text.partition("\n") for text in texts]
        texts = [line for line, _, _ in cut]
        finished = ["stop" if end else was for (_, end, _), was in zip(cut, finished, strict=True)]
    return Reply(
        texts=tuple(map(encodable, texts[:most])),
        prompt_tokens=prompt,
        evaluated_tokens=prompt - cached,
        reply_tokens=token_count(usage.get("completion_tokens")),
        duration=timedelta(0),
        finish_reasons=tuple(finished)[:most],
        completed=completes,
    )


def _why(choices: Any, usage: dict[str, Any]) -> str:
    """Why a response may contain no text, to append to the error; empty if it does not say."""
    finishes = [choice.get("finish_reason") for choice in choices]
    if "length" in finishes:
        spent = token_count(usage.get("completion_tokens"))
        tokens = f" of {spent} tokens" if spent else ""
        return f": it was cut off at the limit{tokens}, perhaps in the model's thoughts"
    refusals = [mapping(choice.get("message")).get("refusal") for choice in choices]
    said = [f"refusal: {text}" for text in refusals if isinstance(text, str) and text]
    said += [f"finish_reason {why}" for why in finishes if isinstance(why, str) and why != "stop"]
    return f" ({one_line(said[0])[:200]})" if said else ""
