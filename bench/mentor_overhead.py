"""Seconds per reply token of the mentor service, relative to direct calls of llama-cpp-python.

Both sides have the same model file, one thread, and the same questions (from the strategy itself),
grammar, temperature and seeds. One side is a mentor process called over gRPC, the other is
`Llama.create_chat_completion` in this process. Figures are per reply token, since the two sample
different words. Every question has a different pool, so both sides can cache the same prefix.

    python -m bench.mentor_overhead [--blocks 10]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from typing import Any

from bench.asked import question
from bench.paired import abba, environment
from bench.services import mentor_process
from mentor_service.protocols import Knowledge
from mentorgrad.client import MentorClient
from mentorgrad.domain.advice import (
    AdviseOpen,
    AnswerStatus,
    Batch,
    Constraints,
    ProposalRequest,
    ProposeInput,
    TaskCard,
)
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

OPTIONS = {"samples": 1, "calls": 1}
"""One reply per question, as the direct call gives."""

CARD = TaskCard(
    "label_prompt",
    "what a customer's message to an online shop is about",
    ("billing", "refund", "delivery", "account", "defect", "cancellation"),
)
WORDS = [
    "order",
    "help",
    "parcel",
    "letter",
    "money",
    "late",
    "wrong",
    "change",
    "page",
    "note",
    "call",
    "item",
    "ask",
    "card",
]


def questions() -> Iterator[ProposeInput]:
    """Questions with new pools and seeds each, the same for both sides."""
    draw = random.Random(7)
    for number in range(1_000_000):
        pool = tuple(
            Candidate(
                f"c{i}",
                CandidateSource.PROJECTION,
                text=" ".join(draw.sample(WORDS, 4)),
                score=Score(draw.uniform(0.5, 1.5), draw.random(), 144),
            )
            for i in range(6)
        )
        yield ProposeInput(
            AdviseOpen("bench", CARD, Constraints(n_tokens=8, max_words=6), options=OPTIONS),
            (Batch(seq=1, candidates=pool),),
            ProposalRequest(f"q{number}", count=8, seed=number),
        )


class Service:
    """A mentor process, called over gRPC."""

    def __init__(self, address: str) -> None:
        self._client = MentorClient(address)
        self._questions = questions()

    def measure(self) -> float:
        """Seconds per reply token of one answer."""
        asked = next(self._questions)
        started = time.perf_counter()
        answer = self._client.propose(asked)
        taken = time.perf_counter() - started
        assert answer.status is AnswerStatus.USABLE, answer.detail
        return taken / sum(record.reply_tokens for record in answer.records)

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()


class Direct:
    """llama-cpp-python in this process."""

    def __init__(self) -> None:
        import llama_cpp

        self._grammar: Any = llama_cpp.LlamaGrammar
        self._llm: Any = llama_cpp.Llama(
            model_path=str(resolve(DEFAULT_MENTOR_MODEL)),
            n_ctx=4096,
            n_threads=1,
            n_threads_batch=1,
            verbose=False,
        )
        self._questions = questions()

    def measure(self) -> float:
        """Seconds per reply token of one answer."""
        asked = next(self._questions)
        known = Knowledge(
            asked.open, (), {c.candidate_id: c for c in asked.batches[0].candidates}, ()
        )
        started = time.perf_counter()
        plan = question(asked.request, known, OPTIONS)
        reply = self._llm.create_chat_completion(
            messages=[{"role": "user", "content": plan.user}],
            grammar=self._grammar.from_string(plan.grammar, verbose=False),
            max_tokens=plan.max_tokens,
            temperature=plan.temperature,
            seed=plan.seed,
        )
        return (time.perf_counter() - started) / int(reply["usage"]["completion_tokens"])


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=10)
    arguments = parser.parse_args()
    with mentor_process("--threads", "1") as address:
        service = Service(address)
        direct = Direct()
        result = abba(service.measure, direct.measure, arguments.blocks)
        service.close()
    print(
        json.dumps(
            {
                "ratio": round(result.ratio, 4),
                "quartiles": [round(result.low, 4), round(result.high, 4)],
                "seconds_per_token": {
                    "service": round(result.a, 5),
                    "direct": round(result.b, 5),
                },
                "blocks": arguments.blocks,
                "model": DEFAULT_MENTOR_MODEL,
                "environment": environment("llama-cpp-python", "grpcio"),
            }
        )
    )


if __name__ == "__main__":
    main()
