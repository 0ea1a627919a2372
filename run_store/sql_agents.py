"""Storage of the agents in SQL."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.dml import ReturningUpdate

from mentorgrad.domain.agent import SILENT, Agent, AgentList
from mentorgrad.domain.run import DesiredState, RunState
from mentorgrad.errors import Conflict
from mentorgrad.wire.codec import decode, encode
from run_store import dialects, paging
from run_store.agents import Beat
from run_store.schema_version import HEAD, VERSION
from run_store.sql_base import SqlBase
from run_store.tables import agents, runs
from run_store.visibility import visible

_KEPT = timedelta(days=1)
"""How long a dead agent is listed."""

_MOST = 1000
"""Maximum number of agents that are listed."""


@functools.cache
def _noting(dialect: str) -> ReturningUpdate[Any]:
    """Renews an agent's own row; returns whether it buries, and the schema's revision."""
    other, now = agents.alias("other"), dialects.clock(dialect)
    own: sa.BindParameter[str] = sa.bindparam("agent")
    reported = now - sa.bindparam("silence", type_=sa.BigInteger)
    before = sa.select(sa.func.count()).where(other.c.name < own, other.c.seen_at > reported)
    return (
        sa.update(agents)
        .where(agents.c.name == own, agents.c.holder == sa.bindparam("process"))
        .values(record=sa.bindparam("new_record"), seen_at=now)
        .returning((before.scalar_subquery() < 2).label("buries"), VERSION.scalar_subquery())
    )


@functools.cache
def _renewing(dialect: str) -> sa.Update:
    """Renews leases; waits for no append to a run."""
    own = sa.select(runs.c.run_id).where(
        sa.tuple_(runs.c.run_id, runs.c.attempt).in_(sa.bindparam("held", expanding=True)),
        runs.c.state == RunState.RUNNING.value,
    )
    until = dialects.clock(dialect) + sa.bindparam("lease", type_=sa.BigInteger)
    return (
        sa.update(runs)
        .where(runs.c.run_id.in_(own.with_for_update(skip_locked=True)))
        .values(lease_expires_at=until)
    )


@functools.cache
def _wishing(dialect: str) -> sa.Select[Any]:
    is_given = dialects.one_of_texts(dialect, runs.c.run_id, "runs")
    return sa.select(runs.c.run_id, runs.c.desired_state).where(is_given)


class SqlAgents(SqlBase):
    """SQL implementation of `run_store.agents.AgentStore`."""

    def report_agent(
        self,
        agent: Agent,
        holder: str,
        held: Mapping[str, int] | None = None,
        lease: timedelta = timedelta(0),
    ) -> Beat:
        """See `AgentStore.report_agent`. At most two statements, as a rule."""
        record = encode(agent)
        own = {"agent": agent.name, "process": holder, "new_record": record}
        values = own | {"silence": dialects.micros_of(SILENT)}
        with self._writing() as connection:
            noted = connection.execute(
                _noting(connection.dialect.name), values | dialects.clock_values(connection)
            ).one_or_none()
            silent, version = None, noted and noted[1]
            if noted is None:
                row = {"holder": holder, "record": record, "seen_at": dialects.now(connection)}
                silent = self._taken(connection, agent.name, row)
                version = connection.execute(VERSION).scalar_one_or_none()
            wishes = self._renewed(connection, held or {}, lease)
        if silent is not None:
            raise Conflict(
                f"another worker has the name {agent.name}: it reported {silent:.0f} s ago",
                reason="NAME_TAKEN",
            )
        return Beat(wishes, noted is not None and bool(noted.buries), version == HEAD)

    def _taken(self, connection: Connection, name: str, row: Mapping[str, Any]) -> float | None:
        """Writes an agent's first row. Returns None, or how many seconds ago another process
        reported under its name. Dead agents are forgotten on this occasion."""
        now = row["seen_at"]
        own = agents.c.name == name
        silent = connection.execute(
            sa.select(now - agents.c.seen_at).where(own).with_for_update()
        ).scalar_one_or_none()
        if silent is not None and silent < dialects.micros_of(SILENT):
            return float(max(silent, 0) / 1e6)
        change = agents.insert() if silent is None else sa.update(agents).where(own)
        connection.execute(change.values(name=name, **row))
        dead = now - dialects.micros_of(_KEPT)
        connection.execute(sa.delete(agents).where(agents.c.seen_at < dead))
        return None

    def _renewed(
        self, connection: Connection, held: Mapping[str, int], lease: timedelta
    ) -> dict[str, DesiredState]:
        """Renews leases, in one statement."""
        if not held:
            return {}
        statement = _renewing(connection.dialect.name)
        if conditions := visible(runs, self._viewer):
            statement = statement.where(*conditions)
        values = {"held": list(held.items()), "lease": dialects.micros_of(lease)}
        found = connection.execute(
            statement.returning(runs.c.run_id, runs.c.desired_state),
            values | dialects.clock_values(connection),
        )
        return {row.run_id: DesiredState(row.desired_state) for row in found}

    def wishes(self, run_ids: Collection[str]) -> Mapping[str, DesiredState]:
        """See `AgentStore.wishes`."""
        with self._asking() as connection:
            statement = _wishing(connection.dialect.name)
            if conditions := visible(runs, self._viewer):
                statement = statement.where(*conditions)
            found = connection.execute(statement, {"runs": list(run_ids)})
            return {row.run_id: DesiredState(row.desired_state) for row in found}

    def end_agent(self, name: str, holder: str) -> None:
        """See `AgentStore.end_agent`."""
        with self._writing() as connection:
            connection.execute(
                sa.delete(agents).where(agents.c.name == name, agents.c.holder == holder)
            )

    def list_workers(self) -> AgentList:
        """See `AgentReader.list_workers`."""
        with self._reading() as connection:
            silent = dialects.now(connection) - agents.c.seen_at
            rows = connection.execute(
                sa.select(agents, silent.label("silent")).order_by(agents.c.name).limit(_MOST)
            )
            found = [_listed(row) for row in rows]
            named = {run_id for agent in found for run_id in (*agent.run_ids, *agent.refused)}
            seen = self._visible_runs(connection, named)
        return AgentList(
            tuple(
                replace(
                    agent,
                    run_ids=tuple(run_id for run_id in agent.run_ids if run_id in seen),
                    refused={key: why for key, why in agent.refused.items() if key in seen},
                )
                for agent in found
            )
        )

    def _visible_runs(self, connection: Connection, run_ids: set[str]) -> set[str]:
        found = sa.select(runs.c.run_id).where(
            runs.c.run_id.in_(run_ids), *visible(runs, self._viewer)
        )
        return set(connection.execute(found).scalars()) if run_ids else set()


def _listed(row: Any) -> Agent:
    """An agent by its row. A dead one executes nothing: its leases have expired, too."""
    agent = replace(decode(Agent, row.record), seen_at=paging.moment(row.seen_at))
    is_dead = row.silent >= dialects.micros_of(SILENT)
    return replace(agent, run_ids=(), refused={}) if is_dead else agent
