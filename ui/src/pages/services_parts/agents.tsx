/** Who executes runs: trainers and workers. */

import { runAddress } from "../../data/address";
import type { Agent } from "../../data/services";
import type { Run } from "../../data/messages";
import { clock, count, int } from "../../data/numbers";
import { shortId, title } from "../../data/words";
import { Empty, Section, Words } from "../../parts/basics";
import { Link } from "../../parts/router";
import { type ColumnOf, Table } from "../../parts/table";

interface AgentsSectionProps {
  agents: readonly Agent[];
  /** Runs whose names are known. */
  running: readonly Run[];
}

export function AgentsSection({ agents, running }: AgentsSectionProps) {
  const names = new Map(running.map((run) => [run.runId, title(run)]));
  const columns: ColumnOf<Agent>[] = [
    { name: "name", class: "cell-name", cell: (agent) => <Name agent={agent} /> },
    { name: "state", cell: (agent) => <State agent={agent} /> },
    { name: "host", class: "cell-text", cell: ({ host }) => <Words text={host} /> },
    { name: "devices", class: "cell-text", cell: ({ devices }) => <Words text={list(devices)} /> },
    { name: "mentors", class: "cell-text", cell: ({ mentors }) => <Words text={list(mentors)} /> },
    { name: "runs", class: "wide", cell: (agent) => <Runs agent={agent} names={names} /> },
    { name: "version", cell: ({ version }) => version },
    { name: "started", class: "time", cell: ({ startedAt }) => clock(startedAt) },
    { name: "reported", class: "time", cell: ({ seenAt }) => clock(seenAt) },
  ];
  return (
    <Section title="Trainers and workers">
      {agents.length === 0 && <Empty>None has reported within the last day.</Empty>}
      {agents.length > 0 && (
        <Table
          label="Trainers and workers"
          columns={columns}
          rows={agents}
          id={({ name }) => name ?? ""}
        />
      )}
    </Section>
  );
}

const list = (names: readonly string[] | undefined) => (names ?? []).join(", ");

function Name({ agent: { name, service, labels } }: { agent: Agent }) {
  const pairs = Object.entries(labels ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return (
    <>
      <Words text={name} />
      <div class="sub">
        {service}
        {pairs.map(([key, value]) => (
          <bdi key={key} class="chip">
            {key}={value}
          </bdi>
        ))}
      </div>
    </>
  );
}

function State({ agent: { isAlive, isDraining } }: { agent: Agent }) {
  if (!isAlive) return <span class="answer-not">✕ silent</span>;
  if (isDraining) return <span class="state-paused">Ⅱ takes no more</span>;
  return <span class="answer-usable">✓ reports</span>;
}

function Runs({ agent, names }: { agent: Agent; names: ReadonlyMap<string, string> }) {
  const runIds = agent.runIds ?? [];
  return (
    <>
      <span class="number">
        {count(runIds.length)} <span class="muted">of {count(int(agent.slots))}</span>
      </span>
      <div class="sub">
        {runIds.map((runId) => (
          <Link key={runId} to={runAddress(runId)}>
            <Words text={names.get(runId) ?? shortId(runId)} />
          </Link>
        ))}
      </div>
    </>
  );
}
