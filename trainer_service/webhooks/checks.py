"""Checks which webhooks a spec names."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mentorgrad.domain.spec import RunSpec
from mentorgrad.errors import Violation


def webhook_violations(spec: RunSpec, known: Collection[str]) -> Iterator[Violation]:
    """Webhooks of a spec that the trainer does not have.

    Args:
        spec: The run's spec.
        known: Names of the trainer's webhooks.
    """
    for index, name in enumerate(spec.webhooks):
        if name not in known:
            has = f"known: {', '.join(known)}" if known else "this trainer has none"
            yield Violation(f"spec.webhooks[{index}]", f"{name!r} is not known here; {has}")
