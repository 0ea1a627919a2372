"""Which runs, experiments and uploads a caller may see and change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from mentorgrad.domain.audit import CallOrigin


class Viewer(Protocol):
    """On whose behalf a store is used. What it creates belongs to its owner and its project."""

    @property
    def owner(self) -> str:
        """Whose records it sees; empty: only those without an owner."""
        ...

    @property
    def project(self) -> str:
        """Of which project's members it sees the records, too; empty: of none."""
        ...

    @property
    def is_admin(self) -> bool:
        """Whether it sees all records."""
        ...

    @property
    def queue_limit(self) -> int | None:
        """With how many QUEUED runs an owner can queue no more; None: no limit."""
        ...

    @property
    def run_limit(self) -> int | None:
        """With how many runs, of any state, an owner can create and import no more; None: no
        limit."""
        ...

    @property
    def size_limit(self) -> int | None:
        """With how many bytes of ended runs an owner can create and import no more; None: no
        limit."""
        ...

    @property
    def origin(self) -> CallOrigin | None:
        """Where the call comes from that changes records; None: a part of the service changes them,
        and the audit records nothing."""
        ...

    @property
    def experiment_limit(self) -> int | None:
        """With how many RUNNING experiments an owner can begin no more; None: no limit."""
        ...


@dataclass(frozen=True, kw_only=True)
class OwnerLimits:
    """What one owner may use up, unless its token says otherwise."""

    queue_limit: int | None = None
    """See `Viewer.queue_limit`."""
    experiment_limit: int | None = None
    """See `Viewer.experiment_limit`."""
    run_limit: int | None = None
    """See `Viewer.run_limit`."""
    size_limit: int | None = None
    """See `Viewer.size_limit`."""


NO_LIMITS = OwnerLimits()
"""An owner may use up what there is."""


@dataclass(frozen=True)
class OnBehalf(OwnerLimits):
    """A viewer that sees what an owner sees."""

    owner: str
    """See `Viewer.owner`."""
    project: str
    """See `Viewer.project`."""
    is_admin: bool = False
    """See `Viewer.is_admin`."""
    origin: CallOrigin | None = None
    """See `Viewer.origin`."""


EVERYTHING = OnBehalf("", "", is_admin=True)
"""Sees all records; what it creates has no owner, so that all see it."""


def visible(table: sa.Table, viewer: Viewer) -> tuple[sa.ColumnElement[bool], ...]:
    """The conditions under which a row of a table with an owner and a project is visible: records
    without an owner, which are older than owners, are visible to all."""
    if viewer.is_admin:
        return ()
    own = table.c.owner.in_(("", viewer.owner))
    return (own | (table.c.project == viewer.project) if viewer.project else own,)


def query_of(viewer: Viewer) -> tuple[str, ...]:
    """What the pages of a listing depend on."""
    return () if viewer.is_admin else (viewer.owner, viewer.project)
