"""Interface of the care for a store: sizes of runs, dropping ended ones, and checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from mentorgrad.domain.query import RunFilter
from run_store.checks.finding import StoreFinding
from run_store.retention import EndedRun


class StoreCare(Protocol):
    """Measures and drops ended runs, and checks what is stored. The guarantees in
    `run_store.protocols` apply here too.

    A run that has not ended, or is one of an unfinished experiment, is never dropped. What is
    dropped is dropped in transactions of limited size, raw data first, so that other writers get
    their turns. A process that dies in between leaves each run whole, without some of its raw data,
    or gone; dropping it again goes on from there.
    """

    def ended_runs(self, run_filter: RunFilter, *, save_sizes: bool) -> Iterator[EndedRun]:
        """The runs that may be dropped, oldest first, read page by page.

        Args:
            run_filter: Which of them.
            save_sizes: Whether sizes that had to be measured are stored for the next time.

        Raises:
            InvalidInput: The filter is not valid.
        """
        ...

    def count_ended(self) -> int:
        """Number of runs that may be dropped, whatever their size."""
        ...

    def held_bytes(self) -> Mapping[str, int]:
        """Owner → bytes of all runs, whether they have ended or not; empty: runs without an owner.
        The bytes are those of the contents; the database's own overhead is not among them, nor are
        uploads."""
        ...

    def drop_raw(self, run_id: str) -> int:
        """Drops the raw parameters and checkpoints of an ended run. From then on, it is read like a
        run that captured no parameters, and `Run.raw_dropped_at` says since when.

        Returns:
            Bytes that were dropped.

        Raises:
            NotFound: No such run.
            PreconditionFailed: It has not ended (TRANSITION_FORBIDDEN), or is one of an unfinished
                experiment (EXPERIMENT_UNFINISHED).
        """
        ...

    def drop_run(self, run_id: str) -> int:
        """Drops an ended run, and the uploads that only it has used: first its raw data, then
        everything else in one transaction.

        Returns:
            Bytes that were dropped.

        Raises:
            NotFound: No such run.
            PreconditionFailed: As `drop_raw`.
        """
        ...

    def free_bytes(self) -> int:
        """Bytes of an SQLite file that hold nothing, and that new runs will use; 0 elsewhere."""
        ...

    def findings(self, *, quick: bool = False) -> Iterator[StoreFinding]:
        """Checks one state of the store: the database's file, rows that refer to others, the
        numbers of events, what lists find runs by, blocks of snapshots against their segments,
        digests and sizes. Others may read and write meanwhile.

        Args:
            quick: Whether the file, the snapshots and all stored bytes are left out.

        Yields:
            What is wrong.
        """
        ...
