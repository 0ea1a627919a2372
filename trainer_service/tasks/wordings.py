"""A task's description and labels as prompts that a person would write, without an LLM."""

from __future__ import annotations

from collections.abc import Sequence

_TEMPLATES = (
    # the description and the labels
    "{Task}. Labels: {list}.",
    "{Task}: is it {choice}?",
    "Task: {task}. Answer with one of these labels: {list}.",
    "Classify the text as {choice}. The question is: {task}.",
    "{Task}. Choose one: {list}.",
    "{Task}: {choice}?",
    # the labels
    "Classify the text as {choice}:",
    "Is this {choice}?",
    "Choose the label that fits the text best: {list}.",
    "Which of these is it: {choice}?",
    "Possible labels: {list}.",
    "{Choice}?",
    "{list}",
    # the description
    "{Task}. What is the right label?",
    "Task: {task}.",
    "{Task}:",
    "{task}",
    # neither, for a prompt of few tokens
    "Which label fits the text best?",
    "What is the right label?",
    "What is this about?",
    "Classify this text:",
    "The right label is",
    "Category:",
    "Topic:",
    "Label:",
    "Class:",
)
"""From rich to short."""

MAX_CHARACTERS = 2_000
"""Maximum length of a wording; no prompt has room for a longer one."""


def wordings(description: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Different prompts for a task, from rich to short; the same ones every time.

    Args:
        description: The task's one-line description.
        labels: Its label words.

    Returns:
        Up to 26 texts, the last of which name neither description nor labels; none without a
        description or labels.
    """
    task = " ".join(description.split()).rstrip(".:;?! ")
    if not task or not labels:
        return ()
    choice = " or ".join(part for part in (", ".join(labels[:-1]), labels[-1]) if part)
    words = {
        "task": task,
        "Task": _capitalised(task),
        "list": ", ".join(labels),
        "choice": choice,
        "Choice": _capitalised(choice),
    }
    texts = dict.fromkeys(template.format_map(words) for template in _TEMPLATES)
    return tuple(text for text in texts if len(text) <= MAX_CHARACTERS)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
