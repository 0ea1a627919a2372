"""The question of `maao_released`, with the fault that is studied: it tells nothing of the task and
speaks of images."""

from __future__ import annotations

from mentor_service.prompts.question_facts import Message, QuestionFacts, plain

_WANTED = 3
"""Templates asked for, whatever the request says."""


def image_templates(facts: QuestionFacts) -> Message:
    """Earlier texts with loss and accuracy, the best last, as if they were for images."""
    lines = ["Text templates are put before class names to classify images with a vision model."]
    if facts.shown:
        lines.append("Templates so far, the best last, with the loss and accuracy of each:")
        for item in facts.shown:
            accuracy = "" if item.accuracy is None else f", {100 * item.accuracy:.1f}%"
            lines.append(f"{plain(item.text)} ({item.loss:.4f}{accuracy})")
    lines.append(
        f"Suggest {_WANTED} other templates for more accurate image classification, one a line, of "
        f"at most {facts.limits.max_words} words."
    )
    return Message("", "\n".join(lines))
