"""The options that every strategy of `PromptedStrategy` has, described once."""

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
            "description": "Most candidates shown; by default the profile's.",
        },
        "temperature": {
            "type": "number",
            "minimum": 0,
            "maximum": 2,
            "description": "Sampling temperature; by default the profile's.",
        },
        "calls": {
            "type": "integer",
            "minimum": 1,
            "maximum": 5,
            "description": "Most rounds of asking for one answer: the later ones ask again when "
            "the earlier ones gave less than half of what was wanted. By default the profile's.",
        },
        "samples": {
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "description": "Replies drawn together to one question, each with its share of the "
            "proposals; by default as many as give each reply the profile's number of lines.",
        },
        "weights": {
            "type": "array",
            "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "minItems": 1,
            "maxItems": 16,
            "description": "Weights of the proposals against their base where they fill positions, "
            "given out in turn; 1, the default: the proposal alone.",
        },
        "base": {
            "type": "string",
            "enum": ["incumbent", "best"],
            "description": "What proposals are blended with, and what fills the positions that "
            "they leave: the incumbent or the best snapshot. By default the incumbent, or the "
            "candidate of which a proposal is an edit.",
        },
        "hints": {
            "type": "string",
            "enum": ["none", "show", "grammar"],
            "description": "Gradient hints: none, shown in the question, or the only words that a "
            "proposal may have. By default none; for strategies of hints the profile's.",
        },
        "order": {
            "type": "string",
            "enum": ["reply", "short"],
            "description": "Which proposals are kept when there are more than were wanted: the "
            "first (reply, the default) or the ones of fewest words (short).",
        },
        "wording": {
            "type": "string",
            "enum": list(WORDINGS),
            "description": "How the instruction is worded: a plain sentence (instruct, the "
            "default), none (bare), or one that gives the model a part to play (role).",
        },
    }
)
"""JSON Schema of each common option, by name."""


@dataclass(frozen=True)
class Options:
    """The options of one session, the common ones read out. None: the default."""

    top_k: int | None = None
    """See `COMMON`, as for the next."""
    temperature: float | None = None
    """Sampling temperature."""
    calls: int | None = None
    """Most rounds of asking."""
    samples: int | None = None
    """Replies drawn together."""
    weights: tuple[float, ...] = ()
    """Weights in turn."""
    base: str | None = None
    """``incumbent`` or ``best``."""
    hints: str | None = None
    """``none``, ``show`` or ``grammar``."""
    order: str = "reply"
    """``reply`` or ``short``."""
    wording: str = WORDINGS[0]
    """How the instruction is worded."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """The strategy's own, as given."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Options:
        """Reads options that their schema allows."""
        common = {name: value for name, value in given.items() if name in COMMON}
        if "weights" in common:
            common["weights"] = tuple(float(weight) for weight in common["weights"])
        if "temperature" in common:
            common["temperature"] = float(common["temperature"])
        own = {name: value for name, value in given.items() if name not in COMMON}
        return cls(**common, own=own)


def schema(own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """JSON Schema of a strategy's options: the common ones and its own, which are stronger."""
    return {
        "type": "object",
        "properties": {**COMMON, **own},
        "additionalProperties": False,
    }
