"""Model profiles: the form of the questions and replies by the size of the model. Data, not code.

A model of some hundred million parameters copies a JSON schema or breaks off in it, but continues
a list well when it is shown one. A model of a billion parameters or more follows instructions.
"""

from __future__ import annotations

from dataclasses import dataclass

from mentorgrad.errors import InvalidInput

SMALL_BELOW = 1_000_000_000
"""Models with fewer weights get the small profile."""

SMALL_CONTEXT_BELOW = 2048
"""Models with a smaller context (tokens) get the small profile: a full trajectory does not fit."""


@dataclass(frozen=True)
class Profile:
    """Form of questions and replies that a model can follow. Strategies and prompts depend on the
    fields, never on the name."""

    name: str
    """``small`` or ``capable``."""
    json: bool
    """Whether replies are JSON with a schema; otherwise numbered lines with a GBNF grammar."""
    rules: bool
    """Whether questions state rules; otherwise they show a worked example."""
    details: bool
    """Whether candidates are shown with accuracy, source and direction of movement; otherwise with
    their loss only."""
    top_k: int
    """Default number of candidates shown."""
    max_words: int
    """Maximum words of a proposal; the session's constraints apply too."""
    min_words: int
    """Minimum words of a proposal that the grammar allows."""
    temperature: float
    """Default sampling temperature."""
    repeat_penalty: float
    """See `mentor_service.protocols.Question.repeat_penalty`."""
    calls: int
    """Maximum rounds of questions per answer; later rounds ask for the missing proposals."""
    lines: int
    """Proposals requested per reply; more proposals need more replies to the same question."""
    samples: int
    """Maximum replies per question."""
    hints: str
    """Default use of gradient hints by strategies that want them: ``show`` or ``grammar``."""
    hint_tokens: int
    """Hint tokens shown or allowed per position."""
    exemplars: int
    """Maximum train rows shown."""
    exemplar_characters: int
    """Maximum characters shown per train row."""
    form: str = "chat"
    """How lines of a language model's input are asked for: ``completion``, as the next line of a
    list of tasks, or ``chat``, like any other proposal. Asked by chat, models of up to some billion
    weights answer the task instead of writing a line for it."""
    reasoning_tokens: int = 0
    """Maximum tokens of the reasoning in front of a chat's answer. With any, replies are not held
    to a grammar or schema, which would rule the reasoning out."""


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
            form="completion",
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
            form="completion",
        ),
    )
}
"""Profiles by name."""


def choose(setting: str, parameters: int | None, context_tokens: int) -> Profile:
    """Chooses the profile of a model.

    Args:
        setting: ``auto`` or the name of a profile.
        parameters: Number of the model's weights; None: unknown, as for a remote server.
        context_tokens: Maximum tokens of a question and its reply together.

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
