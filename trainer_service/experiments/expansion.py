"""From an experiment to its runs. Pure: the same experiment expands to the same runs, always.

A run's spec is the base with, in this order, each stronger than those before: the task; the
variation's changes (those of `task` are merged into the task); the arm's mentor; the arm's changes;
the learning rate that was chosen for the arm; the seed. Changes are nested mappings by the spec's
field names. Tables are merged, all other values replaced; a union such as `objective` keeps its
member's fields only where the change names the same member.

A run's request_id is a digest of what it stands for, so expanding again is resuming.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mentorgrad.domain.experiment import ExperimentSpec, Variation
from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import FieldKind, FieldType, field_types, join
from mentorgrad.serialization import from_dict, to_dict
from run_store.experiments import EXPERIMENT, PHASE

_NAME = 200
"""Longest name of a run."""

_OF_ALL = ("seed", "name", "labels", "mentor")
"""What the experiment itself sets in every run."""

_OF_ARMS = (*_OF_ALL, "task", "budget")
"""What arms cannot change, or else they could not be compared."""


class RunPurpose(StrEnum):
    """What a run of an experiment is for."""

    TUNING = "tuning"
    MAIN = "main"


@dataclass(frozen=True)
class Place:
    """Where a run stands in its experiment."""

    phase: RunPurpose
    """What it is for."""
    task: str
    """Name of its task."""
    variation: str
    """Name of its variation; empty for tuning."""
    arm: str
    """Name of its arm."""
    seed: int
    """Its seed."""
    learning_rate: float | None = None
    """The learning rate that is tried or was chosen; None: the spec's own."""

    def request_id(self, experiment_id: str) -> str:
        """The key under which its run is created."""
        parts = (
            *(experiment_id, self.phase.value, self.task, self.variation, self.arm),
            *(self.seed, self.learning_rate),
        )
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"experiment-{digest[:48]}"

    def labels(self, experiment_id: str) -> dict[str, str]:
        """What its run is found by."""
        found = {
            EXPERIMENT: experiment_id,
            PHASE: self.phase.value,
            "arm": self.arm,
            "task": self.task,
        }
        return found | ({"variation": self.variation} if self.variation else {})


def variations(spec: ExperimentSpec) -> tuple[Variation, ...]:
    """The variations; the base alone where none is given."""
    return spec.variations or (Variation(),)


def tuning_places(spec: ExperimentSpec) -> Iterator[Place]:
    """The tuning runs, seed by seed and rate by rate, the arms side by side."""
    for seed in spec.tuning.seeds if spec.tuning.learning_rates else ():
        for rate in spec.tuning.learning_rates:
            for arm in spec.arms:
                yield Place(RunPurpose.TUNING, spec.tuning.task.name, "", arm.name, seed, rate)


def main_places(spec: ExperimentSpec, rates: Mapping[str, float]) -> Iterator[Place]:
    """The runs that are compared, seed by seed, the arms side by side: whenever the experiment is
    looked at, they have come about equally far.

    Args:
        spec: The experiment.
        rates: Arm → chosen learning rate; an arm that is not there keeps the spec's own.
    """
    for seed in spec.seeds:
        for task in spec.tasks:
            for variation in variations(spec):
                for arm in spec.arms:
                    rate = rates.get(arm.name)
                    yield Place(RunPurpose.MAIN, task.name, variation.name, arm.name, seed, rate)


