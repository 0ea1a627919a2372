"""Model profiles: what form of question a model can follow. Data, not code.

A model of some hundred million parameters copies a JSON schema or breaks off in it, but continues
a list well when it is shown one. A model of a billion and more follows an instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

from mentorgrad.errors import InvalidInput

SMALL_BELOW = 1_000_000_000
"""Models with fewer weights get the small profile."""

SMALL_CONTEXT_BELOW = 2048
"""Contexts too short for a full trajectory, whatever the model."""


@dataclass(frozen=True)
class Profile:
    """What form of question a model can follow. Strategies and questions look at the fields, never
    at the name."""

    name: str
    """``small`` or ``capable``."""
    json: bool
    """Whether the reply is JSON under a schema; else numbered lines under a grammar."""
    rules: bool
    """Whether the question says in sentences what is wanted; else it shows a worked example."""
    details: bool
    """Whether candidates are shown with accuracy, source and where they moved; else with their
    figure alone."""
    top_k: int
    """Candidates shown, unless the options say otherwise."""
    max_words: int
    """Most words of a free proposal; the session's constraints hold besides."""
    min_words: int
    """Fewest words that the grammar allows."""
    temperature: float
    """Sampling temperature, unless the options say otherwise."""
    repeat_penalty: float
    """See `mentor_service.protocols.Question.repeat_penalty`."""
    calls: int
    """Most calls for one answer: the later ones ask again for what is missing."""
    lines: int
    """Proposals that one reply is asked for; more come from more replies to the same question."""
    samples: int
    """Most replies drawn together."""
    hints: str
    """What strategies of gradient hints do with them, unless the options say otherwise: ``show`` or
    ``grammar``."""
    hint_tokens: int
    """Tokens of a position that are shown or allowed."""
    exemplars: int
    """Train rows shown."""
    exemplar_characters: int
    """Characters of a train row shown."""


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="small",
            json=False,
            rules=False,
            details=False,
            top_k=4,
            max_words=6,
            min_words=2,
            temperature=0.8,
            repeat_penalty=0.5,
            calls=2,
            lines=4,  # shorter lists repeat each other, longer ones leave the topic
            samples=16,
            hints="grammar",
            hint_tokens=6,
            exemplars=2,
            exemplar_characters=80,
        ),
        Profile(
            name="capable",
            json=True,
            rules=True,
            details=True,
            top_k=10,
            max_words=4096,
            min_words=1,
            temperature=0.8,
            repeat_penalty=0.0,
            calls=2,
            lines=8,
            samples=8,
            hints="show",
            hint_tokens=8,
            exemplars=6,
            exemplar_characters=300,
        ),
    )
}
"""Every profile by name."""


def choose(setting: str, parameters: int | None, context_tokens: int) -> Profile:
    """The profile for a model.

    Args:
        setting: ``auto`` or the name of a profile.
        parameters: Weights of the model; None when unknown, as for a remote server.
        context_tokens: Longest question and reply together.

    Raises:
        InvalidInput: There is no such profile.
    """
    if setting in PROFILES:
        return PROFILES[setting]
    if setting != "auto":
        known = ", ".join(("auto", *PROFILES))
        raise InvalidInput.field("profile", f"must be one of: {known}; not {setting!r}")
    small = parameters is not None and parameters < SMALL_BELOW
    return PROFILES["small" if small or context_tokens < SMALL_CONTEXT_BELOW else "capable"]
