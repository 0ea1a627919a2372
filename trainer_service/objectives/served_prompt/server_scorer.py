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

from mentorgrad.errors import InvalidInput, ResourceExhausted, Unavailable
from service_common.llm_server import Refused, some_at_once
from trainer_service.objectives.served_prompt.label_requests import (
    ANSWER_SECONDS,
    LabelRequests,
    changed,
)
from trainer_service.objectives.served_prompt.scorer import answered
from trainer_service.objectives.served_prompt.server_replies import FirstTokens
from trainer_service.running.stop_control import MODEL_AWAY

log = structlog.get_logger(__name__)

R = TypeVar("R")

PATIENCE = 120.0
"""Seconds that a server may be away before the run is paused."""

_AT_ONCE = 8
"""Concurrent requests."""
_TICK = 0.2
"""Seconds between two checks for a stop request."""
_LISTED = (100, 20, 5)
"""Numbers of likely tokens to ask for, until the server accepts one: vLLM takes 20 by default,
OpenAI 5 for completions and 20 for chats."""
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
        self._labels = len(labels)
        self._abort = abort
        self._patience = patience
        self._example = "".join(example)
        self._requests = LabelRequests(address, labels, api_key=api_key, patience=patience)
        self._runner = asyncio.Runner()
        try:
            self._way = self._run(self._connect(name, given))
        except BaseException:
            self.close()
            raise
        self.gives_probabilities = self._way not in (Way.COMPLETED_ANSWERS, Way.CHAT_ANSWERS)
        self.model = f"{self._requests.reported or self._requests.model} ({self._way})"
        log.info("tuned_model_found", name=name, model=self.model)
        if not self.gives_probabilities:
            log.warning("tuned_model_without_probabilities", name=name, model=self.model)

    def scores(self, heads: Sequence[str], tails: Sequence[str]) -> NDArray[np.float64]:
        """See `LabelScorer`."""
        inputs = [head + tail for tail in tails for head in heads]
        found = self._run(some_at_once(self._one, inputs, _AT_ONCE))
        return np.array(found).reshape(len(tails), len(heads), self._labels)

    def count(self, text: str) -> int:
        """See `LabelScorer`; a server's tokens are not known."""
        return 0

    def has_room(self, tail: str) -> bool:
        """See `LabelScorer`; a server's context is not known."""
        return True

    def take_tokens(self) -> int:
        """See `LabelScorer`."""
        return self._requests.take_tokens()

    def close(self) -> None:
        """See `LabelScorer`."""
        self._runner.run(self._requests.close())
        self._runner.close()

    # -- first contact ------------------------------------------------------------------------

    async def _connect(self, name: str, given: str) -> Way:
        """Waits for the server, as long as patience lasts, and finds out what it can do."""
        requests = self._requests
        requests.tries = _FIRST_TRIES
        deadline = time.monotonic() + self._patience
        while True:
            try:
                requests.model = given or await requests.only_model() or name
                way = await self._find_way()
                requests.tries = None
                return way
            except (Unavailable, ResourceExhausted):
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_TICK)

    async def _find_way(self) -> Way:
        """Tries the ways in turn, the best first.

        Raises:
            Unavailable: None works, and at least one fails in a way that may pass.
            InvalidInput: The server rejects all.
        """
        requests = self._requests
        first = await self._first_that_works(requests.completion_tops)
        if first is not None:
            if not (first.shared or first.missing):
                return Way.COMPLETIONS
            if await requests.can_echo(self._example):
                return Way.ECHOES
            if not first.shared:
                return Way.COMPLETIONS
        first = await self._first_that_works(requests.chat_tops)
        if first is not None and not first.shared:
            return Way.CHATS
        away: Unavailable | None = None
        for way, ask in (
            (Way.CHAT_ANSWERS, requests.chat_answer),
            (Way.COMPLETED_ANSWERS, requests.completed_answer),
        ):
            try:
                await ask(self._example)
                return way
            except Refused:
                continue
            except Unavailable as error:
                away = error
        raise away or InvalidInput(
            "the tuned model's server answers neither /completions nor /chat/completions",
            reason="BAD_MODEL",
        )

    async def _first_that_works(
        self, ask: Callable[[str], Awaitable[FirstTokens | None]]
    ) -> FirstTokens | None:
        """The scores with as many listed tokens as the server allows; None without scores."""
        for listed in _LISTED:
            self._requests.listed = listed
            try:
                return await ask(self._example)
            except Refused as refused:
                log.info("tuned_model_refused", listed=listed, reason=refused.message)
            except Unavailable as error:
                # Some servers fail where they should reject a request for log-probabilities.
                log.info("tuned_model_refused", listed=listed, reason=error.message)
                return None
        return None

    # -- scores -------------------------------------------------------------------------------

    async def _one(self, text: str) -> list[float]:
        """The scores of the labels after one input."""
        requests = self._requests
        if self._way is Way.ECHOES:
            return await requests.echoed(text)
        if not self.gives_probabilities:
            chats = self._way is Way.CHAT_ANSWERS
            ask = requests.chat_answer if chats else requests.completed_answer
            return answered(await ask(text), self._labels)
        completes = self._way is Way.COMPLETIONS
        first = await (requests.completion_tops if completes else requests.chat_tops)(text)
        if first is None:
            raise changed("it no longer gives log-probabilities")
        if completes and (first.missing or first.shared) and await requests.can_echo(self._example):
            return await requests.echoed(text)
        return first.scores

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
            why = str(error) or f"no answer within {ANSWER_SECONDS:g} s"
            away = f"the tuned model does not answer: {why}"
            raise Unavailable(away, reason=MODEL_AWAY) from error
