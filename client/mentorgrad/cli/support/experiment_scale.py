"""Experiments in small, to see that they run: the same arms and tasks, with other models and few
rows and steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mentorgrad.cli.support.options import Scale
from mentorgrad.domain.experiment import ExperimentSpec, Tuning
from mentorgrad.domain.objective import DEFAULT_ENCODER, DEFAULT_LANGUAGE_MODEL
from mentorgrad.errors import Unavailable
from mentorgrad.named_tasks import NamedTask, published_tasks
from mentorgrad.outside_text import one_line
from mentorgrad.serialization import from_dict, to_dict

TINY_CLIP = "tiny_clip"
"""Encoder of images in small: a folder under a model root, as `write_tiny_clip` writes it."""

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
"""What ``tiny`` replaces, by field: a name, and a number where it is higher. The encoder of images
is `TINY_CLIP`. The seeds are reduced to the first, and no learning rate is tuned."""

_ALL = ("shots", "test_rows")
"""Fields whose 0 stands for all."""


def names_tiny_clip(spec: ExperimentSpec) -> bool:
    """Whether the runs of an experiment need `TINY_CLIP`."""
    return getattr(spec.base.objective, "encoder", None) == TINY_CLIP


def write_tiny_clip(root: Path) -> None:
    """Writes the CLIP of `TINY_CLIP`, a few thousand random weights, to a model root.

    Raises:
        Unavailable: It cannot be made; an extra of the trainer is missing.
    """
    # In a child process: the command itself imports no torch.
    made = subprocess.run(
        [sys.executable, "-m", "trainer_service.encoding.tiny_clip", str(root / TINY_CLIP)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        last = one_line(made.stderr.strip().rpartition("\n")[2])
        raise Unavailable(f"no CLIP with random weights can be made: {last}")


def scaled(spec: ExperimentSpec, scale: Scale) -> ExperimentSpec:
    """The experiment at a scale; `spec` itself at full scale."""
    if scale is Scale.FULL:
        return spec
    tree = to_dict(replace(spec, seeds=spec.seeds[:1], tuning=Tuning()))
    known = published_tasks()
    has_images = any(known.get(task.name, NamedTask()).has_images for task in spec.tasks)
    limits = TINY["objective"] | ({"encoder": TINY_CLIP} if has_images else {})
    tree["name"] = f"{spec.name}_{scale}"
    tree["base"] = _run(tree["base"], limits)
    tree["base"]["budget"] = TINY["budget"] | tree["base"]["budget"]
    for part in (*tree["arms"], *tree["variations"]):
        part["changes"] = _run(part["changes"], limits)
    for arm in tree["arms"]:
        arm["mentor"] = _limited(arm["mentor"], TINY["mentor"])
    tree["tasks"] = [_limited(task, TINY["task"]) for task in tree["tasks"]]
    return from_dict(ExperimentSpec, tree)


def _run(fields: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """A run's spec, or changes to one, with what `TINY` replaces in it, and `limits` in its
    objective."""
    made = {name: _limited(of, TINY[name]) if name in TINY else of for name, of in fields.items()}
    if isinstance(objectives := fields.get("objective"), Mapping):
        made["objective"] = {
            name: _limited(objective, limits) for name, objective in objectives.items()
        }
    return made


def _limited(fields: Any, limits: Mapping[str, Any]) -> Any:
    if not isinstance(fields, Mapping):  # a name, such as that of an optimizer
        return fields
    made = dict(fields)
    for name, limit in limits.items():
        value = fields.get(name)
        if value is None or value == "":  # an adapter has an encoder or a language model
            continue
        if isinstance(limit, str) or value > limit or (value == 0 and name in _ALL):
            made[name] = limit
    return made
