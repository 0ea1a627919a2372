"""Results of client calls: frozen dataclasses with the same names as the protos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mentorgrad.domain.experiment import Experiment
from mentorgrad.domain.run import Run
from mentorgrad.domain.spec import RunSpec
from mentorgrad.serialization import to_dict


@dataclass(frozen=True)
class CreatedRun:
    """Result of creating a run."""

    run: Run = field(default_factory=Run)
    """Current state of the run."""
    created: bool = False
    """Whether this call created it; false if the request_id was already known."""
    warnings: tuple[str, ...] = ()
    """Warnings for the caller, for example that the mentor is absent."""


@dataclass(frozen=True)
class CreatedExperiment:
    """Result of creating an experiment."""

    experiment: Experiment = field(default_factory=Experiment)
    """Current state of the experiment."""
    created: bool = False
    """Whether this call created it; false if the request_id was already known."""
    warnings: tuple[str, ...] = ()
    """Possible problems, for example that a mentor is absent."""


@dataclass(frozen=True)
class SpecDifference:
    """One field in which the specs of compared runs differ."""

    field: str = ""
    """Path of the field, for example ``mentor.name``."""
    values: tuple[str, ...] = ()
    """One value per run, as JSON, in the order of the runs; ``null`` if the field is absent."""


@dataclass(frozen=True)
class RunComparison:
    """Several runs and the differences between their specs."""

    runs: tuple[Run, ...] = ()
    """Runs, in the requested order."""
    differences: tuple[SpecDifference, ...] = ()
    """Fields in which the specs differ."""


@dataclass(frozen=True)
class MentorEntry:
    """A mentor or control that a trainer knows."""

    name: str = ""
    """Name to use in a spec."""
    available: bool = False
    """Whether it answered just now."""
    model: str = ""
    """Model of the mentor, if it answered; ``control`` for proposal sources without an LLM."""


@dataclass(frozen=True)
class TrainerInfo:
    """What a trainer offers."""

    version: str = ""
    """Service version."""
    devices: tuple[str, ...] = ()
    """Devices that execute runs, for example ``cpu`` or ``cuda:0``."""
    objectives: tuple[str, ...] = ()
    """Names of the objectives."""
    functions: tuple[str, ...] = ()
    """Function names of the ``function`` objective."""
    tasks: tuple[str, ...] = ()
    """Names of the built-in tasks."""
    optimizers: tuple[str, ...] = ()
    """Names of the optimizers."""
    mentors: tuple[MentorEntry, ...] = ()
    """Mentors and controls."""
    worker_slots: int = 0
    """Maximum number of runs executed at once."""
    queued_runs: int = 0
    """Number of runs in the queue."""
    queue_limit: int = 0
    """Maximum number of runs in the queue."""
    tuned_models: tuple[str, ...] = ()
    """Names of the served models that ``served_prompt`` can tune prompts for."""
    upload_limit_bytes: int = 0
    """Maximum size of an uploaded data file, bytes; 0: a service that does not say."""
    webhooks: tuple[str, ...] = ()
    """Names of the webhooks that specs may name."""


def spec_differences(specs: Sequence[RunSpec]) -> tuple[SpecDifference, ...]:
    """The fields in which specs differ, sorted by path."""
    flat = [_leaves(to_dict(spec)) for spec in specs]
    found = []
    for path in sorted({path for leaves in flat for path in leaves}):
        values = tuple(leaves.get(path, "null") for leaves in flat)
        if len(set(values)) > 1:
            found.append(SpecDifference(path, values))
    return tuple(found)


def _leaves(value: dict[str, Any], path: str = "") -> dict[str, str]:
    """Maps the path of every leaf value to its JSON."""
    leaves = {}
    for name, member in value.items():
        where = f"{path}.{name}" if path else name
        if isinstance(member, dict):
            leaves.update(_leaves(member, where))
        else:
            leaves[where] = json.dumps(member, sort_keys=True)
    return leaves
