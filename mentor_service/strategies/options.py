"""Options common to all strategies derived from `PromptedStrategy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mentor_service.prompts.question_facts import WORDINGS

COMMON: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "top_k": {
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "description": "Maximum candidates shown. Default: the profile's.",
        },
        "temperature": {
            "type": "number",
            "minimum": 0,
            "maximum": 2,
            "description": "Sampling temperature. Default: the profile's.",
        },
        "calls": {
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
            "description": "Maximum rounds of questions per answer; another round follows while "
            "less than half of the requested proposals were found. Default: the profile's.",
        },
        "samples": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "description": "Replies per question, each with an equal share of the proposals. "
            "Default: as many as give each reply the profile's number of lines.",
        },
        "weights": {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "minItems": 1,
            "maxItems": 16,
            "description": "Blend weights of the proposals against their base at the positions "
            "that they fill, assigned in turn. Default: 1, the proposal alone.",
        },
        "base": {
            "type": "string",
            "enum": ["incumbent", "best"],
            "description": "Base that proposals are blended with, and that fills the positions "
            "that they leave empty: the incumbent or the best snapshot. Default: the incumbent, or "
            "the candidate that the proposal is an edit of.",
        },
        "hints": {
            "type": "string",
            "enum": ["none", "show", "grammar"],
            "description": "Use of gradient hints: none, shown in the question (show), or as the "
            "only allowed words (grammar). Default: none; for strategies that use hints, the "
            "profile's.",
        },
        "order": {
            "type": "string",
            "enum": ["reply", "short"],
            "description": "Which proposals are kept if there are more than requested: the first "
            "ones (reply, default) or those with the fewest words (short).",
        },
        "form": {
            "type": "string",
            "enum": ["completion", "chat"],
            "description": "How lines of a language model's input are asked for: as the next line "
            "of a list of tasks (completion), or like other proposals (chat). Default: the "
            "profile's.",
        },
        "reasoning_tokens": {
            "type": "integer",
            "minimum": 0,
            "maximum": 32768,
            "description": "Maximum tokens of the reasoning of a model that reasons before it "
            "answers. With any, replies are not held to a grammar or schema. Default: the "
            "profile's, 0.",
        },
        "wording": {
            "type": "string",
            "enum": list(WORDINGS),
            "description": "Wording of the instruction: a plain sentence (instruct, default), none "
            "(bare), or one that gives the model a role (role).",
        },
    }
)
"""Option name → JSON Schema."""


@dataclass(frozen=True)
class Options:
    """Options of one session: the common ones as fields. None: the default."""

    top_k: int | None = None
    """Maximum candidates shown. For all common options see `COMMON`."""
    temperature: float | None = None
    """Sampling temperature."""
    calls: int | None = None
    """Maximum rounds of questions."""
    samples: int | None = None
    """Replies per question."""
    weights: tuple[float, ...] = ()
    """Blend weights, assigned in turn."""
    base: str | None = None
    """``incumbent`` or ``best``."""
    hints: str | None = None
    """``none``, ``show`` or ``grammar``."""
    order: str = "reply"
    """``reply`` or ``short``."""
    wording: str = WORDINGS[0]
    """Wording of the instruction."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Options specific to the strategy."""
    form: str | None = None
    """``completion`` or ``chat``."""
    reasoning_tokens: int | None = None
    """Maximum tokens of a model's reasoning."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Builds it from options that were validated against their schema."""
        common = {name: value for name, value in given.items() if name in COMMON}
        if "weights" in common:
            common["weights"] = tuple(float(weight) for weight in common["weights"])
        if "temperature" in common:
            common["temperature"] = float(common["temperature"])
        own = {name: value for name, value in given.items() if name not in COMMON}
        return cls(**common, own=own)


def schema(own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """JSON Schema of a strategy's options: the common ones, overridden by its own."""
    return {
        "type": "object",
        "properties": {**COMMON, **own},
        "additionalProperties": False,
    }
