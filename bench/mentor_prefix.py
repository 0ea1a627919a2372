"""Effect of the prefix cache: prompt tokens evaluated, and time saved, with two sessions.

Two sessions ask the same mentor alternately; each session's pool gains one candidate per question.
The number of tokens evaluated must be the length of the question minus the longest prefix that it
shares with any earlier question, but at least one. Then the benchmark measures the time of further
rounds, relative to the same questions with a different beginning, which are not cached.

    python -m bench.mentor_prefix [--blocks 5] [--rounds 6] [--threads 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Sequence

from bench.paired import abba, environment
from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.protocols import Question, Reply
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

TOPICS = ("what a customer's message to an online shop is about", "how a guest found the hotel")
WORDS = ["order", "help", "parcel", "letter", "money", "late", "wrong", "change", "page", "note"]


def asked(system: str, user: str) -> Question:
    """A question with a reply of one token, so that prompt evaluation dominates."""
    return Question(system, user, "", None, max_tokens=1, temperature=0.0, seed=0)


class Session:
    """One session, whose questions grow."""

    def __init__(self, topic: str, seed: int) -> None:
        self._draw = random.Random(seed)
        self._lines = [f"Short phrases that say {topic}, worst first, with their losses."]

    def next(self) -> Question:
        """Returns the question of the next round."""
        for _ in range(4):
            words = " ".join(self._draw.sample(WORDS, 4))
            self._lines.append(f"{words}: {self._draw.uniform(0.5, 1.5):.3f}")
        return asked("You propose better phrases.", "\n".join(self._lines))


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix."""
    pairs = zip(a, b, strict=False)
    return next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


class Mentor:
    """The mentor service's backend, in this process."""

    def __init__(self, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), threads=threads)
        self._draw = random.Random(9)

    def ask(self, question: Question) -> Reply:
        """Asks a question."""
        return self._loop.run_until_complete(self._backend.ask(question, 3600.0))

    def tokens(self, question: Question) -> list[int]:
        """Tokenizes a question."""
        return self._backend.engine.tokens(question)

    def seconds(self, questions: Sequence[Question]) -> float:
        """Seconds to answer all questions."""
        started = time.perf_counter()
        for question in questions:
            self.ask(question)
        return time.perf_counter() - started

    def seconds_afresh(self, questions: Sequence[Question]) -> float:
        """Seconds to answer the same questions with new beginnings, which are not cached."""
        new = [
            asked(f"{self._draw.random()} {question.system}", question.user)
            for question in questions
        ]
        return self.seconds(new)

    def close(self) -> None:
        """Frees the model."""
        self._loop.run_until_complete(self._backend.close())
        self._loop.close()


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    mentor = Mentor(arguments.threads)
    sessions = [Session(topic, seed) for seed, topic in enumerate(TOPICS)]
    earlier: list[list[int]] = []
    rows: list[dict[str, int]] = []
    for _ in range(arguments.rounds):
        for session in sessions:
            question = session.next()
            tokens = mentor.tokens(question)
            longest = max((common(tokens[:-1], other) for other in earlier), default=0)
            reply = mentor.ask(question)
            assert reply.prompt_tokens == len(tokens)
            rows.append(
                {
                    "question": len(tokens),
                    "expected": len(tokens) - longest,
                    "evaluated": reply.evaluated_tokens,
                }
            )
            earlier.append(tokens)
    present: list[Question] = []

    def grown() -> float:
        """Returns the questions of the next round of both sessions."""
        present[:] = [session.next() for session in sessions]
        return mentor.seconds(present)

    kept = abba(grown, lambda: mentor.seconds_afresh(present), arguments.blocks)
    mentor.close()
    print(
        json.dumps(
            {
                "exact": all(row["evaluated"] == row["expected"] for row in rows),
                "evaluated": sum(row["evaluated"] for row in rows),
                "expected": sum(row["expected"] for row in rows),
                "question_tokens": sum(row["question"] for row in rows),
                "by_question": rows,
                "seconds_ratio": round(kept.ratio, 4),
                "quartiles": [round(kept.low, 4), round(kept.high, 4)],
                "seconds": {"with_cache": round(kept.a, 4), "afresh": round(kept.b, 4)},
                "threads": arguments.threads,
                "load_average": round(os.getloadavg()[0], 1),
                "blocks": arguments.blocks,
                "model": DEFAULT_MENTOR_MODEL,
                "environment": environment("llama-cpp-python", "numpy"),
            }
        )
    )


if __name__ == "__main__":
    main()
