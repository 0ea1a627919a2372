"""Storage of the agents in SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mentorgrad.domain.agent import SILENT, Agent, AgentList
from mentorgrad.errors import Conflict
from mentorgrad.wire.codec import decode, encode
from run_store import dialects, paging
from run_store.sql_base import SqlBase
from run_store.tables import agents, runs
from run_store.visibility import visible

_KEPT = timedelta(days=1)
"""How long a dead agent is listed."""

_MOST = 1000
"""Maximum number of agents that are listed."""


class SqlAgents(SqlBase):
    """SQL implementation of `run_store.agents.AgentStore`."""

    def report_agent(self, agent: Agent, holder: str) -> None:
        """See `AgentStore.report_agent`."""
        with self._writing() as connection:
            now = dialects.now(connection)
            own = agents.c.name == agent.name
            silent = (now - agents.c.seen_at).label("silent")
            held = connection.execute(
                sa.select(agents.c.holder, silent).where(own).with_for_update()
            ).one_or_none()
            if held and held.holder != holder and held.silent < dialects.micros_of(SILENT):
                raise Conflict(
                    f"another worker has the name {agent.name}: it reported "
                    f"{max(held.silent, 0) / 1e6:.0f} s ago",
                    reason="NAME_TAKEN",
                )
            row = {"name": agent.name, "holder": holder, "record": encode(agent), "seen_at": now}
            change = sa.update(agents).where(own) if held else agents.insert()
            connection.execute(change.values(row))
            dead = now - dialects.micros_of(_KEPT)
            connection.execute(sa.delete(agents).where(agents.c.seen_at < dead))

    def end_agent(self, name: str, holder: str) -> None:
        """See `AgentStore.end_agent`."""
        with self._writing() as connection:
            connection.execute(
                sa.delete(agents).where(agents.c.name == name, agents.c.holder == holder)
            )

    def list_workers(self) -> AgentList:
        """See `AgentReader.list_workers`."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(agents).order_by(agents.c.name).limit(_MOST)).all()
            found = [
                replace(decode(Agent, row.record), seen_at=paging.moment(row.seen_at))
                for row in rows
            ]
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
