"""Settings of the gradient steps that may change at a restart. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mentorgrad.domain.advice import Constraints, ProposalKind
from mentorgrad.domain.spec import RANDOM_SETTINGS, MentorChoice
from mentorgrad.settings_space import Setting, SettingsSpace

TrainingSettings = Mapping[str, Any]
"""Setting name → value."""

LEARNING_RATE = Setting(
    "learning_rate_factor",
    (0.25, 0.5, 1, 2, 4, 8),
    description="factor of the learning rate",
    default=1,
)
"""The setting of every objective that has settings."""


def proposes_settings(choice: MentorChoice) -> bool:
    """Whether a source of proposals proposes settings to an objective that has them; the other
    controls propose parameters."""
    return not choice.is_control or choice.name == RANDOM_SETTINGS


def settings_at_start(choice: MentorChoice, constraints: Constraints) -> TrainingSettings | None:
    """The settings with which a run starts; None: it has none."""
    if constraints.kind is not ProposalKind.SETTINGS or not proposes_settings(choice):
        return None
    return space_of(constraints).defaults


def space_of(constraints: Constraints) -> SettingsSpace:
    """The settings that the schema allows."""
    return SettingsSpace.read(constraints.settings_schema, "constraints.settings_schema")


def rate_factor(settings: TrainingSettings | None) -> float:
    """Factor of the learning rate under these settings."""
    return float((settings or {}).get(LEARNING_RATE.name, 1.0))
