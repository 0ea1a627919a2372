"""Puts grammars to the real model: a JSON list of them on standard input, one line out for each.

A process of its own, since what llama.cpp cannot take may end the process that it is in. A line is
what came of the grammar: ``reply``, ``dead_end`` or the error's reason. After each a question
without a grammar must be answered.
"""

from __future__ import annotations

import asyncio
import json
import sys

from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.protocols import Question
from mentorgrad.errors import MentorgradError
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from service_common import logs

_SECONDS = 60.0


async def outcome(backend: LlamaCppBackend, grammar: str, tokens: int = 3) -> str:
    question = Question("", "Say hello.", grammar, None, tokens, 0.8, 1)
    try:
        reply = await backend.ask(question, _SECONDS)
    except MentorgradError as error:
        return error.reason
    return "dead_end" if "dead_end" in reply.finish_reasons else "reply"


async def main() -> None:
    backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), context=512)
    for grammar in json.load(sys.stdin):
        came = await outcome(backend, grammar)
        assert await outcome(backend, "", 1) == "reply"
        await backend.check()
        print(json.dumps(came), flush=True)
    await backend.close()


if __name__ == "__main__":
    logs.configure("critical")
    asyncio.run(main())
