"""The files that a run starts from: those in a folder, or those that another run left. Imports no
torch.

A worker copies what it reads of another run into the run's own files, under names that begin with
`COPIED`. A resumed run reads these, so it starts from the same bytes, and needs the other run no
more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mentorgrad.domain.query import RunReader
from mentorgrad.errors import NotFound, PreconditionFailed
from mentorgrad.model_refs import resolve
from trainer_service.objectives.peft_files import CONFIG_FILE, WEIGHTS_FILE
from trainer_service.objectives.torch_free import ARTIFACT, MODEL_FILE

FOLDER, RUN = "peft:", "run:"
"""What references of a folder and of a run begin with, in a spec."""

COPIED = "start."
"""What the names of copied files begin with."""

# The document comes last: where it is copied, all are.
_FILES = (CONFIG_FILE, WEIGHTS_FILE, ARTIFACT, MODEL_FILE)


@dataclass(frozen=True, eq=False)
class StartFiles:
    """Files by name."""

    origin: str
    """What they are called in messages."""
    names: Collection[str]
    """Names of the files that are there."""
    read: Callable[[str], bytes]
    """Name → content. Raises `MentorgradError` or OSError."""


OpenRun = Callable[[str], StartFiles]
"""Id of a run → the files that it left; raises `MentorgradError` if there are none."""


def no_runs(run_id: str) -> StartFiles:
    """An `OpenRun` without a store."""
    raise NotFound(f"the run {run_id[:80]!r} does not exist", reason="RUN_NOT_FOUND")


@dataclass(frozen=True)
class StartSources:
    """Where the files may be."""

    roots: Sequence[Path] | None = ()
    """Folders that a named folder must be in; None: any folder."""
    open_run: OpenRun = no_runs
    """Opens another run's files."""

    def find(self, reference: str) -> StartFiles | None:
        """The files that a spec's field names; None if it names none (see `names_files`).

        Raises:
            MentorgradError: They do not exist.
        """
        if reference.startswith(RUN):
            return self.open_run(reference.removeprefix(RUN))
        if not reference.startswith(FOLDER):
            return None
        folder = resolve(reference.removeprefix(FOLDER), roots=self.roots)
        names = {file.name for file in folder.glob("*") if file.is_file()}
        return StartFiles(folder.name, names, lambda name: (folder / name).read_bytes())


def names_files(reference: str) -> bool:
    """Whether a spec's field names a folder or a run to start from, rather than a text."""
    return reference.startswith((FOLDER, RUN))


def files_of_run(store: RunReader, run_id: str) -> StartFiles:
    """The files that a run left at its end.

    Raises:
        NotFound: No such run.
        PreconditionFailed: It has left none that a run can start from (reason NO_RESULT).
    """
    run = store.get_run(run_id)
    names = {item.name for item in store.artifacts(run_id)}
    if MODEL_FILE not in names:
        raise PreconditionFailed(
            f"the run {run_id} has no result to start from: it is {run.state.value}",
            reason="NO_RESULT",
        )
    return StartFiles(f"run {run_id}", names, partial(store.read_artifact, run_id))


class CopiedRun:
    """The files of the run that a run starts from, for its worker.

    Args:
        store: Holds both runs.
        run_id: The run that is executed.
    """

    def __init__(self, store: RunReader, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._held: dict[str, bytes] = {}
        self._read: set[str] = set()
        self._is_copied = False

    def fetch(self, objective: Any) -> None:
        """Reads the files, if the objective's spec names a run: the copies, once there are some.

        Raises:
            NotFound: The other run does not exist.
            PreconditionFailed: It has left no files.
            Unavailable: The store is not available.
        """
        fields = (getattr(objective, name, "") for name in ("initial", "initial_text"))
        named = next((field for field in fields if field.startswith(RUN)), "")
        if not named:
            return
        own = {item.name for item in self._store.artifacts(self._run_id)}
        self._is_copied = f"{COPIED}{MODEL_FILE}" in own
        if self._is_copied:
            lead, read = COPIED, partial(self._store.read_artifact, self._run_id)
            found = StartFiles("", own, read)
        else:
            lead, found = "", files_of_run(self._store, named.removeprefix(RUN))
        self._held = {n: found.read(lead + n) for n in _FILES if lead + n in found.names}

    def open(self, run_id: str) -> StartFiles:
        """The files that were fetched; an `OpenRun`."""
        if not self._held:
            return no_runs(run_id)
        return StartFiles(f"run {run_id}", self._held.keys(), self._noted)

    def _noted(self, name: str) -> bytes:
        self._read.add(name)
        return self._held[name]

    def taken(self) -> dict[str, bytes]:
        """What has been read of the other run, to be kept as files of this one, in this order;
        forgets all files."""
        held, self._held = self._held, {}
        if self._is_copied:
            return {}
        return {
            f"{COPIED}{name}": held[name] for name in _FILES if name in self._read & held.keys()
        }
