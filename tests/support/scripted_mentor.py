"""A mentor service without a model, as a process of its own: ``scripted_mentor.py PORT [DELAY]``.

It shows its metrics and traces itself as the environment says, as a real one does, and answers
every question with as many different phrases, or points, as its grammar asks for, or one line to a
text to continue; the same question gets the same replies.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections import Counter

from prometheus_client import CollectorRegistry

from mentor_service.backends.scripted import ScriptedBackend
from mentor_service.composition import MentorServer
from mentor_service.profiles import PROFILES
from mentor_service.protocols import Question
from mentorgrad.wire import tracing
from service_common import logs
from service_common.metrics import exposed
from service_common.server import announce, serve_until_told


class Replies:
    """Numbered lines, different for every seed, sample and line."""

    def __init__(self) -> None:
        self._given: Counter[int] = Counter()

    def __call__(self, question: Question) -> str:
        """One reply; called once for each sample."""
        count = 1 if question.completes else question.grammar.split("\n")[0].count("line")
        sample = self._given[question.seed] % question.samples
        self._given[question.seed] += 1
        lines = [sample * count + line for line in range(count)]
        if "number ::=" in question.grammar:
            more = re.search(r"number\)\{(\d+)\}", question.grammar)
            dimensions = 1 + int(more.group(1)) if more else 1
            values = [f"0.{question.seed % 10}{n % 100:02}" for n in lines]
            points = [" ".join([value] * dimensions) for value in values]
            return "".join(f"{n + 1}. {point}\n" for n, point in enumerate(points))
        letters = "bcdfghjklmnpqrstvwxz"
        tag = 3 * letters[question.seed % 20]
        words = [letters[n // 20] + letters[n % 20] for n in lines]
        if question.completes:
            return f" Message {tag} {words[0]}{question.last}\n"
        return "".join(f"{n + 1}. message {tag} {word}\n" for n, word in enumerate(words))


async def main() -> None:
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    backend = ScriptedBackend(Replies(), delay=delay)
    registry = CollectorRegistry()
    server = MentorServer(backend, PROFILES["small"], f"127.0.0.1:{sys.argv[1]}", registry)
    with exposed(os.environ.get("MENTORGRAD_MENTOR_METRICS", ""), registry) as shown:
        address = await server.start()
        await serve_until_told(server, 0.5, lambda: announce("mentor", address, shown))


if __name__ == "__main__":
    logs.configure(os.environ.get("MENTORGRAD_MENTOR_LOG_LEVEL", "warning"))
    tracing.configure("mentorgrad-mentor")
    asyncio.run(main())
    tracing.flush()
