"""What a session with a mentor is opened with, and recorded as."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from mentorgrad.domain.advice import AdviseOpen, Constraints, TaskCard
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import External, MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.ids import new_run_id


class RunImporter(Protocol):
    """Records a run: `mentorgrad.Client`, `mentorgrad.AsyncClient`, or whatever does the same."""

    def import_run(self, events: Iterable[RunEvent]) -> Run | Awaitable[Run]:
        """Takes a whole log in order of seq."""
        ...


@dataclass(frozen=True)
class Recording:
    """Where and as what a session is recorded."""

    to: RunImporter
    """Takes the log when the session closes."""
    spec: RunSpec
    """What the run is; its objective is `External`."""
    file: Path | None = None
    """A new file for the log, which stays; by default a temporary one."""


class SessionOptions(TypedDict, total=False):
    """Options of a session about a soft prompt."""

    labels: Sequence[str]
    """Label words, where there are classes."""
    n_tokens: int
    """Most tokens of a proposal, in your own tokenizer; by default 8."""
    max_words: int
    """Most words that the mentor should write; by default `n_tokens`."""
    strategy: str
    """One of the mentor's strategies; by default ``maao``."""
    options: Mapping[str, Any]
    """Of the strategy."""
    seed: int
    """Of the session; the seed of each question follows from it."""
    session_id: str
    """A name for the mentor's logs; by default a new one."""


def open_request(task: str, **options: Unpack[SessionOptions]) -> AdviseOpen:
    """What a session about a soft prompt is opened with.

    Args:
        task: What is optimised, in one line; the mentor reads it.
        **options: See `SessionOptions`.

    Raises:
        InvalidInput: Something is out of bounds.
    """
    n_tokens = options.get("n_tokens", 8)
    opened = AdviseOpen(
        session_id=options.get("session_id") or new_run_id(),
        card=TaskCard("external", task, tuple(options.get("labels", ()))),
        constraints=Constraints(n_tokens=n_tokens, max_words=options.get("max_words", n_tokens)),
        strategy=options.get("strategy", "maao"),
        options=dict(options.get("options", {})),
        seed=options.get("seed", 0),
    )
    return check(opened)


def recording(
    to: RunImporter | None,
    opened: AdviseOpen,
    spec: RunSpec | None = None,
    file: Path | None = None,
) -> Recording | None:
    """What a session is recorded as: by default, what its opening says of it.

    Raises:
        InvalidInput: The spec is wrong, or its objective is not `External`.
    """
    if to is None:
        return None
    spec = spec or RunSpec(
        objective=External(description=opened.card.description),
        task=Task("own", description=opened.card.description, labels=opened.card.labels),
        mentor=MentorChoice("mentor", opened.strategy, opened.options),
        seed=opened.seed,
    )
    if not isinstance(spec.objective, External):
        raise InvalidInput.field("spec.objective", "must be `external`: your own loop executes it")
    return Recording(to, check(spec, "spec"), file)