class Expansion:
    """Makes an experiment's runs one by one; what they share is merged once.

    Args:
        experiment_id: The experiment; empty while it is only looked at.
        spec: What is compared.
    """

    def __init__(self, experiment_id: str, spec: ExperimentSpec) -> None:
        self._experiment_id = experiment_id
        self._spec = spec
        self._tasks = {task.name: (f"spec.tasks[{i}]", task) for i, task in enumerate(spec.tasks)}
        self._arms = {arm.name: (f"spec.arms[{i}]", arm) for i, arm in enumerate(spec.arms)}
        self._variations = {
            item.name: (f"spec.variations[{i}]", item) for i, item in enumerate(variations(spec))
        }
        self._varied: dict[tuple[RunPurpose, str, str], RunSpec] = {}
        self._specs: dict[tuple[RunPurpose, str, str, str], RunSpec] = {}

    def run_spec(self, place: Place) -> RunSpec:
        """The spec of the run at a place.

        Raises:
            InvalidInput: A change names an unknown field, or breaks a limit; says which change.
        """
        key = (place.phase, place.task, place.variation, place.arm)
        if key not in self._specs:
            self._specs[key] = self._merged(place)
        spec = self._specs[key]
        if place.learning_rate is not None:
            spec = replace(
                spec, optimizer=replace(spec.optimizer, learning_rate=place.learning_rate)
            )
        parts = (self._spec.name, place.arm, place.task, place.variation, f"seed{place.seed}")
        return replace(
            spec,
            seed=place.seed,
            name="/".join(filter(None, parts))[:_NAME],
            labels={**self._spec.base.labels, **place.labels(self._experiment_id)},
        )

    def _merged(self, place: Place) -> RunSpec:
        path, arm = self._arms[place.arm]
        spec = replace(self._with_variation(place), mentor=arm.mentor)
        return changed(spec, arm.changes, f"{path}.changes", _OF_ARMS)

    def _with_variation(self, place: Place) -> RunSpec:
        key = (place.phase, place.task, place.variation)
        if key not in self._varied:
            is_tuning = place.phase is RunPurpose.TUNING
            task = self._spec.tuning.task if is_tuning else self._tasks[place.task][1]
            spec = replace(self._spec.base, task=task)
            if not is_tuning:
                path, variation = self._variations[place.variation]
                spec = changed(spec, variation.changes, f"{path}.changes", _OF_ALL)
                if spec.task.name != task.name:
                    raise InvalidInput.field(
                        f"{path}.changes.task.name", "cannot be changed; list another task"
                    )
            self._varied[key] = spec
        return self._varied[key]

    def blame(self, path: str, place: Place) -> str:
        """What of the experiment a field of a run's spec comes from.

        Args:
            path: The field, for example ``spec.objective.function.dimensions``.
            place: The run.

        Returns:
            For example ``spec.variations[0].changes.objective.function.dimensions``.
        """
        field = path.removeprefix("spec").lstrip(".")
        top, _, rest = field.partition(".")
        arm_path, arm = self._arms[place.arm]
        if top == "mentor":
            return f"{arm_path}.{field}"
        if top in arm.changes:
            return f"{arm_path}.changes.{field}"
        if place.phase is RunPurpose.MAIN:
            variation_path, variation = self._variations[place.variation]
            # Of a task, a variation changes some fields; the others are the task's own.
            of_task = top == "task"
            changes = variation.changes.get("task", {}) if of_task else variation.changes
            if (rest if of_task else top) in changes:
                return f"{variation_path}.changes.{field}"
        if top == "task":
            is_tuning = place.phase is RunPurpose.TUNING
            return join("spec.tuning.task" if is_tuning else self._tasks[place.task][0], rest)
        return f"spec.base.{field}" if field else "spec"


def changed(
    spec: RunSpec, changes: Mapping[str, Any], path: str, fixed: tuple[str, ...] = ()
) -> RunSpec:
    """A spec with changes merged in.

    Args:
        spec: What they are merged into; it breaks no limit.
        changes: Nested mappings by the spec's field names.
        path: Where they stand, for errors.
        fixed: Fields that they cannot name.

    Raises:
        InvalidInput: An unknown or fixed field, a wrong type, or a broken limit.
    """
    for name in fixed:
        if name in changes:
            raise InvalidInput.field(f"{path}.{name}", "cannot be changed here")
    if not changes:
        return spec
    return from_dict(RunSpec, _merge(RunSpec, to_dict(spec), changes), path)


def _merge(cls: type | None, base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees as one.

    Args:
        cls: The dataclass that they describe; None for a free mapping.
        base: What is merged into.
        changes: What is stronger.
    """
    merged = dict(base)
    kinds = field_types(cls) if cls is not None else {}
    for name, value in changes.items():
        there, kind = merged.get(name), kinds.get(name)
        is_union = kind is not None and kind.kind is FieldKind.UNION
        if is_union and isinstance(value, str):  # shorthand: the member with all its defaults
            value = {value: {}}
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            is_other = is_union and set(value) != set(there)
            merged[name] = value if is_other else _merge(_inner(kind), there, value)
        else:
            merged[name] = value
    return merged


def _inner(kind: FieldType | None) -> type | None:
    """What a field's table describes, where that is one dataclass."""
    return kind.base if kind is not None and kind.kind is FieldKind.MESSAGE else None


def distinct_places(spec: ExperimentSpec) -> Iterator[Place]:
    """One run of each kind: whatever is wrong with a run's spec is wrong with one of these."""
    tuning = replace(
        spec.tuning,
        seeds=spec.tuning.seeds[:1],
        learning_rates=spec.tuning.learning_rates[:1],
    )
    one = replace(spec, seeds=spec.seeds[:1], tuning=tuning)
    yield from tuning_places(one)
    yield from main_places(one, {})
