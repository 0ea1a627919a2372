"""Options of the controls. Imports no torch, so that specs can be validated without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mentorgrad.domain.spec import RANDOM_SETTINGS
from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded, field_types
from mentorgrad.serialization import from_dict
from trainer_service.protocols import RandomWords

BAD_OPTIONS = "BAD_OPTIONS"
"""Error reason: an option is invalid."""


class Base(StrEnum):
    """Candidate that a control's proposals edit."""

    INCUMBENT = "incumbent"
    BEST = "best"


@dataclass(frozen=True)
class NoOptions:
    """Options of ``none`` and ``random_settings``."""


@dataclass(frozen=True)
class EditOptions:
    """Options shared by all controls that propose parameters or words.

    Lists are cycled through, one element per proposal. A single number is a list of one element.
    """

    weight: tuple[float, ...] = bounded((1.0,), gt=0.0, le=1.0, max_length=64, required=True)
    """Weight of a proposal when it is mixed with its base."""
    base: Base = Base.INCUMBENT
    """Candidate that proposals edit: the ``incumbent``, or the ``best`` of the run so far."""


@dataclass(frozen=True)
class RandomTokensOptions(EditOptions):
    """Options of ``random_tokens``."""

    words: RandomWords | None = None
    """What the words are drawn from, uniformly: the whole words of the tuned model's
    ``vocabulary``, or the distinct words of the ``train_texts``, as many as fit the prompt. None:
    the default of the objective: ``vocabulary`` for ``label_prompt`` and ``prompt_tuning``,
    ``train_texts`` for ``causal_prompt``. Numbers have no words."""


@dataclass(frozen=True)
class PerturbOptions(EditOptions):
    """Options of ``perturb``."""

    scale: tuple[float, ...] = bounded((0.5,), gt=0.0, le=100.0, max_length=64, required=True)
    """Standard deviation of the noise, relative to that of the base's parameters; for numbers,
    relative to that of a uniform draw from their range. For texts, the probability that a word is
    replaced by a random one; at least one is."""


@dataclass(frozen=True)
class RecombineOptions(EditOptions):
    """Options of ``recombine``."""

    parents: int = bounded(4, ge=2, le=64)
    """Number of best candidates with different words to choose parents from."""


@dataclass(frozen=True)
class HintTokensOptions(EditOptions):
    """Options of ``hint_tokens``."""

    temperature: float | None = bounded(None, gt=0.0, le=1000.0)
    """Softmax temperature. Tokens are drawn with logits −score / (temperature × standard deviation
    of the position's scores); None: uniformly from the hint's tokens."""


OPTIONS: dict[str, type] = {
    "none": NoOptions,
    "random_tokens": RandomTokensOptions,
    "random_init": EditOptions,
    "perturb": PerturbOptions,
    "recombine": RecombineOptions,
    "hint_tokens": HintTokensOptions,
    "description": EditOptions,
    RANDOM_SETTINGS: NoOptions,
}
"""Maps a control to its options class."""


def read_options(
    control: str, options: Mapping[str, Any], path: str = "spec.mentor.options"
) -> Any:
    """Parses and validates the options of a control.

    Raises:
        InvalidInput: An option is unknown, has the wrong type or is out of range (reason
            BAD_OPTIONS).
    """
    cls = OPTIONS[control]
    kinds = field_types(cls)
    if options and not kinds:
        name = next(iter(options))
        raise InvalidInput.field(
            f"{path}.{name}", f"unknown option; {control} has no options", reason=BAD_OPTIONS
        )
    alone = {
        name
        for name, value in options.items()
        if name in kinds and kinds[name].repeated and not isinstance(value, (list, tuple))
    }
    given = {name: [value] if name in alone else value for name, value in options.items()}
    try:
        return from_dict(cls, given, path)
    except InvalidInput as error:
        named = {f"{path}.{name}[0]": f"{path}.{name}" for name in alone}
        violations = [replace(v, field=named.get(v.field, v.field)) for v in error.violations]
        raise InvalidInput(violations=violations, reason=BAD_OPTIONS) from None
