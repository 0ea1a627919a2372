"""Scores labels with an OpenAI-compatible server.

The first contact finds out what the server can do; the run then keeps to it:

- ``top_logprobs`` of completions, or of chats: one request per input. A label's score is the
  log-probability of its first token;
- where two labels share the first token or one is not listed, an *echoed* prompt, if the server
  echoes: one request per input and label, with the log-probabilities of all of the label's tokens;
- without log-probabilities, the *answer* in words: it only says which label is right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from mentorgrad.errors import InvalidInput, PreconditionFailed, ResourceExhausted, Unavailable
from service_common.llm_server import LLMServer, Refused, mapping, some_at_once, token_count
from trainer_service.objectives.served_prompt.scorer import answered
from trainer_service.objectives.served_prompt.server_replies import (
    FirstTokens,
    echoed_score,
    label_in,
    likely_tokens,
    likely_word,
    reply_text,
    score_first_tokens,
)
from trainer_service.running.stop_control import MODEL_AWAY, MODEL_CHANGED

log = structlog.get_logger(__name__)

R = TypeVar("R")

KEY_VARIABLE = "MENTORGRAD_TRAINER_OPENAI_API_KEY"
"""Environment variable with the API key of the servers."""

PATIENCE = 120.0
"""Seconds that a server may be away before the run is paused."""

_ANSWER_SECONDS = 600.0
"""Seconds that one request may take, in a server that is there."""
_AT_ONCE = 8
"""Concurrent requests."""
_TICK = 0.2
"""Seconds between two checks for a stop request."""
_LISTED = (100, 20, 5)
"""Numbers of likely tokens to ask for, until the server accepts one: vLLM takes 20 by default,
OpenAI 5 for completions and 20 for chats."""
_ANSWER_TOKENS = 32
_SAME = 1.0
"""Difference of two log-probabilities that rounding may make; quantised models round differently in
batches of different sizes."""
_FIRST_TRIES = 4
"""Attempts of a request at the first contact, after which another kind of request is tried."""


class Way(StrEnum):
    """How a server scores labels."""

    COMPLETIONS = "completions, top_logprobs"
    CHATS = "chats, top_logprobs"
    ECHOES = "completions, echo"
    COMPLETED_ANSWERS = "completions, answers"
    CHAT_ANSWERS = "chats, answers"


class ServerScorer:
    """A `LabelScorer` over an OpenAI-compatible server.

    Args:
        name: Name of the tuned model in specs; the model's name on the server if that lists several
            and the URL has no fragment.
        url: URL including the version; a fragment is the model's name on the server
            (``http://127.0.0.1:11434/v1#qwen2.5:1.5b``).
        labels: The label words.
        example: Head and tail of an input, for the first contact.
        api_key: Bearer token; empty: none is sent.
        abort: Called every fraction of a second; may raise to abort.
        patience: Seconds that the server may be away.

    Raises:
        Unavailable: The server does not answer (reason TUNED_MODEL_AWAY).
        InvalidInput: It answers neither completions nor chats.
    """

    room: int | None = None

    def __init__(
        self,
        name: str,
        url: str,
        labels: Sequence[str],
        example: tuple[str, str],
        *,
        api_key: str,
        abort: Callable[[], None],
        patience: float = PATIENCE,
    ) -> None:
        address, _, given = url.partition("#")
        self._name, self._given = name, given
        self._labels = list(labels)
        self._abort = abort
        self._patience = patience
        self._tokens = 0
        self._listed = _LISTED[0]
        self._example = "".join(example)
        self._echoes: bool | None = None
        self._trying_echoes = asyncio.Lock()
        self._reported: str | None = None
        self._tries: int | None = _FIRST_TRIES
        self._runner = asyncio.Runner()
        self._server = LLMServer(
            address, api_key=api_key, key_variable=KEY_VARIABLE, busy_reason="TUNED_MODEL_BUSY"
        )
        try:
            self._way = self._run(self._connect())
        except BaseException:
            self.close()
            raise
        self.gives_probabilities = self._way not in (Way.COMPLETED_ANSWERS, Way.CHAT_ANSWERS)
        self.model = f"{self._reported or self._asked} ({self._way})"
        log.info("tuned_model_found", name=name, model=self.model)
        if not self.gives_probabilities:
            log.warning("tuned_model_without_probabilities", name=name, model=self.model)

    def scores(self, heads: Sequence[str], tails: Sequence[str]) -> NDArray[np.float64]:
        """See `LabelScorer`."""
        inputs = [head + tail for tail in tails for head in heads]
        found = self._run(some_at_once(self._one, inputs, _AT_ONCE))
        return np.array(found).reshape(len(tails), len(heads), len(self._labels))

    def count(self, text: str) -> int:
        """See `LabelScorer`; a server's tokens are not known."""
        return 0

    def has_room(self, tail: str) -> bool:
        """See `LabelScorer`; a server's context is not known."""
        return True

    def take_tokens(self) -> int:
        """See `LabelScorer`."""
        taken, self._tokens = self._tokens, 0
        return taken

    def close(self) -> None:
        """See `LabelScorer`."""
        self._runner.run(self._server.close())
        self._runner.close()

    # -- first contact ------------------------------------------------------------------------

    async def _connect(self) -> Way:
        """Waits for the server, as long as patience lasts, and finds out what it can do."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._asked = self._given or await self._only_model() or self._name
                way = await self._find_way()
                self._tries = None
                return way
            except (Unavailable, ResourceExhausted):
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_TICK)

    async def _only_model(self) -> str:
        """The name of the only model that the server lists; empty if there is not just one."""
        listed = (await self._server.get("models")).get("data")
        names = [mapping(entry).get("id") for entry in listed] if isinstance(listed, list) else []
        return names[0] if len(names) == 1 and isinstance(names[0], str) else ""

    async def _find_way(self) -> Way:
        """Tries the ways in turn, the best first.

        Raises:
            Unavailable: None works, and at least one fails in a way that may pass.
            InvalidInput: The server rejects all.
        """
        first = await self._first_that_works(self._completion_tops)
        if first is not None:
            if not (first.shared or first.missing):
                return Way.COMPLETIONS
            if await self._can_echo():
                return Way.ECHOES
            if not first.shared:
                return Way.COMPLETIONS
        first = await self._first_that_works(self._chat_tops)
        if first is not None and not first.shared:
            return Way.CHATS
        away: Unavailable | None = None
        for self._way in (Way.CHAT_ANSWERS, Way.COMPLETED_ANSWERS):
            try:
                await self._answer(self._example)
                return self._way
            except Refused:
                continue
            except Unavailable as error:
                away = error
        raise away or InvalidInput(
            "the tuned model's server answers neither /completions nor /chat/completions",
            reason="BAD_MODEL",
        )

    async def _can_echo(self) -> bool:
        """Whether the server echoes with the right log-probabilities; tried once. Concurrent
        requests wait for the result, so that none is scored in another way."""
        async with self._trying_echoes:
            if self._echoes is None:
                self._echoes = await self._echoes_well()
            return self._echoes

    async def _echoes_well(self) -> bool:
        """Whether the log-probability of a likely token is the same with an echo as without.
        llama-cpp-python's server is one token off."""
        body = await self._post("completions", self._wanted(self._example))
        word, value = likely_word(likely_tokens(body))
        if not word:
            return False
        try:
            echoed = await self._post("completions", _echo(f"{self._example} {word}"))
        except (Refused, Unavailable):
            return False
        score = echoed_score(echoed, self._example, word)
        return score is not None and abs(score - value) < _SAME

    async def _first_that_works(
        self, ask: Callable[[str], Awaitable[FirstTokens | None]]
    ) -> FirstTokens | None:
        """The scores with as many listed tokens as the server allows; None without scores."""
        for self._listed in _LISTED:
            try:
                return await ask(self._example)
            except Refused as refused:
                log.info("tuned_model_refused", listed=self._listed, reason=refused.message)
            except Unavailable as error:
                # Some servers fail where they should reject a request for log-probabilities.
                log.info("tuned_model_refused", listed=self._listed, reason=error.message)
                return None
        return None

    # -- requests -----------------------------------------------------------------------------

    async def _one(self, text: str) -> list[float]:
        """The scores of the labels after one input."""
        if self._way is Way.ECHOES:
            return await self._echoed(text)
        if self._way in (Way.COMPLETED_ANSWERS, Way.CHAT_ANSWERS):
            return answered(await self._answer(text), len(self._labels))
        ask = self._completion_tops if self._way is Way.COMPLETIONS else self._chat_tops
        first = await ask(text)
        if first is None:
            return self._changed("it no longer gives log-probabilities")
        incomplete = first.missing or first.shared
        if incomplete and self._way is Way.COMPLETIONS and await self._can_echo():
            return await self._echoed(text)
        return first.scores

    async def _completion_tops(self, text: str) -> FirstTokens | None:
        return self._first_tokens(await self._post("completions", self._wanted(text)))

    async def _chat_tops(self, text: str) -> FirstTokens | None:
        more = {"max_tokens": 1, "logprobs": True, "top_logprobs": self._listed}
        return self._first_tokens(await self._post("chat/completions", _chat(text) | more))

    def _wanted(self, text: str) -> dict[str, Any]:
        return {"prompt": text, "max_tokens": 1, "logprobs": self._listed}

    def _first_tokens(self, body: dict[str, Any]) -> FirstTokens | None:
        likely = likely_tokens(body)
        return score_first_tokens(likely, self._labels) if likely else None

    async def _echoed(self, text: str) -> list[float]:
        """The labels' scores in echoed prompts."""
        scores = []
        for label in self._labels:
            body = await self._post("completions", _echo(f"{text} {label}"))
            score = echoed_score(body, text, label)
            if score is None:
                return self._changed("it no longer echoes prompts")
            scores.append(score)
        return scores

    async def _answer(self, text: str) -> int | None:
        if self._way is Way.COMPLETED_ANSWERS:
            wanted = {"prompt": text, "max_tokens": _ANSWER_TOKENS, "stop": ["\n"]}
            body = await self._post("completions", wanted)
        else:
            words = ", ".join(self._labels)
            asked = _chat(f"{text}\n\nReply with one of these words and nothing else: {words}")
            body = await self._post("chat/completions", asked | {"max_tokens": _ANSWER_TOKENS})
        reply = reply_text(body)
        if reply is None:
            raise PreconditionFailed(
                "the tuned model's server answered without a text", reason="BAD_ANSWER"
            )
        return label_in(reply, self._labels)

    async def _post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        payload = {"model": self._asked, "temperature": 0.0} | payload
        async with asyncio.timeout(self._patience + _ANSWER_SECONDS):
            deadline = time.monotonic() + self._patience
            body = await self._server.post(path, payload, deadline, self._tries)
        usage = mapping(body.get("usage"))
        self._tokens += token_count(usage.get("prompt_tokens"))
        self._tokens += token_count(usage.get("completion_tokens"))
        reported = body.get("model")
        if isinstance(reported, str) and reported:
            self._reported = self._reported or reported
            if reported != self._reported:
                self._changed(f"it was {self._reported}, and is {reported} now")
        return body

    def _changed(self, how: str) -> list[float]:
        raise PreconditionFailed(f"the tuned model has changed: {how}", reason=MODEL_CHANGED)

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        """Runs requests to their end; meanwhile checks for a stop request.

        Raises:
            Unavailable: The server does not answer (reason TUNED_MODEL_AWAY).
        """

        async def watched() -> R:
            task = asyncio.ensure_future(work)
            try:
                while not (await asyncio.wait([task], timeout=_TICK))[0]:
                    self._abort()
                return await task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        try:
            return self._runner.run(watched())
        except Refused:
            raise
        except (Unavailable, ResourceExhausted, TimeoutError) as error:
            why = str(error) or f"no answer within {_ANSWER_SECONDS:g} s"
            raise Unavailable(
                f"the tuned model does not answer: {why}", reason=MODEL_AWAY
            ) from error


def _chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _echo(text: str) -> dict[str, Any]:
    return {"prompt": text, "max_tokens": 0, "logprobs": 1, "echo": True}
