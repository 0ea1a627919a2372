"""Writes runs for experiment trackers, as a command's option names them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mentorgrad.cli.support.flag_text import one_line
from mentorgrad.cli.support.output_paths import output_folder
from mentorgrad.errors import InvalidInput, MentorgradError

if TYPE_CHECKING:
    from mentorgrad.domain.event import RunEvent
    from mentorgrad.integrations.tracking import Mirror


class Mirrored:
    """Feeds a tracker; its package's errors become one line.

    Args:
        kind: Name of the tracker.
        mirror: What feeds it.
    """

    def __init__(self, kind: str, mirror: Mirror) -> None:
        self._kind = kind
        self._mirror = mirror

    def add(self, event: RunEvent) -> None:
        """Adds the next event.

        Raises:
            MentorgradError: The tracker's package failed, with whatever error.
        """
        try:
            self._mirror.add(event)
        except Exception as error:
            raise MentorgradError(f"{self._kind}: {one_line(error)}") from error

    def close(self) -> None:
        """Closes the tracker."""
        with contextlib.suppress(Exception):  # what it raised before is reported
            self._mirror.close()


@contextlib.contextmanager
def opened(flag: str, kind: str, folder: Path | None) -> Iterator[Mirrored]:
    """Opens a tracker, and closes it at the end.

    Raises:
        InvalidInput: There is no such tracker, or its folder cannot be written.
        Unsupported: Its package is not installed.
    """
    from mentorgrad.integrations.tracking import TRACKERS, Mirror, open_tracker

    if kind not in TRACKERS:
        known = ", ".join(("jsonl", *TRACKERS) if flag == "--to" else TRACKERS)
        raise InvalidInput.field(flag, f"must be one of: {known}; not {kind!r}")
    if folder is not None:
        output_folder(flag, folder)
    mirrored = Mirrored(kind, Mirror(open_tracker(kind, folder)))
    try:
        yield mirrored
    finally:
        mirrored.close()


def opened_by_flag(text: str) -> contextlib.AbstractContextManager[Mirrored | None]:
    """Opens what ``--mirror KIND[:FOLDER]`` names; without it nothing."""
    if not text:
        return contextlib.nullcontext()
    kind, _, folder = text.partition(":")
    return opened("--mirror", kind, Path(folder) if folder else None)
