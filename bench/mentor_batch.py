"""Replies per second: n replies decoded as a batch, relative to n sequential calls.

Both sides have the same model, question, grammar and lengths: the grammar's lines are longer than a
reply may be, so that every reply has exactly `--tokens` tokens. On both sides the cache holds the
question except its last token. As the limit, the benchmark measures the library alone at the same
lengths: `llama_decode` with n sequences per step, relative to n times one sequence, without
sampling, grammar or detokenization. `--clock cpu` measures the process's CPU time instead of
wall-clock time; with one thread this is meaningful on a busy machine too.

    python -m bench.mentor_batch [--blocks 5] [--tokens 24] [--threads 1] [--clock wall]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Callable
from typing import Any

import llama_cpp

from bench.asked import question
from bench.paired import Paired, abba, environment
from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.grammars import word_lines
from mentor_service.protocols import Knowledge, Question
from mentorgrad.domain.advice import AdviseOpen, Constraints, ProposalRequest, TaskCard
from mentorgrad.domain.run import Candidate, CandidateSource, Score
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve

COUNTS = (8, 32)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
CARD = TaskCard(
    "label_prompt",
    "what a customer's message to an online shop is about",
    ("billing", "refund", "delivery", "account", "defect", "cancellation"),
)
POOL = ("help with my order", "a parcel came late", "money back for the item", "wrong card charged")


def asked(tokens: int) -> Question:
    """A strategy's question, whose replies have exactly `tokens` tokens."""
    pool = {
        f"c{i}": Candidate(
            f"c{i}", CandidateSource.PROJECTION, text=text, score=Score(1.0 - 0.1 * i, 0.5, 144)
        )
        for i, text in enumerate(POOL)
    }
    known = Knowledge(AdviseOpen("bench", CARD, Constraints(n_tokens=8, max_words=6)), (), pool, ())
    plan = question(ProposalRequest("q", count=8, seed=1), known, {"samples": 1})
    # Words have one token or more, and there are as many lines as tokens: no reply ends early.
    return dataclasses.replace(plan, grammar=word_lines(tokens, 6, 2), max_tokens=tokens)


class Proposals:
    """The mentor service's backend, in this process."""

    def __init__(self, threads: int, tokens: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._backend = LlamaCppBackend(resolve(DEFAULT_MENTOR_MODEL), threads=threads)
        self._asked = asked(tokens)
        self._seed = 0
        self.prompt_tokens = self._ask(1)

    def _ask(self, samples: int) -> int:
        self._seed += 1
        changed = dataclasses.replace(self._asked, samples=samples, seed=self._seed)
        reply = self._loop.run_until_complete(self._backend.ask(changed, 3600.0))
        assert reply.reply_tokens == samples * self._asked.max_tokens, reply
        return reply.prompt_tokens

    def together(self, n: int) -> float:
        """Replies per second of one question with n samples."""
        started = self._clock()
        self._ask(n)
        return n / (self._clock() - started)

    def in_turn(self, n: int) -> float:
        """Replies per second of n questions with one sample each."""
        started = self._clock()
        for _ in range(n):
            self._ask(1)
        return n / (self._clock() - started)

    def close(self) -> None:
        """Frees the model."""
        self._loop.run_until_complete(self._backend.close())
        self._loop.close()


class Bare:
    """llama.cpp alone, with arbitrary tokens."""

    def __init__(
        self, threads: int, tokens: int, prompt_tokens: int, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._tokens, self._prompt = tokens, prompt_tokens
        path = str(resolve(DEFAULT_MENTOR_MODEL)).encode()
        self._model: Any = llama_cpp.llama_model_load_from_file(
            path, llama_cpp.llama_model_default_params()
        )
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = 8192, 512, 512
        wanted.n_seq_max, wanted.kv_unified = 1 + max(COUNTS), True
        wanted.n_threads = wanted.n_threads_batch = threads
        self._ctx: Any = llama_cpp.llama_init_from_model(self._model, wanted)
        self._memory = llama_cpp.llama_get_memory(self._ctx)
        self._batch = llama_cpp.llama_batch_init(512, 0, 1)
        self._decode([(1000 + i, i, 0) for i in range(prompt_tokens)])

    def _decode(self, entries: list[tuple[int, int, int]]) -> None:
        batch = self._batch
        batch.n_tokens = len(entries)
        for i, (token, position, sequence) in enumerate(entries):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, sequence, 1
        assert llama_cpp.llama_decode(self._ctx, batch) == 0

    def _replies(self, n: int) -> None:
        last = self._prompt - 1
        llama_cpp.llama_memory_seq_rm(self._memory, 0, last, -1)
        self._decode([(1000 + last, last, 0)])
        sequences = range(1, n + 1)
        for sequence in sequences:
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        # The last token of a reply is not evaluated.
        for position in range(self._prompt, self._prompt + self._tokens - 1):
            self._decode([(2000 + 7 * position + s, position, s) for s in sequences])
        for sequence in sequences:
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def together(self, n: int) -> float:
        """Replies per second with n sequences per step."""
        started = self._clock()
        self._replies(n)
        return n / (self._clock() - started)

    def in_turn(self, n: int) -> float:
        """Replies per second of one sequence, n times."""
        started = self._clock()
        for _ in range(n):
            self._replies(1)
        return n / (self._clock() - started)

    def close(self) -> None:
        """Frees the model."""
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._ctx)
        llama_cpp.llama_model_free(self._model)


def measure(side: Proposals | Bare, n: int, blocks: int) -> Paired:
    """Compares batched decoding (A) with sequential decoding (B)."""
    return abba(lambda: side.together(n), lambda: side.in_turn(n), blocks)


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    clock = CLOCKS[arguments.clock]
    ours = Proposals(arguments.threads, arguments.tokens, clock)
    bare = Bare(arguments.threads, arguments.tokens, ours.prompt_tokens, clock)
    found: dict[str, Any] = {}
    for n in COUNTS:
        ratio = measure(ours, n, arguments.blocks)
        limit = measure(bare, n, arguments.blocks)
        found |= {
            f"ratio_{n}": round(ratio.ratio, 4),
            f"limit_{n}": round(limit.ratio, 4),
            f"of_limit_{n}": round(ratio.ratio / limit.ratio, 4),
            f"quartiles_{n}": [round(ratio.low, 4), round(ratio.high, 4)],
            f"limit_quartiles_{n}": [round(limit.low, 4), round(limit.high, 4)],
            f"replies_per_second_{n}": {
                "together": round(ratio.a, 4),
                "in_turn": round(ratio.b, 4),
                "bare_together": round(limit.a, 4),
                "bare_in_turn": round(limit.b, 4),
            },
        }
    ours.close()
    bare.close()
    found |= {
        "question_tokens": ours.prompt_tokens,
        "tokens_per_reply": arguments.tokens,
        "threads": arguments.threads,
        "clock": arguments.clock,
        "load_average": round(os.getloadavg()[0], 1),
        "blocks": arguments.blocks,
        "model": DEFAULT_MENTOR_MODEL,
        "environment": environment("llama-cpp-python", "numpy"),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
