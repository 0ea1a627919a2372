"""The requests by which an OpenAI-compatible server scores labels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from mentorgrad.errors import PreconditionFailed, Unavailable
from service_common.llm_server import LLMServer, Refused, mapping, token_count
from trainer_service.objectives.served_prompt.server_replies import (
    FirstTokens,
    echoed_score,
    label_in,
    likely_tokens,
    likely_word,
    reply_text,
    score_first_tokens,
)
from trainer_service.running.stop_control import MODEL_CHANGED

KEY_VARIABLE = "MENTORGRAD_TRAINER_OPENAI_API_KEY"
"""Environment variable with the API key of the servers."""

ANSWER_SECONDS = 600.0
"""Seconds that one request may take, in a server that is there."""
_ANSWER_TOKENS = 32
_SAME = 1.0
"""Difference of two log-probabilities that rounding may make; quantised models round differently in
batches of different sizes."""


class LabelRequests:
    """Asks a server about the labels after an input, in each of the ways that there are.

    Args:
        url: URL including the version, without a fragment.
        labels: The label words.
        api_key: Bearer token; empty: none is sent.
        patience: Seconds that the server may be away.
    """

    model = ""
    """The model's name in requests; to be set before the first one."""
    reported = ""
    """The name that the first reply gave; empty: none so far. Later ones must give the same."""
    listed = 0
    """Number of likely tokens to ask for."""
    tries: int | None = None
    """Attempts of a request; None: any number until the server's patience ends."""

    def __init__(self, url: str, labels: Sequence[str], *, api_key: str, patience: float) -> None:
        self._labels = list(labels)
        self._patience = patience
        self._tokens = 0
        self._echoes: bool | None = None
        self._trying_echoes = asyncio.Lock()
        self._server = LLMServer(
            url, api_key=api_key, key_variable=KEY_VARIABLE, busy_reason="TUNED_MODEL_BUSY"
        )

    async def only_model(self) -> str:
        """The name of the only model that the server lists; empty if there is not just one."""
        listed = (await self._server.get("models")).get("data")
        names = [mapping(entry).get("id") for entry in listed] if isinstance(listed, list) else []
        return names[0] if len(names) == 1 and isinstance(names[0], str) else ""

    async def completion_tops(self, text: str) -> FirstTokens | None:
        """The labels' scores by the likely tokens of a completion; None without tokens."""
        return self._first_tokens(await self._post("completions", self._wanted(text)))

    async def chat_tops(self, text: str) -> FirstTokens | None:
        """The labels' scores by the likely tokens of a chat's reply; None without tokens."""
        more = {"max_tokens": 1, "logprobs": True, "top_logprobs": self.listed}
        return self._first_tokens(await self._post("chat/completions", _chat(text) | more))

    async def echoed(self, text: str) -> list[float]:
        """The labels' scores in echoed prompts.

        Raises:
            PreconditionFailed: The server does not echo (reason TUNED_MODEL_CHANGED).
        """
        scores = []
        for label in self._labels:
            body = await self._post("completions", _echo(f"{text} {label}"))
            score = echoed_score(body, text, label)
            if score is None:
                raise changed("it no longer echoes prompts")
            scores.append(score)
        return scores

    async def can_echo(self, text: str) -> bool:
        """Whether the server echoes with the right log-probabilities; tried once, with `text`.
        Concurrent requests wait for the result, so that none is scored in another way."""
        async with self._trying_echoes:
            if self._echoes is None:
                self._echoes = await self._echoes_well(text)
            return self._echoes

    async def completed_answer(self, text: str) -> int | None:
        """Index of the label that a completion gives; None: it gives none.

        Raises:
            PreconditionFailed: The reply has no text.
        """
        wanted = {"prompt": text, "max_tokens": _ANSWER_TOKENS, "stop": ["\n"]}
        return self._answer(await self._post("completions", wanted))

    async def chat_answer(self, text: str) -> int | None:
        """Index of the label that a chat's reply gives; see `completed_answer`."""
        words = ", ".join(self._labels)
        asked = _chat(f"{text}\n\nReply with one of these words and nothing else: {words}")
        return self._answer(
            await self._post("chat/completions", asked | {"max_tokens": _ANSWER_TOKENS})
        )

    def take_tokens(self) -> int:
        """Tokens that replies have named since the last call."""
        taken, self._tokens = self._tokens, 0
        return taken

    async def close(self) -> None:
        """Closes the connections."""
        await self._server.close()

    async def _echoes_well(self, text: str) -> bool:
        """Whether the log-probability of a likely token is the same with an echo as without.
        llama-cpp-python's server is one token off."""
        body = await self._post("completions", self._wanted(text))
        word, value = likely_word(likely_tokens(body))
        if not word:
            return False
        try:
            echoed = await self._post("completions", _echo(f"{text} {word}"))
        except (Refused, Unavailable):
            return False
        score = echoed_score(echoed, text, word)
        return score is not None and abs(score - value) < _SAME

    def _wanted(self, text: str) -> dict[str, Any]:
        return {"prompt": text, "max_tokens": 1, "logprobs": self.listed}

    def _first_tokens(self, body: dict[str, Any]) -> FirstTokens | None:
        likely = likely_tokens(body)
        return score_first_tokens(likely, self._labels) if likely else None

    def _answer(self, body: dict[str, Any]) -> int | None:
        reply = reply_text(body)
        if reply is None:
            raise PreconditionFailed(
                "the tuned model's server answered without a text", reason="BAD_ANSWER"
            )
        return label_in(reply, self._labels)

    async def _post(self, path: str, payload: dict[str, Any]) -> dict[str, Any]:
        payload = {"model": self.model, "temperature": 0.0} | payload
        async with asyncio.timeout(self._patience + ANSWER_SECONDS):
            deadline = time.monotonic() + self._patience
            body = await self._server.post(path, payload, deadline, self.tries)
        usage = mapping(body.get("usage"))
        self._tokens += token_count(usage.get("prompt_tokens"))
        self._tokens += token_count(usage.get("completion_tokens"))
        reported = body.get("model")
        if isinstance(reported, str) and reported:
            self.reported = self.reported or reported
            if reported != self.reported:
                raise changed(f"it was {self.reported}, and is {reported} now")
        return body


def changed(how: str) -> PreconditionFailed:
    """The error of a server whose model is another one by now."""
    return PreconditionFailed(f"the tuned model has changed: {how}", reason=MODEL_CHANGED)


def _chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _echo(text: str) -> dict[str, Any]:
    return {"prompt": text, "max_tokens": 0, "logprobs": 1, "echo": True}
