/** The list of runs. The address holds filter, order and page. */

import { useEffect, useState } from "preact/hooks";
import * as api from "../data/api";
import { changed, compareAddress, experimentAddress, runAddress, runsQuery } from "../data/address";
import { useNow, useRead } from "../data/hooks";
import type { Run } from "../data/messages";
import { clock, count, figure, int, moment, percent, real, span } from "../data/numbers";
import { plannedSteps } from "../data/spec";
import { isFinal, shortId, state, STATES, subject, title } from "../data/words";
import { Empty, Problem, StateBadge, Words } from "../parts/basics";
import { Labels } from "../parts/labels";
import { go, Link } from "../parts/router";
import { type ColumnOf, Table } from "../parts/table";
import { RunsActions } from "./runs_actions";

const PAGE_SIZE = 50;
const POLL_MS = 2_000;
const MOST_COMPARED = 20;

const ORDERS = [
  ["", "newest first"],
  ["oldest", "oldest first"],
  ["best_selection_loss", "lowest loss first"],
] as const;

interface RunsPageProps {
  query: URLSearchParams;
  mayAct: boolean;
}

export function RunsPage({ query, mayAct }: RunsPageProps) {
  const asked = runsQuery(query, PAGE_SIZE);
  const found = useRead(asked.toString(), (signal) => api.runs(asked, signal), POLL_MS);
  const [chosen, setChosen] = useState<readonly string[]>([]);
  useEffect(() => {
    document.title = "Runs · mentorgrad";
  }, []);
  const experiment = query.get("experiment") ?? "";
  const runs = found.value?.runs ?? [];
  const next = found.value?.nextPageToken ?? "";
  const choose = (runIds: readonly string[], areChosen: boolean) => {
    const others = chosen.filter((runId) => !runIds.includes(runId));
    setChosen(areChosen ? [...others, ...runIds] : others);
  };
  return (
    <>
      <div class="page-head">
        <h1>Runs</h1>
        <span class="spacer" />
        {chosen.length > 0 && (
          <button type="button" class="button small" onClick={() => setChosen([])}>
            Clear {chosen.length}
          </button>
        )}
        <button
          type="button"
          class="button primary"
          disabled={chosen.length < 2 || chosen.length > MOST_COMPARED}
          onClick={() => go(compareAddress(chosen))}
        >
          Compare{chosen.length > 0 ? ` ${chosen.length}` : ""}
        </button>
      </div>
      {mayAct && <RunsActions runIds={chosen} />}
      {experiment && (
        <p class="lead">
          Of the experiment <Link to={experimentAddress(experiment)}>{experiment}</Link>
        </p>
      )}
      <Filter query={query} />
      {found.error && <Problem error={found.error} />}
      {found.value !== undefined && runs.length === 0 && (
        <Empty>
          {query.toString()
            ? "No run matches."
            : "There are no runs yet. Create one with `mentorgrad run`."}
        </Empty>
      )}
      {runs.length > 0 && <RunTable runs={runs} chosen={chosen} choose={choose} />}
      {found.value === undefined && found.error === undefined && <Empty>Reading…</Empty>}
      <nav class="pages" aria-label="Pages">
        {query.get("page") && <Link to={`/${changed(query, { page: "" })}`}>« First page</Link>}
        {next && <Link to={`/${changed(query, { page: next })}`}>Next page »</Link>}
      </nav>
    </>
  );
}

