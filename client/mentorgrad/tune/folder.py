"""The folder of a tune: what is kept to go on with it, and the result, which is there as a whole or
not at all.

While a tune goes on, everything lies in `UNFINISHED`, a folder of the result's folder. The files of
the result are moved out of it at the end, ``model.json`` last.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from mentorgrad.errors import InvalidInput
from mentorgrad.files import replacing
from mentorgrad.predictor import UNFINISHED

SUMMARY_FILE = "tune.json"
"""What was done and how well: the object that ``--json`` prints."""
MODEL_FILE = "model.json"
"""The file without which a folder does not predict."""
FORMAT = 1
"""Version of the state and of the summary."""

_CHUNK = 1 << 20


def data_digest(path: Path) -> str:
    """Hex SHA-256 of a file; of a folder, of its files with their names.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    is_folder = path.is_dir()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if is_folder else [path]
    for file in files:
        if is_folder:
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def wishes_digest(wishes: Mapping[str, Any]) -> str:
    """Hex SHA-256 of what determines a tune: its data and options."""
    text = json.dumps(wishes, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class TuneFolder:
    """The folder of one tune; a context manager that no other process can enter meanwhile.

    Args:
        path: The folder of the result.
        digest: `wishes_digest` of the tune.
        overwrite: Whether an earlier tune and its result are replaced.

    Raises:
        InvalidInput: The folder holds something else, the result of another tune, or a tune that
            goes on; the message says what would be right.
    """

    def __init__(self, path: Path, digest: str, overwrite: bool = False) -> None:
        self.path = path
        self.private = path / UNFINISHED
        """What is kept until the result is there."""
        self._digest = digest
        self._overwrite = overwrite
        self._was_there = path.is_dir()
        self.keeps_private = False
        """Whether `private` stays although there is nothing to be gone on with."""
        self._lock: BinaryIO | None = None
        self.state: dict[str, Any] = {}
        """What an earlier call has left; empty: this is the first one."""
        self._check()

    def _check(self) -> None:
        if self._overwrite or not self._was_there:
            return
        for name, what in ((f"{UNFINISHED}/state.json", "a tune"), (SUMMARY_FILE, "the result")):
            found = read_json(self.path / name)
            if found is None:
                continue
            if found.get("format") != FORMAT:
                raise InvalidInput(
                    f"--output: {self.path} holds {what} of another version of mentorgrad; name "
                    "another folder, or start anew with --overwrite"
                )
            if found.get("digest") != self._digest:
                raise InvalidInput(
                    f"--output: {self.path} holds {what} of other data or options; name another "
                    "folder, or start anew with --overwrite"
                )
            return
        if any(entry.name != UNFINISHED for entry in self.path.iterdir()):
            raise InvalidInput(
                f"--output: {self.path} holds files that are no result of a tune; name another "
                "folder, or write beside them with --overwrite"
            )

    @property
    def summary(self) -> dict[str, Any] | None:
        """The summary of this tune, if its result is there already."""
        is_made = self._overwrite or self._has_state
        return None if is_made else read_json(self.path / SUMMARY_FILE)

    @property
    def unfinished(self) -> bool:
        """Whether there is a tune to go on with."""
        return not self._overwrite and self._has_state

    @property
    def _has_state(self) -> bool:
        return (self.private / "state.json").is_file()

    def __enter__(self) -> Self:
        self.private.mkdir(parents=True, exist_ok=True)
        self._lock = (self.private / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InvalidInput(
                f"--output: another process is tuning into {self.path}; wait for it, or name "
                "another folder"
            ) from None
        if not self.unfinished:
            self._empty()
        self._overwrite = False  # from here on it is this tune that would be gone on with
        self.state = read_json(self.private / "state.json") or {}
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
        if not self.keeps_private and not self._has_state:
            self._forget()

    def _empty(self) -> None:
        for entry in self.private.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != "lock":
                entry.unlink()

    def _forget(self) -> None:
        shutil.rmtree(self.private, ignore_errors=True)
        if not self._was_there:
            with contextlib.suppress(OSError):  # not empty: the result is there
                self.path.rmdir()

    def keep(self, **facts: Any) -> None:
        """Records facts for a later call."""
        self.state |= {"format": FORMAT, "digest": self._digest, **facts}
        write_json(self.private / "state.json", self.state)

    def drop(self) -> None:
        """Nothing of this tune is to be gone on with."""
        (self.private / "state.json").unlink(missing_ok=True)
        self.state = {}

    @contextlib.contextmanager
    def staged(self) -> Iterator[Path]:
        """A folder for the files of the result."""
        folder = self.private / "result"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder

    def finish(self, staged: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Moves the files of the result to their place; those of an earlier result go.

        Returns:
            The summary as it was written, with the names of the files.
        """
        names = sorted(file.name for file in staged.iterdir())
        names.sort(key=lambda name: name == MODEL_FILE)
        before = (read_json(self.path / SUMMARY_FILE) or {}).get("files", ())
        written = {"format": FORMAT, "digest": self._digest, **summary}
        written["files"] = sorted([*names, SUMMARY_FILE])
        for name in before:
            if name not in names and Path(name).name == name:
                (self.path / name).unlink(missing_ok=True)
        (self.path / MODEL_FILE).unlink(missing_ok=True)  # nobody predicts with half of both
        for name in names:
            os.replace(staged / name, self.path / name)
        write_json(self.path / SUMMARY_FILE, written)
        return written


def read_json(path: Path) -> dict[str, Any] | None:
    """An object in a file; None if there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes an object to a file, as a whole or not at all."""
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
