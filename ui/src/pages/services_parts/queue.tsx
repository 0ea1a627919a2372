/** The runs that wait, and those that are executed where nobody says by whom. */

import { useNow } from "../../data/hooks";
import type { ServicesWork } from "../../data/services";
import type { Run } from "../../data/messages";
import { clock, DASH, moment, span } from "../../data/numbers";
import { state } from "../../data/words";
import { Empty, Section, StateBadge, Words } from "../../parts/basics";
import { RunName } from "../../parts/run_name";
import { type ColumnOf, Table } from "../../parts/table";

type Waiting = ServicesWork["waiting"][number];

export function WaitingSection({ runs }: { runs: readonly Waiting[] }) {
  const now = useNow(runs.length > 0);
  const columns: ColumnOf<Waiting>[] = [
    ...FIRST_COLUMNS,
    { name: "owner", class: "cell-text", cell: ({ owner }) => <Words text={owner} /> },
    { name: "created", class: "time", cell: (run) => clock(run.createdAt, now) },
    { name: "age", class: "time", cell: (run) => age(run, now) },
    {
      name: "why",
      class: "wide",
      cell: ({ waits }) =>
        waits ? <Words text={waits} class="waits" /> : <span class="muted">for its turn</span>,
    },
  ];
  return (
    <Section title="Queue, oldest first">
      {runs.length === 0 && <Empty>No run waits.</Empty>}
      {runs.length > 0 && (
        <Table label="Queue" columns={columns} rows={runs} id={({ runId }) => runId} />
      )}
    </Section>
  );
}

export function RunningSection({ runs }: { runs: readonly Run[] }) {
  const columns = [
    ...FIRST_COLUMNS,
    { name: "started", class: "time", cell: (run: Run) => clock(run.startedAt) },
  ];
  return (
    <Section title="Running">
      {runs.length === 0 && <Empty>No run is executed.</Empty>}
      {runs.length > 0 && (
        <Table label="Running" columns={columns} rows={runs} id={({ runId }) => runId} />
      )}
    </Section>
  );
}

const FIRST_COLUMNS: ColumnOf<Run>[] = [
  { name: "state", class: "cell-state", cell: (run) => <StateBadge state={state(run.state)} /> },
  { name: "run", class: "cell-run", cell: (run) => <RunName run={run} /> },
];

/** How long ago a run was created. */
function age(run: Run, now: number): string {
  const from = moment(run.createdAt);
  return from === undefined ? DASH : span(Math.max(0, now - from) / 1000);
}
