"""Validates a spec's data, models and names before a run is queued.

The control plane calls this in its own process, so nothing here imports torch or transformers, and
no weights are read: a model is checked by its configuration and tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mentorgrad.domain.spec import External, Function, LabelPrompt, PromptTuning, RunSpec
from mentorgrad.errors import InvalidInput, MentorgradError, Violation
from mentorgrad.model_refs import resolve
from run_store.invariants import MAX_SEGMENT_BYTES
from trainer_service.encoding.model_files import (
    TokenCounter,
    embedding_width,
    hidden_width,
    max_positions,
    require_encoder,
)
from trainer_service.objectives.torch_free import (
    FUNCTION_BOUNDS,
    LEAST_DIMENSIONS,
    LEAST_TEXT_TOKENS,
    not_executed,
    prompt_tuning_length,
    require_peft,
)
from trainer_service.optimizers import OPTIMIZERS
from trainer_service.tasks.data import TaskData
from trainer_service.tasks.load import load_task


def validate_objective(
    spec: RunSpec, *, data_roots: Sequence[Path] = (), model_roots: Sequence[Path] | None = ()
) -> str:
    """Validates everything that a spec refers to, without reading weights.

    Reads the task's files, which may take seconds; do not call it on an event loop.

    Args:
        spec: The spec.
        data_roots: Directories that must contain the task's files.
        model_roots: Directories that must contain models named by a path; None: no restriction.

    Returns:
        SHA-256 over the run's rows; empty for ``function``.

    Raises:
        InvalidInput: With every violation found.
        Unsupported: A required package is not installed.
    """
    if isinstance(spec.objective, External):
        raise not_executed()
    findings = _Findings()
    if spec.optimizer.name not in OPTIMIZERS:
        findings.add("spec.optimizer.name", f"must be one of: {', '.join(OPTIMIZERS)}")
    task: TaskData | None = None
    if isinstance(spec.objective, Function):
        findings.extend(_function(spec.objective))
    else:
        try:
            task = load_task(spec.task, spec.seed, data_roots)
        except InvalidInput as error:
            findings.extend(error.violations, error.reason)
        if isinstance(spec.objective, PromptTuning):
            require_peft()
            _prompt_tuning(spec.objective, task, model_roots, findings)
        else:
            _label_prompt(spec.objective, task, model_roots, findings)
    findings.settle()
    return task.digest if task else ""


class _Findings:
    """Collects violations, and the reason of the first one."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._reason: str | None = None

    def add(self, path: str, description: str, reason: str | None = None) -> None:
        self.extend([Violation(path, description)], reason)

    def extend(
        self, violations: Sequence[Violation] | Iterator[Violation], reason: str | None = None
    ) -> None:
        found = list(violations)
        if found and not self._violations:
            self._reason = reason
        self._violations.extend(found)

    def settle(self) -> None:
        if self._violations:
            raise InvalidInput(violations=self._violations, reason=self._reason)


def _function(function: Function) -> Iterator[Violation]:
    path = "spec.objective.function"
    if function.name not in FUNCTION_BOUNDS:
        yield Violation(f"{path}.name", f"must be one of: {', '.join(FUNCTION_BOUNDS)}")
    least = LEAST_DIMENSIONS.get(function.name, 1)
    if function.dimensions < least:
        yield Violation(f"{path}.dimensions", f"must be at least {least} for {function.name}")


def _label_prompt(
    objective: LabelPrompt,
    task: TaskData | None,
    model_roots: Sequence[Path] | None,
    findings: _Findings,
) -> None:
    path = "spec.objective.label_prompt"
    folder, tokens = _encoder(objective.encoder, path, model_roots, findings)
    if folder is None or tokens is None:
        return
    limit = max_positions(folder)
    longest = max(map(tokens.count, task.labels)) if task else 1
    length = objective.n_tokens + longest + 2  # the start and end tokens
    if length > limit:
        findings.add(
            f"{path}.n_tokens",
            f"gives {length} tokens with the longest label; the encoder allows {limit}",
            "PROMPT_TOO_LONG",
        )
    prompts = len(task.labels) if task and objective.per_class else 1
    _check_size(prompts * objective.n_tokens * embedding_width(folder), path, findings)
    _check_initial_text(objective, tokens, path, findings)


def _prompt_tuning(
    objective: PromptTuning,
    task: TaskData | None,
    model_roots: Sequence[Path] | None,
    findings: _Findings,
) -> None:
    path = "spec.objective.prompt_tuning"
    folder, tokens = _encoder(objective.encoder, path, model_roots, findings)
    if folder is None or tokens is None:
        return
    longest = prompt_tuning_length(objective, max_positions(folder))
    room = longest - objective.n_tokens
    if room < LEAST_TEXT_TOKENS:
        findings.add(
            f"{path}.n_tokens",
            f"leaves {room} of {longest} tokens for the text; at least {LEAST_TEXT_TOKENS} are "
            "needed",
            "PROMPT_TOO_LONG",
        )
    classes = len(task.labels) if task else 1
    width = max(embedding_width(folder), hidden_width(folder), classes)
    _check_size((objective.n_tokens + classes + 1) * width, path, findings)
    _check_initial_text(objective, tokens, path, findings)


def _encoder(
    reference: str, path: str, model_roots: Sequence[Path] | None, findings: _Findings
) -> tuple[Path, TokenCounter] | tuple[None, None]:
    try:
        folder = resolve(reference, roots=model_roots)
        require_encoder(folder)
        return folder, TokenCounter(folder)
    except MentorgradError as error:
        findings.add(f"{path}.encoder", error.message, error.reason)
        return None, None


def _check_size(numbers: int, path: str, findings: _Findings) -> None:
    if 4 * numbers > MAX_SEGMENT_BYTES:
        findings.add(
            f"{path}.n_tokens",
            f"gives {4 * numbers} bytes of parameters; one snapshot may have at most "
            f"{MAX_SEGMENT_BYTES}",
            "PROMPT_TOO_LONG",
        )


def _check_initial_text(
    objective: LabelPrompt | PromptTuning, tokens: TokenCounter, path: str, findings: _Findings
) -> None:
    count = tokens.count(objective.initial_text)
    if count > objective.n_tokens:
        findings.add(
            f"{path}.initial_text",
            f"has {count} tokens; at most {objective.n_tokens} (n_tokens) are allowed",
            "PROMPT_TOO_LONG",
        )
