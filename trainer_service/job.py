"""The job document of a worker (one line of JSON on standard input) and a worker's exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mentorgrad.errors import InvalidInput
from mentorgrad.schema import bounded
from mentorgrad.serialization import from_dict, to_dict
from mentorgrad.wire.credentials import Credentials

EXIT_OK = 0
"""The run was left in a recorded state: succeeded, paused, cancelled or interrupted."""
EXIT_FAILED = 1
"""The run failed, and its log says why."""
EXIT_BAD_JOB = 2
"""The job document is invalid."""
EXIT_NOT_MINE = 3
"""The run could not be claimed, or its lease was lost: another worker may own the run."""
EXIT_STORE = 4
"""The store cannot be reached or written to."""
EXIT_MEMBER_DIED = 5
"""A further process of the run has died, or cannot be reached."""
EXIT_DEVICE = 6
"""A device of the run does not answer. The run is interrupted, for other workers to go on with."""

STORE_PATIENCE = 1800.0
"""Seconds, by default, that the store may be unavailable before its runs are paused: long enough
for a database to be restarted, moved or upgraded."""


@dataclass(frozen=True)
class WorkerJob:
    """The job document: everything a worker needs. A worker reads no other settings."""

    run_id: str = bounded("", required=True)
    """The run to execute."""
    store: str = bounded("", required=True)
    """URL of the store, including the password."""
    attempt: int = bounded(1, ge=1)
    """The run's attempt that the agent has claimed for this worker."""
    mentors: Mapping[str, str] = bounded(factory=dict, max_length=1000)
    """Mentor by name → ``HOST:PORT``."""
    data_roots: tuple[str, ...] = ()
    """Directories from which a task's files may be read."""
    model_roots: tuple[str, ...] = ()
    """Directories from which models may be loaded."""
    cache_dir: str = ""
    """Directory of the embedding cache; empty: no cache."""
    device: str = bounded("cpu", required=True)
    """Torch device, for example ``cuda:0``."""
    members: tuple[str, ...] = bounded((), max_length=63)
    """Torch devices of the run's further processes, which the worker starts."""
    threads: int = bounded(1, ge=1, le=1024)
    """Number of threads of torch, or of llama.cpp."""
    log_level: str = bounded("info", required=True)
    """Minimum level of log lines."""
    log_format: str = bounded("auto", required=True)
    """Log format; see `service_common.logs`."""
    state_cache_mib: int = bounded(2048, ge=0, le=1_048_576)
    """Maximum size of texts' keys and values that are kept in memory, over all runs of the worker,
    in MiB."""
    parent: int = bounded(0, ge=0)
    """Process id of the service if it is the worker's parent: the worker stops when this process
    exits. 0: the worker watches no parent."""
    spool_mib: int = bounded(64, ge=1, le=65_536)
    """Maximum size of the events that wait while the store is unavailable, in MiB."""
    store_patience: float = bounded(STORE_PATIENCE, ge=0.0, le=86_400.0)
    """Seconds that the store may be unavailable before the run is paused."""
    mentor_access: Credentials = bounded(factory=Credentials)
    """Credentials for the mentors, as absolute paths; the contents are never in the job."""
    tuned_models: Mapping[str, str] = bounded(factory=dict, max_length=1000)
    """Served model by name → URL."""

    def to_line(self) -> bytes:
        """The document as one line of JSON, including the newline."""
        return json.dumps(to_dict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> WorkerJob:
        """The inverse of `to_line`.

        Raises:
            InvalidInput: The line is not a valid job document.
        """
        try:
            document = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"standard input is not a JSON document: {error}") from None
        return from_dict(cls, document)
