"""How far runs have been watched, kept in the user's state folder for later commands.

There is one small file per run and server. Where it cannot be written or read, watching starts with
the first event.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path

from mentorgrad.files import replacing
from mentorgrad.paths import state_folder

_DAYS = 30
"""Days after which a position that did not change is deleted."""

_SECONDS = 1.0
"""Minimum time between two writes, seconds: all that is lost if the command is killed."""


class WatchPosition:
    """The seq of the last event that was shown of one run.

    Args:
        server: Address of the service.
        run_id: The run.
    """

    def __init__(self, server: str, run_id: str) -> None:
        folder = state_folder()
        name = hashlib.sha256(f"{server} {run_id}".encode()).hexdigest()[:32]
        self._file = None if folder is None else folder / "watched" / f"{name}.json"
        self._facts = {"server": server, "run_id": run_id}
        self._written = time.monotonic()

    def read(self) -> int:
        """The position; 0 if there is none."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, OverflowError):
            if self._file is not None:
                return max(0, int(json.loads(self._file.read_text(encoding="utf-8"))["seq"]))
        return 0

    def moved(self, seq: int) -> None:
        """Writes the position, at most once per second."""
        if time.monotonic() - self._written >= _SECONDS:
            self.write(seq)

    def write(self, seq: int) -> bool:
        """Writes the position.

        Returns:
            Whether a later command will find it.
        """
        self._written = time.monotonic()
        if self._file is None:
            return False
        try:
            if not self._file.exists():
                self._file.parent.mkdir(parents=True, exist_ok=True)
                _delete_old(self._file.parent)
            with replacing(self._file) as file:
                file.write(json.dumps({**self._facts, "seq": seq}).encode())
        except OSError:
            return False
        return True

    def delete(self) -> None:
        """Deletes the position: the run was watched to its end."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.unlink(missing_ok=True)


def _delete_old(folder: Path) -> None:
    oldest = time.time() - _DAYS * 86_400
    for file in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()
