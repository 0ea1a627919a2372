"""Presets: named run specs.

    spec = presets.preset("maao_released")

`mentorgrad run --preset NAME` starts from a preset; other options override its fields. A preset
only sets fields of a spec, and each field can also be set individually.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mentorgrad.domain.objective import Metric, Placement, Projection, PromptTuning
from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    Optimizer,
    Policy,
    RunSpec,
    Stages,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import to_dict

__all__ = ["PRESETS", "maao_released", "preset", "preset_fields"]


def maao_released() -> RunSpec:
    """The MaaO method as implemented in its released code, including deviations from the paper.

    - The projection takes the farthest token, from ids 4 to 14999. Word pieces are included and
      written with spaces between them.
    - The mentor sees every second snapshot from the start of a stage, neither the best nor the
      latest one.
    - The first proposal is used without scoring. It is placed after the start token and truncated,
      or padded with the word "a". The optimizer's moments are kept.
    - There are three restarts, followed by tuning without restarts.
    - The strategy `maao_released` asks the question that the released code asks.

    Unlike in the released code, scoring does not modify the trained parameters, the selection and
    test splits are separate, and an LLM that does not answer does not block the run. The preset
    does not set the mentor's name.

    Source: arXiv 2405.19732 and its code, LLM-catalyst.
    """
    return RunSpec(
        objective=PromptTuning(
            n_tokens=8,
            projection=Projection(
                metric=Metric.FARTHEST_COSINE,
                whole_words=False,
                first_id=4,
                last_id=14_999,
                pieces_apart=True,
                placement=Placement.PADDED,
            ),
        ),
        optimizer=Optimizer(learning_rate=7e-3, batch_size=32),
        stages=Stages(count=4, steps=20, candidates=5, stride=2),
        mentor=MentorChoice(strategy="maao_released", proposals=3),
        acceptance=Acceptance(policy=Policy.FIRST, keep_moments=True),
        budget=Budget(gradient_steps=300),
    )


PRESETS: dict[str, Callable[[], RunSpec]] = {"maao_released": maao_released}
"""Maps each preset name to a function that returns its spec."""


def preset(name: str) -> RunSpec:
    """Returns the spec of a preset.

    Raises:
        InvalidInput: No preset has this name.
    """
    if name not in PRESETS:
        raise InvalidInput.field(
            "preset", f"must be one of: {', '.join(PRESETS)}", reason="UNKNOWN_PRESET"
        )
    return PRESETS[name]()


def preset_fields(name: str) -> dict[str, Any]:
    """Returns the fields that a preset changes from the defaults, as nested dictionaries.

    Raises:
        InvalidInput: No preset has this name.
    """
    return _changed(to_dict(preset(name)), to_dict(RunSpec()))


def _changed(ours: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Entries of `ours` that differ from `defaults`, recursively."""
    changed: dict[str, Any] = {}
    for key, value in ours.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            value = _changed(value, default)
            if not value:
                continue
        elif value == default:
            continue
        changed[key] = value
    return changed
