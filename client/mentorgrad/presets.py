"""Presets: specs by name, to run as they are or to change.

    spec = presets.preset("maao_released")

`mentorgrad run --preset NAME` takes one as the base of what the command line says. A preset is
nothing but values of a spec's fields: each of them can be set by itself too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mentorgrad.domain.spec import (
    Acceptance,
    Budget,
    MentorChoice,
    Metric,
    Optimizer,
    Placement,
    Policy,
    Projection,
    PromptTuning,
    RunSpec,
    Stages,
)
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import to_dict

__all__ = ["PRESETS", "maao_released", "preset", "preset_fields"]


def maao_released() -> RunSpec:
    """The method as its released code does it, where that differs from how it is described.

    Projection takes the farthest token, of the ids 4 to 14999, pieces of words among them and
    written apart. The mentor sees the first snapshots of a stage, every second one, never the best
    nor the latest. The first proposal is taken unscored; it is put in behind the mark of start, cut
    or padded with the word "a"; the optimizer's moments stay. Three rounds, then plain tuning. The
    strategy of the same name asks the question that belongs to it.

    Unlike there, live weights survive a scoring, *selection* and *test* are two splits, and an LLM
    that does not answer holds nothing up. The mentor's name is left open.
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
"""Name → what makes its spec."""


def preset(name: str) -> RunSpec:
    """The spec of a preset.

    Raises:
        InvalidInput: There is none of this name.
    """
    if name not in PRESETS:
        raise InvalidInput.field(
            "preset", f"must be one of: {', '.join(PRESETS)}", reason="UNKNOWN_PRESET"
        )
    return PRESETS[name]()


def preset_fields(name: str) -> dict[str, Any]:
    """What a preset changes of the defaults, as nested tables of a spec's fields.

    Raises:
        InvalidInput: There is none of this name.
    """
    return _changed(to_dict(preset(name)), to_dict(RunSpec()))


def _changed(ours: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Entries of `ours` that `defaults` has not, table by table."""
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
