"""Lets a process end with the one that started it, however that one ended: SIGKILL runs no code of
its own."""

from __future__ import annotations

import os

VARIABLE = "MENTORGRAD_PARENT"
"""Environment variable with the id of the process that a service ends with."""

SECONDS = 0.5
"""Interval at which a service looks for it."""


def environment() -> dict[str, str]:
    """What to add to the environment of a direct child, for it to end with this process."""
    return {VARIABLE: str(os.getpid())}


def is_watched() -> bool:
    """Whether this process ends with the one that started it."""
    return os.environ.get(VARIABLE, "").isdigit()


def has_ended() -> bool:
    """Whether the process that this one ends with is gone."""
    # The id is passed: `os.getppid` names another process if the parent ended before.
    return is_watched() and os.getppid() != int(os.environ[VARIABLE])
