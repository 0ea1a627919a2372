"""The prompt for proposals of settings: what the training came to under which settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mentor_service.formats import json_reply
from mentor_service.prompts.question_facts import (
    Message,
    QuestionFacts,
    Shown,
    labels,
    parameter,
    plain,
    repair,
    topic,
)
from mentorgrad.settings_space import Setting, SettingsSpace

_JSON_ONLY = "Answer with JSON only."

_ADVISER = (
    "You advise a training run. Gradient descent trains a model in stages; you read how the loss "
    "went under which settings, and propose settings for the next stage. Proposals are tried out "
    f"against the present settings: make them differ from these and from each other. {_JSON_ONLY}"
)

_ADVISERS = {
    "instruct": _ADVISER,
    "bare": _JSON_ONLY,
    "role": f"You are the most experienced mentor of a young optimiser. {_ADVISER}",
}
"""Instruction by the option `wording`, for profiles that state rules."""


def settings(facts: QuestionFacts) -> Message:
    """Shows the settings that may be proposed and the losses so far, the latest last, and asks for
    other settings."""
    space = SettingsSpace.read(facts.limits.settings_schema, "constraints.settings_schema")
    lines = [
        f"A model is trained to classify texts by {topic(facts.card)}.",
        *(_details(facts) if facts.profile.rules else []),
        "Settings of the training, and their values:",
        *(_allowed(setting) for setting in space.settings),
    ]
    if facts.shown:
        lines.append("Settings and the loss with them, the latest last:")
        lines += [_course(facts, item) for item in facts.shown]
    if not facts.profile.rules:
        return Message("", "\n".join([*lines, f"Write {facts.count} new and different settings."]))
    example = {"rationale": "why, in at most ten words", "settings": _example(space, facts)}
    lines += [
        f"In effect now: {_written(facts.settings or {})}",
        "",
        f"Propose {facts.count} other settings for the next steps, which may lower the loss most. "
        f"Answer in this form: {json_reply([example])}",
    ]
    if facts.problem:
        lines.append(repair(facts))
    return Message(_ADVISERS[facts.wording], "\n".join(lines))


def _details(facts: QuestionFacts) -> list[str]:
    return [f"Classes: {labels(facts.card)}.", *parameter(facts.card)]


def _allowed(setting: Setting) -> str:
    note = f" ({plain(setting.description)})" if setting.description else ""
    return f"{setting.name}{note}: {setting.allowed}"


def _course(facts: QuestionFacts, item: Shown) -> str:
    digits = 4 if facts.profile.details else 3
    course = f"{_written(item.settings or {})}: loss {item.loss:.{digits}f}"
    if item.probe_loss is not None:
        return f"{course}, then {item.probe_loss:.{digits}f}"
    if not facts.profile.details:
        return course
    accuracy = "" if item.accuracy is None else f", accuracy {item.accuracy:.3f}"
    return f"{course}{accuracy}" + (f"; norms: {plain(item.text)}" if item.text else "")


def _written(values: Mapping[str, Any]) -> str:
    return plain(json.dumps(dict(values)))


def _example(space: SettingsSpace, facts: QuestionFacts) -> dict[str, Any]:
    """The settings in effect; what has no value is given one."""
    given = facts.settings or {}
    return {setting.name: given.get(setting.name, setting.example) for setting in space.settings}
