"""Reads label scores from the replies of OpenAI-compatible servers, in their dialects. No I/O."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service_common.llm_server import mapping, plain_text

Likely = dict[str, float]
"""Text of a token → its log-probability."""


def first_choice(body: dict[str, Any]) -> dict[str, Any]:
    """The first choice of a reply; empty if there is none."""
    choices = body.get("choices")
    return mapping(choices[0]) if isinstance(choices, list) and choices else {}


def reply_text(body: dict[str, Any]) -> str | None:
    """The text of a completion or of a chat reply; None without one."""
    choice = first_choice(body)
    return plain_text(choice.get("text", mapping(choice.get("message")).get("content")))


def likely_tokens(body: dict[str, Any]) -> Likely:
    """The most likely first tokens of a reply; empty if the server gives none.

    Completions have ``top_logprobs: [{token: logprob}]`` (OpenAI, vLLM). Chats, and the completions
    of llama-server, have ``content: [{top_logprobs: [{token, logprob}]}]``.
    """
    logprobs = mapping(first_choice(body).get("logprobs"))
    tops, content = logprobs.get("top_logprobs"), logprobs.get("content")
    if isinstance(tops, list) and tops:
        pairs: list[tuple[Any, Any]] = list(mapping(tops[0]).items())
    elif isinstance(content, list) and content:
        entries = mapping(content[0]).get("top_logprobs")
        items = [mapping(entry) for entry in entries] if isinstance(entries, list) else []
        pairs = [(item.get("token"), item.get("logprob")) for item in items]
    else:
        return {}
    found: Likely = {}
    for token, value in pairs:
        if isinstance(token, str) and _is_log(value):
            found[token] = max(float(value), found.get(token, -math.inf))
    return found


def _is_log(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


@dataclass(frozen=True)
class FirstTokens:
    """The scores of labels by their first tokens."""

    scores: list[float]
    """Log-probabilities; of a label that is missing, that of the least likely token listed."""
    missing: bool
    """Whether a label's first token is not among those listed."""
    shared: bool
    """Whether two labels have the same first token."""


def score_first_tokens(likely: Likely, labels: Sequence[str]) -> FirstTokens:
    """Scores the labels by the tokens listed: of each label its longest beginning."""
    chosen = [_first_token(likely, label) for label in labels]
    known = [token for token in chosen if token is not None]
    least = min(likely.values())
    return FirstTokens(
        scores=[least if token is None else likely[token] for token in chosen],
        missing=len(known) < len(labels),
        shared=len(set(known)) < len(known),
    )


def _first_token(likely: Likely, label: str) -> str | None:
    # Tokenizers write the space before a word differently, and chats begin without one.
    fitting = [token for token in likely if token.strip() and label.startswith(token.lstrip())]
    return max(fitting, key=lambda token: (len(token.strip()), token[0] == " "), default=None)


def likely_word(likely: Likely) -> tuple[str, float]:
    """The most likely token that is a word behind a space, and its log-probability; an empty word
    if there is none."""
    words = {
        token: value for token, value in likely.items() if token[0] == " " and token[1:].isalpha()
    }
    if not words:
        return "", 0.0
    best = max(words, key=words.__getitem__)
    return best[1:], words[best]


def echoed_score(body: dict[str, Any], before: str, label: str) -> float | None:
    """The log-probability of a label in an echoed prompt; None if the server does not echo.

    Args:
        body: The reply.
        before: The prompt before the label and its space.
        label: The label.
    """
    logprobs = mapping(first_choice(body).get("logprobs"))
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list) or len(tokens) != len(values):
        return None
    if not all(isinstance(token, str) for token in tokens):
        return None
    start = "".join(tokens).find(f"{before} {label}")
    if start < 0:
        return None
    begin, end = start + len(before), start + len(before) + 1 + len(label)
    total, position = 0.0, 0
    for token, value in zip(tokens, values, strict=True):
        after = position + len(token)
        if position < end and after > begin:
            if not _is_log(value):
                return None
            total += value
        position = after
    return total


def label_in(reply: str, labels: Sequence[str]) -> int | None:
    """The label that a reply names: as JSON, at its beginning, or as the only one in it."""
    text = reply.strip()
    try:
        document = json.loads(text)
        if isinstance(document, dict) and len(document) == 1:
            text = str(next(iter(document.values())))
    except (ValueError, RecursionError):
        pass
    text = text.strip().strip("\"'`*.").casefold()
    longest_first = sorted(range(len(labels)), key=lambda index: -len(labels[index]))
    found = [index for index in longest_first if _has_word(text, labels[index])]
    for index in found:
        if text.startswith(labels[index].casefold()):
            return index
    return found[0] if len(found) == 1 else None


def _has_word(text: str, label: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label.casefold())}(?!\w)", text) is not None
