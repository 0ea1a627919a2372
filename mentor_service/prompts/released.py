"""The prompt of `maao_released`, with the faults under study: it does not describe the task, and it
asks for image classification."""

from __future__ import annotations

from mentor_service.prompts.question_facts import Message, QuestionFacts, plain

_WANTED = 3
"""Number of templates asked for, whatever the request says."""


def image_templates(facts: QuestionFacts) -> Message:
    """Shows earlier texts with loss and accuracy, the best last, as templates for images."""
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
