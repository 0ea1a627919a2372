"""Validates an experiment before its first run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from mentorgrad.domain.advice import ProposalKind
from mentorgrad.domain.experiment import ExperimentSpec
from mentorgrad.domain.spec import CaptureContent, RunSpec
from mentorgrad.errors import InvalidInput, Violation
from mentorgrad.field_limits import MAX_VIOLATIONS
from mentorgrad.wire import codec
from run_store.experiments import LABELS
from trainer_service.control_plane.mentor_registry import MentorRegistry
from trainer_service.control_plane.spec_rules import proposed_to, spec_violations
from trainer_service.experiments.expansion import Expansion, Place, distinct_places, variations
from trainer_service.running.budget import takes_no_steps

MAX_LABELS = 64
"""Maximum number of labels of a run."""

MAX_KINDS = 10_000
"""Maximum number of distinct run specs, apart from seeds; each is validated up front."""

MAX_DATA = 1000
"""Maximum number of pairs of data set and objective; each is read up front."""

MANY_SNAPSHOTS = 20_000
"""Above this number of recorded snapshots a warning is given: reports do not need them."""


Proposed = Mapping[str, Collection[ProposalKind]]
"""Arm → what a mentor proposes to the objectives of its runs."""


def check_specs(spec: ExperimentSpec, check_data: Callable[[RunSpec], str]) -> Proposed:
    """Validates each distinct run spec as `CreateRun` does, and each distinct data set once.

    May be slow; call it in a thread, not on an event loop.

    Args:
        spec: Spec whose fields are individually valid.
        check_data: Checks what a run spec refers to; raises `InvalidInput`.

    Returns:
        What each arm's mentor has to propose.

    Raises:
        InvalidInput: The spec is invalid; names the fields of the experiment that cause it.
    """
    _check_size(spec)
    found: dict[str, Violation] = {}
    reason: str | None = None
    for violation in (*_label_violations(spec), *_tuned_violations(spec)):
        found.setdefault(violation.field, violation)
    expansion, seen = Expansion("", spec), set()
    proposed: dict[str, set[ProposalKind]] = {arm.name: set() for arm in spec.arms}
    for place in distinct_places(spec):
        try:
            made = expansion.run_spec(place)
            proposed[place.arm].update(proposed_to(made))
            wrong = list(_blamed(spec_violations(made), expansion, place))
            data = (
                *(codec.encode(made.task), repr(made.objective), made.optimizer.name),
                made.webhooks,
            )
            if data not in seen:
                seen.add(data)
                if len(seen) > MAX_DATA:
                    raise InvalidInput.field("spec", f"reads more than {MAX_DATA} data sets")
                wrong += _data_violations(made, check_data, expansion, place)
        except InvalidInput as error:
            if not error.violations:
                raise
            wrong, reason = list(error.violations), reason or error.reason
        for violation in wrong:
            found.setdefault(violation.field, violation)
        if len(found) >= MAX_VIOLATIONS:
            break
    if found:
        raise InvalidInput(violations=list(found.values())[:MAX_VIOLATIONS], reason=reason)
    return proposed


def _check_size(spec: ExperimentSpec) -> None:
    kinds = len(spec.arms) * len(spec.tasks) * len(variations(spec))
    if kinds > MAX_KINDS:
        raise InvalidInput.field(
            "spec", f"gives {kinds} combinations of arm, task and variation; at most {MAX_KINDS}"
        )


def _data_violations(
    spec: RunSpec, check_data: Callable[[RunSpec], str], expansion: Expansion, place: Place
) -> list[Violation]:
    try:
        check_data(spec)
    except InvalidInput as error:
        if not error.violations:
            raise
        blamed = list(_blamed(iter(error.violations), expansion, place))
        raise InvalidInput(violations=blamed, reason=error.reason) from None
    return []


def _blamed(
    violations: Iterator[Violation], expansion: Expansion, place: Place
) -> Iterator[Violation]:
    for violation in violations:
        yield Violation(expansion.blame(violation.field, place), violation.description)


def _label_violations(spec: ExperimentSpec) -> Iterator[Violation]:
    labels = spec.base.labels
    taken = [name for name in LABELS if name in labels]
    if taken:
        yield Violation("spec.base.labels", f"{', '.join(taken)}: set by the experiment")
    room = MAX_LABELS - len(LABELS)
    if len(labels) > room:
        yield Violation("spec.base.labels", f"must have at most {room} entries, not {len(labels)}")


def _tuned_violations(spec: ExperimentSpec) -> Iterator[Violation]:
    """Learning rates that are both given and tuned."""
    if not spec.tuning.learning_rates:
        return
    for kind in ("arms", "variations"):
        for index, item in enumerate(getattr(spec, kind)):
            optimizer = item.changes.get("optimizer")
            if isinstance(optimizer, Mapping) and "learning_rate" in optimizer:
                path = f"spec.{kind}[{index}].changes.optimizer.learning_rate"
                yield Violation(path, "is chosen by the tuning; leave it out here")


async def check_mentors(
    spec: ExperimentSpec, mentors: MentorRegistry, proposed: Proposed
) -> list[str]:
    """Checks the mentor of every arm, asking each mentor once; returns warnings.

    Raises:
        InvalidInput: Unknown mentor or strategy, a strategy that cannot propose what an objective
            takes, or invalid options.
        PreconditionFailed: A required mentor is not available.
    """
    once = mentors.once()
    answers: list[Any] = await asyncio.gather(
        *(
            once.check(arm.mentor, f"spec.arms[{index}].mentor", proposed[arm.name])
            for index, arm in enumerate(spec.arms)
        ),
        return_exceptions=True,
    )
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return list(dict.fromkeys(line for lines in answers for line in lines))


def doubts(spec: ExperimentSpec) -> Iterator[str]:
    """Warnings about valid but probably unintended settings, one line each."""
    base = spec.base
    limits = (base.budget.gradient_steps, base.budget.forward_rows)
    if limits == (None, None) and not takes_no_steps(base):
        yield (
            "spec.base.budget.gradient_steps is not set: arms with races then take more gradient "
            "steps than arms without"
        )
    steps = 0 if takes_no_steps(base) else base.stages.count * base.stages.steps
    snapshots = spec.runs * steps // base.capture.every
    if base.capture.content is CaptureContent.TEXT_AND_PARAMETERS and snapshots > MANY_SNAPSHOTS:
        yield (
            f"about {snapshots} raw tensors will be recorded; spec.base.capture.content = "
            '"text" or "off" keeps the store small'
        )
