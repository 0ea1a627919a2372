"""What the table of objectives knows of each; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mentorgrad.domain.advice import ProposalKind
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.schema import snake_case
from trainer_service.costs import RowCosts
from trainer_service.objectives.start_files import OpenRun, StartSources, no_runs
from trainer_service.tasks.data import TaskData


class Findings:
    """Collects violations, and the reason of the first one."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._reason: str | None = None

    def add(self, path: str, description: str, reason: str | None = None) -> None:
        """Adds a violation."""
        self.extend([Violation(path, description)], reason)

    def extend(
        self, violations: Sequence[Violation] | Iterator[Violation], reason: str | None = None
    ) -> None:
        """Adds violations."""
        found = list(violations)
        if found and not self._violations:
            self._reason = reason
        self._violations.extend(found)

    def settle(self) -> None:
        """Raises `InvalidInput` if there are violations."""
        if self._violations:
            raise InvalidInput(violations=self._violations, reason=self._reason)


@dataclass(frozen=True)
class CheckInputs:
    """What the check of a spec's objective works on. No weights are read."""

    path: str
    """Path of the objective's fields in the request."""
    task: TaskData | None
    """The run's rows; None for an objective without data, or if the task is invalid itself."""
    model_roots: Sequence[Path] | None
    """Folders that models named by a path must be in; None: any folder."""
    findings: Findings
    """Takes the violations."""
    run: RunSpec = field(default_factory=RunSpec)
    """The whole spec of the run."""
    tuned_models: Collection[str] = ()
    """Names of the served models that the trainer knows."""
    cache_dir: Path | None = None
    """Cache folder of dequantised models, whose tokenizers can be read; None: no cache."""
    warn: Callable[[str], None] = lambda text: None
    """Takes a warning for the caller: something that is allowed, and hardly intended."""
    open_run: OpenRun = no_runs
    """Opens the files of another run, to start from."""

    @property
    def starts(self) -> StartSources:
        """Where the files that a run starts from may be."""
        return StartSources(self.model_roots, self.open_run)


@dataclass(frozen=True)
class ObjectiveKind:
    """An entry of the table of objectives."""

    spec: type
    """Its dataclass in `mentorgrad.domain.objective`, a member of the union `RunSpec.objective`."""
    build: str
    """``module:function``, imported in a worker: (objective's spec, `BuildInputs`) → `Objective`.
    Raises `InvalidInput` with the fields' paths."""
    costs: Callable[[Any, TaskData | None], RowCosts]
    """(objective's spec, rows) → forward rows of its passes."""
    check: Callable[[Any, CheckInputs], None] = lambda spec, check: None
    """Adds a violation for each field that cannot be used. Raises `Unsupported` if a required
    package is not installed."""
    reopen: str = ""
    """``module:function``, imported to predict with what a run left: (`TunedFiles`, `BuildInputs`)
    → `Tuned`; empty: results of this objective do not predict."""
    uses_task: bool = True
    """Whether the run has labelled rows, as `spec.task` says."""
    takes_images: bool = False
    """Whether rows may be images."""
    has_words: bool = True
    """Whether a parameter's projection is a parameter of its own: see `Language.has_words`."""
    is_written: bool = True
    """Whether a mentor can write a parameter, as words or numbers: see `Language.sections`.
    Otherwise it proposes settings."""
    has_gradients: bool = True
    """Whether the loss is differentiable: see `Problem.has_gradients`."""
    takes_steps: bool = True
    """Whether an optimizer takes steps; otherwise a run consists of proposals and scores."""
    forward_row: str = "a row through the tuned model"
    """What counts as a forward row, for the reference."""

    @property
    def name(self) -> str:
        """Name in specs, for example ``label_prompt``."""
        return snake_case(self.spec.__name__)

    @property
    def proposed(self) -> ProposalKind:
        """What a mentor proposes to it."""
        if not self.is_written:
            return ProposalKind.SETTINGS
        return ProposalKind.TEXT if self.has_words else ProposalKind.NUMBERS

    @property
    def path(self) -> str:
        """Path of its fields in a request."""
        return f"spec.objective.{self.name}"
