"""Experiments in small, to see that they run: the same arms and tasks, with other models and few
rows and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mentorgrad.cli.support.options import Scale
from mentorgrad.domain.experiment import ExperimentSpec, Tuning
from mentorgrad.domain.spec import DEFAULT_ENCODER, DEFAULT_LANGUAGE_MODEL
from mentorgrad.serialization import from_dict, to_dict

TINY: Mapping[str, Any] = {
    "objective": {
        "encoder": DEFAULT_ENCODER,
        "model": DEFAULT_LANGUAGE_MODEL,
        "max_length": 64,
        "rank": 4,
        "boosters": 2,
        "booster_steps": 1,
        "layers": 1,
    },
    "task": {"shots": 4, "selection_rows": 4, "test_rows": 8},
    "optimizer": {"batch_size": 4, "warmup_steps": 0},
    "stages": {"count": 2, "steps": 1, "first_steps": 1, "candidates": 1},
    "acceptance": {"finalists": 2, "probe_steps": 1, "probe_scores": 1},
    "mentor": {"proposals": 4},
    "budget": {"gradient_steps": 6, "evaluations": 24},
}
"""What ``tiny`` replaces, by field: a name, and a number where it is higher. The seeds are reduced
to the first, and no learning rate is tuned."""

_ALL = ("shots", "test_rows")
"""Fields whose 0 stands for all."""


def scaled(spec: ExperimentSpec, scale: Scale) -> ExperimentSpec:
    """The experiment at a scale; `spec` itself at full scale."""
    if scale is Scale.FULL:
        return spec
    tree = to_dict(replace(spec, seeds=spec.seeds[:1], tuning=Tuning()))
    tree["name"] = f"{spec.name}_{scale}"
    tree["base"] = _run(tree["base"])
    tree["base"]["budget"] = TINY["budget"] | tree["base"]["budget"]
    for part in (*tree["arms"], *tree["variations"]):
        part["changes"] = _run(part["changes"])
    for arm in tree["arms"]:
        arm["mentor"] = _limited(arm["mentor"], TINY["mentor"])
    tree["tasks"] = [_limited(task, TINY["task"]) for task in tree["tasks"]]
    return from_dict(ExperimentSpec, tree)


def _run(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A run's spec, or changes to one, with what `TINY` replaces in it."""
    made = {name: _limited(of, TINY[name]) if name in TINY else of for name, of in fields.items()}
    if isinstance(objectives := fields.get("objective"), Mapping):
        made["objective"] = {
            name: _limited(objective, TINY["objective"]) for name, objective in objectives.items()
        }
    return made


def _limited(fields: Any, limits: Mapping[str, Any]) -> Any:
    if not isinstance(fields, Mapping):  # a name, such as that of an optimizer
        return fields
    made = dict(fields)
    for name, limit in limits.items():
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(limit, str) or value > limit or (value == 0 and name in _ALL):
            made[name] = limit
    return made
