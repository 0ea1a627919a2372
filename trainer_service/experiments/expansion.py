"""Expands an experiment into the specs of its runs. Pure and deterministic.

A run's spec is the base spec with these applied in order, later ones overriding earlier ones: the
task; the variation's changes (those of `task` are merged into the task); the arm's mentor; the
arm's changes; the learning rate chosen for the arm; the seed. Changes are nested mappings by the
spec's field names. Tables are merged and other values replaced; a union such as `objective` keeps
the fields of its member only if the change names the same member.

A run's request_id is a digest of its place in the experiment, so expanding again after a restart
finds the existing runs.
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
from mentorgrad.schema import join
from mentorgrad.serialization import from_dict, merged, to_dict
from run_store.experiments import EXPERIMENT, PHASE

_NAME = 200
"""Maximum length of a run's name."""

_OF_ALL = ("seed", "name", "labels", "mentor")
"""Fields that the experiment sets in every run."""

_OF_ARMS = (*_OF_ALL, "task", "budget")
"""Fields that arms cannot change, because the arms could then not be compared."""


class RunPurpose(StrEnum):
    """Phase of an experiment that a run belongs to."""

    TUNING = "tuning"
    MAIN = "main"


@dataclass(frozen=True)
class Place:
    """Identifies a run within its experiment."""

    phase: RunPurpose
    """Phase of the experiment."""
    task: str
    """Task name."""
    variation: str
    """Variation name; empty for tuning runs."""
    arm: str
    """Arm name."""
    seed: int
    """Seed of the run."""
    learning_rate: float | None = None
    """Learning rate to try (tuning) or chosen by tuning; None: the spec's."""

    def request_id(self, experiment_id: str) -> str:
        """The request_id that the run is created with."""
        parts = (
            *(experiment_id, self.phase.value, self.task, self.variation, self.arm),
            *(self.seed, self.learning_rate),
        )
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"experiment-{digest[:48]}"

    def labels(self, experiment_id: str) -> dict[str, str]:
        """Labels to find the run by."""
        found = {
            EXPERIMENT: experiment_id,
            PHASE: self.phase.value,
            "arm": self.arm,
            "task": self.task,
        }
        return found | ({"variation": self.variation} if self.variation else {})


def variations(spec: ExperimentSpec) -> tuple[Variation, ...]:
    """The variations; without any, one that changes nothing."""
    return spec.variations or (Variation(),)


def tuning_places(spec: ExperimentSpec) -> Iterator[Place]:
    """Yields the tuning runs by seed, then learning rate, then arm."""
    for seed in spec.tuning.seeds if spec.tuning.learning_rates else ():
        for rate in spec.tuning.learning_rates:
            for arm in spec.arms:
                yield Place(RunPurpose.TUNING, spec.tuning.task.name, "", arm.name, seed, rate)


def main_places(spec: ExperimentSpec, rates: Mapping[str, float]) -> Iterator[Place]:
    """Yields the compared runs by seed, then task, variation and arm.

    In this order all arms progress at about the same pace.

    Args:
        spec: The experiment.
        rates: Maps an arm to its chosen learning rate; arms without an entry keep the spec's.
    """
    for seed in spec.seeds:
        for task in spec.tasks:
            for variation in variations(spec):
                for arm in spec.arms:
                    rate = rates.get(arm.name)
                    yield Place(RunPurpose.MAIN, task.name, variation.name, arm.name, seed, rate)


class Expansion:
    """Builds the run specs of an experiment; caches the merged changes.

    Args:
        experiment_id: The experiment; empty if it is only validated.
        spec: The experiment's spec.
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
        """Builds the spec of the run at a place.

        Raises:
            InvalidInput: A change names an unknown field or violates a limit; the violation names
                the change.
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
                        f"{path}.changes.task.name",
                        "a variation cannot change the task's name; add another task to `tasks`",
                    )
            self._varied[key] = spec
        return self._varied[key]

    def blame(self, path: str, place: Place) -> str:
        """Maps a field of a run's spec to the field of the experiment that set it.

        Args:
            path: Path of the field, for example ``spec.objective.function.dimensions``.
            place: The run.

        Returns:
            For example ``spec.variations[0].changes.objective.function.dimensions``.
        """
        field = path.removeprefix("spec").lstrip(".")
        top, _, rest = field.partition(".")
        top = top.partition("[")[0]  # of a list, the item does not matter
        arm_path, arm = self._arms[place.arm]
        if top == "mentor":
            return f"{arm_path}.{field}"
        if top in arm.changes:
            return f"{arm_path}.changes.{field}"
        if place.phase is RunPurpose.MAIN:
            variation_path, variation = self._variations[place.variation]
            # A variation changes some fields of the task; the others come from the task itself.
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
    """Merges changes into a spec.

    Args:
        spec: A valid spec.
        changes: Nested mappings by the spec's field names.
        path: Path of the changes, for violations.
        fixed: Fields that cannot be changed.

    Raises:
        InvalidInput: A field is unknown or fixed, has the wrong type or violates a limit.
    """
    for name in fixed:
        if name in changes:
            raise InvalidInput.field(
                f"{path}.{name}", "cannot be changed here; the experiment sets it"
            )
    if not changes:
        return spec
    return from_dict(RunSpec, merged(RunSpec, to_dict(spec), changes), path)


def distinct_places(spec: ExperimentSpec) -> Iterator[Place]:
    """Yields one run per distinct spec; these cover every error that any run's spec can have."""
    tuning = replace(
        spec.tuning,
        seeds=spec.tuning.seeds[:1],
        learning_rates=spec.tuning.learning_rates[:1],
    )
    one = replace(spec, seeds=spec.seeds[:1], tuning=tuning)
    yield from tuning_places(one)
    yield from main_places(one, {})
