"""Options of a session with a mentor, and how it is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from mentorgrad.domain.advice import AdviseOpen, Constraints, TaskCard
from mentorgrad.domain.event import RunEvent
from mentorgrad.domain.objective import External
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import MentorChoice, RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.field_limits import check
from mentorgrad.ids import new_run_id
from mentorgrad.paths import expanded


class RunImporter(Protocol):
    """Imports a run: `mentorgrad.Client`, `mentorgrad.AsyncClient`, or an equivalent object."""

    def import_run(self, events: Iterable[RunEvent]) -> Run | Awaitable[Run]:
        """Imports a complete log in order of seq."""
        ...


@dataclass(frozen=True)
class Recording:
    """How a session is recorded."""

    to: RunImporter | None
    """Imports the log when the session closes; None: only `file` is written."""
    spec: RunSpec
    """Spec of the run, with the objective `External`."""
    file: Path | None = None
    """New file for the log, which is kept; None: a temporary file."""


class SessionOptions(TypedDict, total=False):
    """Options of a session that optimises a soft prompt."""

    labels: Sequence[str]
    """Label words of a classification task."""
    proposal: str
    """See `TaskCard.proposal`; by default a phrase in front of each class name."""
    place: str
    """See `TaskCard.place`; by default ``in front of {label}``."""
    n_tokens: int
    """Maximum tokens of a proposal, in the tuned model's tokenizer; by default 8."""
    max_words: int
    """Maximum words of a proposal; by default `n_tokens`."""
    strategy: str
    """Name of the strategy; by default ``maao``."""
    options: Mapping[str, Any]
    """Options of the strategy."""
    seed: int
    """Random seed of the session; the seed of each question is derived from it."""
    session_id: str
    """Session id in the mentor's logs; by default a new id."""


def open_request(task: str, **options: Unpack[SessionOptions]) -> AdviseOpen:
    """Builds the opening request of a session that optimises a soft prompt.

    Args:
        task: One-line description of the task; the LLM reads it.
        **options: See `SessionOptions`.

    Raises:
        InvalidInput: An argument is invalid.
    """
    n_tokens = options.get("n_tokens", 8)
    opened = AdviseOpen(
        session_id=options.get("session_id") or new_run_id(),
        card=TaskCard(
            "external",
            task,
            tuple(options.get("labels", ())),
            options.get("proposal", ""),
            options.get("place", ""),
        ),
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
    """Builds the `Recording`; None with neither an importer nor a file. The default spec is derived
    from `opened`.

    Raises:
        InvalidInput: The spec is invalid, or its objective is not `External`.
    """
    if to is None and file is None:
        if spec is not None:
            raise InvalidInput.field("spec", "is recorded only with record_to or record_file")
        return None
    spec = spec or RunSpec(
        objective=External(description=opened.card.description),
        task=Task("own", description=opened.card.description, labels=opened.card.labels),
        mentor=MentorChoice("mentor", opened.strategy, opened.options),
        seed=opened.seed,
    )
    if not isinstance(spec.objective, External):
        raise InvalidInput.field(
            "spec.objective", "must be `external`, since your own loop executes the run"
        )
    return Recording(to, check(spec, "spec"), file and expanded(Path(file), "record_file"))
