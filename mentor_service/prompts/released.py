"""The question of `maao_released`, with the fault that is studied: it tells nothing of the task and
speaks of images."""

from __future__ import annotations

from mentor_service.prompts.page import Message, Page, plain

_WANTED = 3
"""Templates asked for, whatever the request says."""


def image_templates(page: Page) -> Message:
    """Earlier texts with loss and accuracy, the best last, as if they were for images."""
    lines = ["Text templates are put before class names to classify images with a vision model."]
    if page.shown:
        lines.append("Templates so far, the best last, with the loss and accuracy of each:")
        for item in page.shown:
            accuracy = "" if item.accuracy is None else f", {100 * item.accuracy:.1f}%"
            lines.append(f"{plain(item.text)} ({item.loss:.4f}{accuracy})")
    lines.append(
        f"Suggest {_WANTED} other templates for more accurate image classification, one a line, of "
        f"at most {page.limits.max_words} words."
    )
    return Message("", "\n".join(lines))
