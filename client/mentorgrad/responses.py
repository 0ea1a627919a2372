"""What calls give back beyond the model of a run: plain frozen dataclasses, named as the protos."""

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
    """A run that was asked for."""

    run: Run = field(default_factory=Run)
    """As it stands."""
    created: bool = False
    """Whether this call created it; false when the request_id was known already."""
    warnings: tuple[str, ...] = ()
    """What the caller should know, for example that the mentor is absent."""


@dataclass(frozen=True)
class CreatedExperiment:
    """An experiment that was asked for."""

    experiment: Experiment = field(default_factory=Experiment)
    """As it stands."""
    created: bool = False
    """Whether this call created it; false when the request_id was known already."""
    warnings: tuple[str, ...] = ()
    """What may be wrong, for example that a mentor is absent."""


@dataclass(frozen=True)
class SpecDifference:
    """One field in which the specs of compared runs differ."""

    field: str = ""
    """Path of the field, for example ``mentor.name``."""
    values: tuple[str, ...] = ()
    """One value a run, in the order of the runs, as JSON; ``null`` where it is absent."""


@dataclass(frozen=True)
class RunComparison:
    """Several runs side by side."""

    runs: tuple[Run, ...] = ()
    """In the order asked for."""
    differences: tuple[SpecDifference, ...] = ()
    """Fields of the spec in which they differ."""


@dataclass(frozen=True)
class MentorEntry:
    """A mentor that a trainer knows."""

    name: str = ""
    """Name to put into a spec."""
    available: bool = False
    """Whether it answered just now."""
    model: str = ""
    """Model behind it, when it answered; ``control`` for sources of proposals without an LLM."""


@dataclass(frozen=True)
class TrainerInfo:
    """What a trainer offers."""

    version: str = ""
    """Version of the service."""
    devices: tuple[str, ...] = ()
    """Devices that runs are executed on, for example ``cpu`` or ``cuda:0``."""
    objectives: tuple[str, ...] = ()
    """Objectives by name."""
    functions: tuple[str, ...] = ()
    """Functions of the ``function`` objective."""
    tasks: tuple[str, ...] = ()
    """Built-in tasks by name."""
    optimizers: tuple[str, ...] = ()
    """Optimizers by name."""
    mentors: tuple[MentorEntry, ...] = ()
    """Mentors and controls by name."""
    worker_slots: int = 0
    """Runs that may execute at once."""
    queued_runs: int = 0
    """Runs that wait now."""
    queue_limit: int = 0
    """Most runs that may wait."""


def spec_differences(specs: Sequence[RunSpec]) -> tuple[SpecDifference, ...]:
    """Fields in which specs differ, by path."""
    flat = [_leaves(to_dict(spec)) for spec in specs]
    found = []
    for path in sorted({path for leaves in flat for path in leaves}):
        values = tuple(leaves.get(path, "null") for leaves in flat)
        if len(set(values)) > 1:
            found.append(SpecDifference(path, values))
    return tuple(found)


def _leaves(value: dict[str, Any], path: str = "") -> dict[str, str]:
    """Path → JSON of every value that is not a table."""
    leaves = {}
    for name, member in value.items():
        where = f"{path}.{name}" if path else name
        if isinstance(member, dict):
            leaves.update(_leaves(member, where))
        else:
            leaves[where] = json.dumps(member, sort_keys=True)
    return leaves
