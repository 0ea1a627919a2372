/** Several runs: their curves, figures, and the differences of their specs. */

import * as api from "../data/api";
import { idsIn, runAddress, toggled, withoutId } from "../data/address";
import { MOST_COMPARED } from "../data/compare_view";
import { useLiveRuns, useRead, useTitle } from "../data/hooks";
import type { LiveRun } from "../data/live_runs";
import type { Difference } from "../data/messages";
import type { RunLog } from "../data/run_log";
import { count, figure, int, percent, real, seconds, span } from "../data/numbers";
import { shortId, title } from "../data/words";
import { Empty, Problem, Section, StateBadge, Words } from "../parts/basics";
import { KeyMark } from "../parts/frame";
import { go, Link } from "../parts/router";
import { type ColumnOf, Table } from "../parts/table";
import { Curves, keyOf } from "./compare_curves";
import { Parallel } from "./compare_parallel";

export function ComparePage({ query }: { query: URLSearchParams }) {
  const runIds = [...new Set(query.getAll("run"))].slice(0, MOST_COMPARED);
  useTitle("Compare");
  return (
    <>
      <div class="page-head">
        <h1>Compare</h1>
      </div>
      {runIds.length === 0 ? (
        <Empty>
          Choose runs in the <Link to="/">list</Link>, then “Compare”.
        </Empty>
      ) : (
        <Comparison key={runIds.join()} runIds={runIds} query={query} />
      )}
    </>
  );
}

interface ComparisonProps {
  runIds: readonly string[];
  query: URLSearchParams;
}

function Comparison({ runIds, query }: ComparisonProps) {
  const runs = useLiveRuns(runIds);
  const found = useRead(runIds.join(), (signal) => api.compare(runIds, signal));
  return (
    <>
      {found.error && <Problem error={found.error} />}
      <Section title="Curves">
        <Curves runs={runs} records={found.value?.runs ?? []} query={query} />
      </Section>
      <Section title="Figures">
        <Figures runs={runs} query={query} />
      </Section>
      {found.value && runIds.length > 1 && (
        <Parallel runs={runs} differences={found.value.differences} />
      )}
      {found.value && runIds.length > 1 && (
        <Section title="Differences of the specs">
          <Differences runs={runs} rows={found.value.differences} />
        </Section>
      )}
    </>
  );
}

function Figures({ runs, query }: { runs: readonly LiveRun[]; query: URLSearchParams }) {
  const key = keyOf(runs);
  const columns: ColumnOf<LiveRun>[] = [
    {
      name: "run",
      class: "cell-run",
      cell: ({ log, gone }) => (
        <>
          <KeyMark mark={key(log)} />{" "}
          <Link to={runAddress(log.runId)}>
            <Words text={title(log)} />
          </Link>
          <div class="sub">
            <code>{shortId(log.runId)}</code>
            {gone && <span class="applied">{gone}</span>}
          </div>
        </>
      ),
    },
    { name: "state", cell: ({ log }) => <StateBadge state={log.state} /> },
    { name: "mentor", cell: ({ log }) => <Words text={log.spec.mentor?.name} /> },
    { name: "best loss", isNumber: true, cell: ({ log }) => figure(log.best?.loss) },
    { name: "test loss", isNumber: true, cell: ({ log }) => figure(real(log.result?.test?.loss)) },
    {
      name: "test accuracy",
      isNumber: true,
      cell: ({ log }) => percent(real(log.result?.test?.accuracy)),
    },
    {
      name: "gradient steps",
      isNumber: true,
      cell: ({ log }) => count(int(log.usage.gradientSteps)),
    },
    { name: "evaluations", isNumber: true, cell: ({ log }) => count(int(log.usage.evaluations)) },
    { name: "restarts", isNumber: true, cell: ({ log }) => count(log.restarts) },
    { name: "training", class: "time", cell: ({ log }) => span(seconds(log.usage.trainTime)) },
    {
      name: "curve",
      cell: ({ log }) => (
        <div class="row-actions">
          <Toggle query={query} name="hide" log={log} />
          <Toggle query={query} name="pin" log={log} />
          <Link to={`/compare${withoutId(query, log.runId)}`} label={`Leave out ${title(log)}`}>
            leave out
          </Link>
        </div>
      ),
    },
  ];
  return <Table label="Figures" columns={columns} rows={runs} id={({ log }) => log.runId} />;
}

/** What an address says of a run's curve: that it is hidden, or pinned. */
function Toggle({ query, name, log }: { query: URLSearchParams; name: string; log: RunLog }) {
  return (
    <button
      type="button"
      class="button small"
      aria-label={`${name} ${title(log)}`}
      aria-pressed={idsIn(query, name).includes(log.runId)}
      onClick={() => go(`/compare${toggled(query, name, log.runId)}`, true)}
    >
      {name}
    </button>
  );
}

function Differences({ runs, rows }: { runs: readonly LiveRun[]; rows: readonly Difference[] }) {
  if (rows.length === 0) return <Empty>The specs are equal.</Empty>;
  const key = keyOf(runs);
  const columns: ColumnOf<Difference>[] = [
    { name: "field", class: "cell-field", cell: (row) => <code>{row.field}</code> },
    ...runs.map(({ log }, at) => ({
      name: key(log).name,
      class: "cell-text",
      cell: (row: Difference) => <Words text={unquoted(row.values?.[at] ?? "")} />,
    })),
  ];
  return (
    <Table
      label="Differences of the specs"
      columns={columns}
      rows={rows}
      id={(row) => row.field ?? ""}
    />
  );
}

/** A value of the contract, JSON, for readers. */
function unquoted(json: string): string {
  try {
    const value: unknown = JSON.parse(json);
    if (value === null) return "";
    return typeof value === "string" ? value : json;
  } catch {
    return json;
  }
}
