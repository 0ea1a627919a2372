"""What a worker is told (one line of JSON on standard input), and what its exit codes mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.wire.credentials import Credentials

EXIT_OK = 0
"""The run was left in a recorded state: succeeded, paused, cancelled or interrupted."""
EXIT_FAILED = 1
"""The run failed, and its log says why."""
EXIT_BAD_JOB = 2
"""The document on standard input is wrong."""
EXIT_NOT_MINE = 3
"""The run could not be claimed, or its lease was lost: it is somebody else's now."""
EXIT_STORE = 4
"""The store cannot be reached or written to."""


@dataclass(frozen=True)
class MentorAccess:
    """How a worker proves itself to mentors: names of files, never what is in them."""

    ca: str = ""
    """PEM file of the authorities that vouch for the mentors."""
    certificate: str = ""
    """PEM file of our certificate."""
    key: str = ""
    """PEM file of its key."""
    token_file: str = ""
    """File that holds our token."""
    insecure: bool = False
    """Whether the token may travel unencrypted to other machines."""

    def credentials(self) -> Credentials:
        """The same for a client.

        Raises:
            InvalidInput: Parts that do not go together.
        """

        def path(text: str) -> Path | None:
            return Path(text) if text else None

        return Credentials(
            ca=path(self.ca),
            certificate=path(self.certificate),
            key=path(self.key),
            token_file=path(self.token_file),
            insecure=self.insecure,
        )


@dataclass(frozen=True)
class WorkerJob:
    """Everything a worker needs; it reads no other settings."""

    run_id: str = bounded("", required=True)
    """The run to claim."""
    store: str = bounded("", required=True)
    """URL of the store, password and all."""
    owner: str = bounded("", required=True)
    """Who holds the lease, for the log."""
    mentors: Mapping[str, str] = bounded(factory=dict, max_length=1000)
    """Mentor by name → ``HOST:PORT``."""
    data_roots: tuple[str, ...] = ()
    """Folders that a task's files may lie in."""
    model_roots: tuple[str, ...] = ()
    """Folders that models may lie in."""
    cache_dir: str = ""
    """Folder of cached embeddings."""
    device: str = bounded("cpu", required=True)
    """Where to compute, for example ``cuda:0``."""
    threads: int = bounded(1, ge=1, le=1024)
    """Threads of torch."""
    log_level: str = bounded("info", required=True)
    """Least level of log lines."""
    log_format: str = bounded("auto", required=True)
    """How they are written; see `service_common.logs`."""
    parent: int = bounded(0, ge=0)
    """Process id of the service when that is the worker's parent, with which it ends; 0: it is
    not."""
    spool_mib: int = bounded(64, ge=1, le=65_536)
    """Most that may wait for a store that is away, in MiB."""
    store_patience: float = bounded(300.0, ge=0.0, le=86_400.0)
    """Seconds that the store may be away before the run is paused."""
    mentor_access: MentorAccess = MentorAccess()
    """How to prove ourselves to the mentors."""

    def to_line(self) -> bytes:
        """The document, with its line end."""
        return json.dumps(to_dict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerJob:
        """The inverse of `to_line`.

        Raises:
            InvalidInput: Not such a document.
        """
        try:
            document = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"standard input is not a JSON document: {error}") from None
        return from_dict(cls, document)
