"""Validation rules of a run's spec that need neither data nor models. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mentorgrad.domain.advice import MentorInfo, ProposalKind
from mentorgrad.domain.agent import is_mib
from mentorgrad.domain.spec import (
    MEMORY,
    RANDOM_SETTINGS,
    Fallback,
    MentorChoice,
    Policy,
    RunSpec,
)
from mentorgrad.errors import Violation
from mentorgrad.installed import installed_versions
from service_common.option_schema import option_violations
from trainer_service.objectives.table import find_kind
from trainer_service.running.budget import budget_violations, takes_no_steps
from trainer_service.training_settings import proposes_settings

MAX_STEPS = 100_000_000
"""Maximum number of planned gradient steps of a run."""

_RAW_CONTROLS = ("none", "perturb", "random_init", "recombine")
"""Controls that propose parameters rather than words or numbers."""

_LIBRARIES = ("mentorgrad", "torch", "transformers", "tokenizers", "safetensors", "numpy", "cmaes")


def versions() -> dict[str, str]:
    """Installed versions of the libraries that influence a run's result."""
    return installed_versions(_LIBRARIES)


def spec_violations(spec: RunSpec) -> Iterator[Violation]:
    """Violations across several fields of a spec, without a look at data or models."""
    least = spec.requires.get(MEMORY)
    if least is not None and not is_mib(least):
        yield Violation("spec.requires", f"{MEMORY} must be a whole number of MiB, not {least!r}")
    steps = spec.stages.total_steps
    if steps > MAX_STEPS:
        yield Violation("spec.stages", f"make {steps} steps in all; the maximum is {MAX_STEPS}")
    if takes_no_steps(spec) and (spec.mentor.name == "none" or spec.stages.count < 2):
        limited = spec.budget.gradient_steps is not None
        yield Violation(
            "spec.budget.gradient_steps" if limited else "spec.stages.steps",
            "a run without gradient steps needs a mentor and at least 2 stages: the mentor is "
            "asked between stages",
        )
    kind = find_kind(spec.objective)
    if kind is None:  # the trainer does not execute it, which the check of the objective reports
        return
    if spec.mentor.name == "hint_tokens" and not (kind.has_words and kind.has_gradients):
        yield Violation(
            "spec.mentor.name", "hint_tokens needs an objective with tokens and gradients"
        )
    if not kind.is_written:
        yield from _unwritten(spec, kind.name)
    elif spec.mentor.name == RANDOM_SETTINGS:
        yield Violation(
            "spec.mentor.name",
            f"{RANDOM_SETTINGS} proposes settings of gradient steps, which {kind.name} does not "
            "have; choose a mentor, or a control of words or numbers",
        )
    yield from budget_violations(spec, kind.has_words)


def _unwritten(spec: RunSpec, objective: str) -> Iterator[Violation]:
    """Violations of a run whose parameters are neither words nor numbers: controls propose other
    parameters, a mentor and `random_settings` propose settings."""
    choice = spec.mentor
    if choice.is_control and choice.name not in (*_RAW_CONTROLS, RANDOM_SETTINGS):
        yield Violation(
            "spec.mentor.name",
            f"{choice.name} proposes words or numbers, and {objective} has neither: its "
            f"parameters are tensors; choose a mentor, which proposes settings, or one of: "
            f"{', '.join((*_RAW_CONTROLS, RANDOM_SETTINGS))}",
        )
    if choice.fallback is Fallback.RANDOM_TOKENS:
        yield Violation("spec.mentor.fallback", f"must be none: {objective} has no tokens")
    if choice.description_first:
        yield Violation("spec.mentor.description_first", f"{objective} has no words")
    if proposes_settings(choice):
        yield from _without_effect(spec)


def _without_effect(spec: RunSpec) -> Iterator[Violation]:
    """Violations of a run in which proposed settings could have no effect."""
    if takes_no_steps(spec):
        yield Violation("spec.stages.steps", "settings need gradient steps, on which they act")
    if spec.optimizer.name == "cma":
        yield Violation(
            "spec.optimizer.name",
            "cma uses a learning rate in its first step only, and settings change it later",
        )
    if spec.acceptance.policy is Policy.BEST_OF:
        yield Violation(
            "spec.acceptance.policy",
            "must not be best_of: settings score as the incumbent does until steps are taken",
        )


def proposed_to(spec: RunSpec) -> Sequence[ProposalKind]:
    """What a mentor proposes to the spec's objective; empty: the trainer does not execute it."""
    kind = find_kind(spec.objective)
    return () if kind is None else (kind.proposed,)


def choice_violations(choice: MentorChoice, info: MentorInfo, path: str) -> Iterator[Violation]:
    """Violations of the limits and option schemas that a mentor publishes in its info."""
    known = {strategy.name: strategy for strategy in info.strategies}
    if choice.strategy not in known:
        names = ", ".join(known)
        yield Violation(f"{path}.strategy", f"{choice.strategy!r} is not known; known: {names}")
        return
    if info.max_proposals and choice.proposals > info.max_proposals:
        limit = f"must be at most {info.max_proposals} for this mentor"
        yield Violation(f"{path}.proposals", limit)
    schema = known[choice.strategy].options_schema
    yield from option_violations(choice.options, schema, f"{path}.options")
