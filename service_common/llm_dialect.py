"""What OpenAI-compatible servers refuse of a request by its name, and the request without it.

Servers and models differ in the parameters that they take (llama-server, vLLM, Ollama, LM Studio,
LiteLLM, hosted ones), and say so only when asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

Request = dict[str, Any]


@dataclass(frozen=True)
class Concession:
    """One thing that a request can do without."""

    name: str
    """Name for the log."""
    named: re.Pattern[str]
    """How servers name what they refuse."""
    made: Callable[[Request], Request | None]
    """The request without it; None if it has nothing of it."""


def conceded(request: Request, names: Collection[str]) -> Request:
    """The request with these concessions."""
    for concession in CONCESSIONS:
        if concession.name in names:
            request = concession.made(request) or request
    return request


def concession(said: str, request: Request) -> str | None:
    """The name of the first concession to a refusal that changes the request; None: there is none.

    Args:
        said: What the server names in its refusal.
        request: The request that it refused.
    """
    for possible in CONCESSIONS:
        if possible.named.search(said) and possible.made(request) is not None:
            return possible.name
    return None


def _without(*parameters: str) -> Callable[[Request], Request | None]:
    def made(request: Request) -> Request | None:
        kept = {name: value for name, value in request.items() if name not in parameters}
        return kept if len(kept) < len(request) else None

    return made


def _any_json(request: Request) -> Request | None:
    wanted = request.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return None
    return request | {"response_format": {"type": "json_object"}}


def _completion_tokens(request: Request) -> Request | None:
    if "max_tokens" not in request:
        return None
    return {
        "max_completion_tokens" if name == "max_tokens" else name: value
        for name, value in request.items()
    }


def _one_message(request: Request) -> Request | None:
    """Puts the system message in front of the user's."""
    messages = request.get("messages")
    if not messages or messages[0]["role"] != "system":
        return None
    system, user, *rest = messages
    merged = user | {"content": f"{system['content']}\n\n{user['content']}"}
    return request | {"messages": [merged, *rest]}


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.I)


_FORMAT = _words(r"response[_ ]?format|json[_ ]?schema|structured[_ ]output|grammar|guided")

CONCESSIONS = (
    Concession("max_completion_tokens", _words(r"max_tokens"), _completion_tokens),
    Concession("json_object", _FORMAT, _any_json),
    Concession("no_response_format", _FORMAT, _without("response_format")),
    Concession("no_temperature", _words(r"\btemperature\b"), _without("temperature")),
    Concession("no_seed", _words(r"\bseed\b"), _without("seed")),
    Concession(
        "no_penalties",
        _words(r"(frequency|presence)_?penalty"),
        _without("frequency_penalty", "presence_penalty"),
    ),
    Concession("no_stop", _words(r"\bstop\b"), _without("stop")),
    Concession(
        "one_message",
        _words(
            r"\bsystem['\"]? (role|message|prompt|instruction)|role['\"]?:? ['\"]?system"
            r"|support ['\"]system|developer instruction|roles must alternate"
        ),
        _one_message,
    ),
)
"""The concessions, in the order in which they are tried and made."""
