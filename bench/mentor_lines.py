"""Lines for a language model's input: how many of those drawn are of use, and what they cost.

Asks a local model by the strategy `maao` for `--count` lines per task, in the completion form: the
next lines of a list of other tasks. In the same run, as the peer, for `--peer` proposals in the
chat form of the same profile. A line is of use if the strategy keeps it; all others are counted by
the reason. Of the tasks only descriptions and labels are read: the built-in one, and those of a
folder. CPU seconds are the process's, of all threads; wall seconds mean something on an idle
machine only. Both are scaled to 48 lines of use.

    python -m bench.mentor_lines [--model REF] [--tasks DIR] [--only sst2,agnews] [--count 48]
        [--peer 8] [--threads 2] [--seed 1] [--show]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.digests import model_sha256
from bench.paired import environment
from bench.task_folder import read_tasks
from mentor_service.backends.llama_cpp import LlamaCppBackend
from mentor_service.profiles import Profile, choose
from mentor_service.protocols import Knowledge
from mentor_service.strategies import registry
from mentorgrad.domain.advice import AdviseOpen, Answer, Constraints, ProposalRequest, TaskCard
from mentorgrad.model_refs import DEFAULT_MENTOR_MODEL, resolve
from trainer_service.tasks.builtin import load_builtin

LIMITS = Constraints(n_tokens=20, max_words=15)
"""Those of `causal_prompt` with 20 tokens."""
PER = 48
"""Usable lines that times are given for."""
DROPPED = re.compile(r"(\d+) ([^;]+)")


@dataclass
class Drawn:
    """What was drawn, and what it took."""

    usable: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    tokens: int = 0
    questions: int = 0

    def add(self, other: Drawn) -> None:
        """Adds another one to it."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def report(self) -> dict[str, Any]:
        """Figures for JSON; times per `PER` usable lines."""
        drawn = self.usable + self.dropped.total()
        each = PER / max(1, self.usable)
        return {
            "drawn": drawn,
            "usable": self.usable,
            "usable_share": round(self.usable / max(1, drawn), 3),
            "dropped_share": {
                reason: round(count / drawn, 3) for reason, count in self.dropped.most_common()
            },
            f"wall_s_per_{PER}": round(self.wall_s * each, 1),
            f"cpu_s_per_{PER}": round(self.cpu_s * each, 1),
            "reply_tokens": self.tokens,
            "questions": self.questions,
        }


class Mentor:
    """The mentor's model in this process, asked by the strategy `maao`."""

    def __init__(self, path: Path, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._backend = LlamaCppBackend(path, threads=threads)
        self.profile: Profile = choose(
            "auto", self._backend.parameters, self._backend.context_tokens
        )
        self.parameters = self._backend.parameters

    def propose(
        self, card: TaskCard, count: int, seed: int, options: Mapping[str, Any]
    ) -> tuple[Answer, Drawn]:
        """Asks for proposals for one task."""
        strategy = registry.create("maao", options, self.profile, "")
        known = Knowledge(AdviseOpen("bench", card, LIMITS), (), {}, ())
        request = ProposalRequest("q", count=count, seed=seed)
        wall, cpu = time.perf_counter(), time.process_time()
        answer = self._loop.run_until_complete(
            strategy.propose(request, known, lambda asked: self._backend.ask(asked, 3600.0))
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return answer, Drawn(
            usable=len(answer.proposals),
            dropped=dropped(answer.detail),
            wall_s=wall,
            cpu_s=cpu,
            tokens=sum(record.reply_tokens for record in answer.records),
            questions=len(answer.records),
        )

    def close(self) -> None:
        """Frees the model."""
        self._loop.run_until_complete(self._backend.close())
        self._loop.close()


def dropped(detail: str) -> Counter[str]:
    """How many were dropped for which reason, by an answer's detail."""
    _, _, reasons = detail.partition("dropped ")
    return Counter({why: int(count) for count, why in DROPPED.findall(reasons.partition(": ")[2])})


def cards(folder: Path | None, only: tuple[str, ...]) -> Iterable[tuple[str, TaskCard]]:
    """Names and cards of the tasks."""
    tickets = load_builtin("tickets")
    tasks = [("tickets", tickets.description, tickets.labels)]
    if folder is not None:
        tasks += [(task.name, task.description, task.labels) for task in read_tasks(folder, only)]
    place = "between the text and the answer"
    for name, description, labels in tasks:
        yield (
            name,
            TaskCard(
                "causal_prompt", description, tuple(labels), f"a line that stands {place}", place
            ),
        )


def measure(
    mentor: Mentor,
    tasks: list[tuple[str, TaskCard]],
    count: int,
    seed: int,
    form: str,
    show: bool,
) -> dict[str, Any]:
    """Figures per task, and of all together."""
    pooled, found = Drawn(), {}
    for name, card in tasks:
        answer, drawn = mentor.propose(card, count, seed, {"form": form})
        pooled.add(drawn)
        found[name] = drawn.report()
        for proposal in answer.proposals if show else ():
            print(f"{form} {name}: {proposal.text}")
        print(f"{form} {name}: {json.dumps(found[name])}", flush=True)
    return {"pooled": pooled.report(), **found}


def main() -> None:
    """Runs the benchmark and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MENTOR_MODEL, help="a file or a reference")
    parser.add_argument("--tasks", type=Path, metavar="DIR", help="folder of tasks")
    parser.add_argument("--only", default="sst2,agnews,mpqa", metavar="NAMES", help="of the folder")
    parser.add_argument("--count", type=int, default=PER, help="lines per task")
    parser.add_argument("--peer", type=int, default=8, help="proposals of the peer per task")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print the lines")
    arguments = parser.parse_args()
    only = tuple(name for name in arguments.only.split(",") if name)
    tasks = list(cards(arguments.tasks, only))
    mentor = Mentor(resolve(arguments.model), arguments.threads)
    seed, show = arguments.seed, arguments.show
    lines = measure(mentor, tasks, arguments.count, seed, "completion", show)
    peer = measure(mentor, tasks, arguments.peer, seed, "chat", show) if arguments.peer else None
    print(
        json.dumps(
            {
                "lines": lines,
                "chat": peer,
                "count": arguments.count,
                "count_of_chat": arguments.peer,
                "profile": mentor.profile.name,
                "parameters": mentor.parameters,
                "model_sha256": model_sha256(arguments.model),
                "threads": arguments.threads,
                "load_average": round(os.getloadavg()[0], 1),
                "environment": environment("llama-cpp-python", "numpy"),
            }
        )
    )
    mentor.close()


if __name__ == "__main__":
    main()