function Filter({ query }: { query: URLSearchParams }) {
  const set = (name: string, value: string) =>
    go(`/${changed(query, { [name]: value, page: "" })}`, true);
  const field = (name: string, label: string, hint: string, pattern?: string) => (
    <label>
      <span>{label}</span>
      <input
        type="search"
        value={query.get(name) ?? ""}
        placeholder={hint}
        {...(pattern ? { pattern } : {})}
        onChange={(event) => set(name, event.currentTarget.value.trim())}
      />
    </label>
  );
  return (
    <form class="filter" role="search" onSubmit={(event) => event.preventDefault()}>
      <label>
        <span>State</span>
        <select
          value={query.get("state") ?? ""}
          onChange={(event) => set("state", event.currentTarget.value)}
        >
          <option value="">any</option>
          {STATES.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {field("text", "Name", "part of the name")}
      {field("label", "Label", "name=value", "[^=]+=.*")}
      {field("task", "Task", "any")}
      {field("mentor", "Mentor", "any")}
      <label>
        <span>Order</span>
        <select
          value={query.get("order") ?? ""}
          onChange={(event) => set("order", event.currentTarget.value)}
        >
          {ORDERS.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {query.toString() && <Link to="/">Reset</Link>}
    </form>
  );
}

interface RunTableProps {
  runs: readonly Run[];
  chosen: readonly string[];
  choose: (runIds: readonly string[], areChosen: boolean) => void;
}

function RunTable({ runs, chosen, choose }: RunTableProps) {
  const isLive = runs.some((run) => !isFinal(state(run.state)));
  const now = useNow(isLive);
  const columns: ColumnOf<Run>[] = [
    {
      name: "choose",
      head: <ChooseAll runs={runs} chosen={chosen} choose={choose} />,
      class: "choice",
      cell: (run) => (
        <input
          type="checkbox"
          aria-label={`Choose ${title(run)} ${run.runId}`}
          checked={chosen.includes(run.runId)}
          onChange={(event) => choose([run.runId], event.currentTarget.checked)}
        />
      ),
    },
    { name: "state", class: "cell-state", cell: (run) => <StateBadge state={state(run.state)} /> },
    { name: "run", class: "cell-run", cell: (run) => <RunCell run={run} /> },
    {
      name: "mentor",
      class: "cell-mentor",
      cell: (run) => <Words text={run.spec?.mentor?.name} />,
    },
    { name: "steps", class: "cell-steps", cell: (run) => <Progress run={run} /> },
    {
      name: "best loss",
      isNumber: true,
      cell: (run) => figure(real(run.bestSelectionLoss)),
    },
    {
      name: "test accuracy",
      isNumber: true,
      cell: (run) => percent(real(run.result?.test?.accuracy)),
    },
    { name: "restarts", isNumber: true, cell: (run) => count(int(run.restartsApplied)) },
    { name: "started", class: "time", cell: (run) => clock(run.startedAt, now) },
    { name: "took", class: "time", cell: (run) => took(run, now) },
  ];
  return (
    <div class="runs">
      <Table label="Runs" columns={columns} rows={runs} id={(run) => run.runId} />
    </div>
  );
}

/** Chooses all runs of the page, or none of them. */
function ChooseAll({ runs, chosen, choose }: RunTableProps) {
  const number = runs.filter((run) => chosen.includes(run.runId)).length;
  const areAll = number === runs.length;
  return (
    <input
      type="checkbox"
      aria-label="Choose all of this page"
      checked={areAll}
      indeterminate={number > 0 && !areAll}
      onChange={() => choose(runs.map((run) => run.runId), !areAll)}
    />
  );
}

function RunCell({ run }: { run: Run }) {
  return (
    <>
      <Link to={runAddress(run.runId)}>
        <Words text={title(run)} />
      </Link>
      <div class="sub">
        {run.spec?.name && <Words text={subject(run.spec)} />}
        <code title={run.runId}>{shortId(run.runId)}</code>
        <Labels of={run.labels} />
        {run.note && <Words text={run.note} class="note-start" />}
      </div>
    </>
  );
}

function Progress({ run }: { run: Run }) {
  const planned = plannedSteps(run.spec ?? {});
  const step = int(run.step);
  return (
    <div class="progress">
      <span class="number">
        {count(step)}
        {planned > 0 && <span class="muted"> / {count(planned)}</span>}
      </span>
      {planned > 0 && !isFinal(state(run.state)) && (
        <meter min={0} max={planned} value={Math.min(step, planned)} aria-hidden="true" />
      )}
    </div>
  );
}

function took(run: Run, now: number): string {
  const from = moment(run.startedAt);
  if (from === undefined) return "–";
  const until = moment(run.finishedAt) ?? now;
  return span(Math.max(0, until - from) / 1000);
}
