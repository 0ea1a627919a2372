/** The list of runs itself: of any length, renewed while it is looked at. */

import { useState } from "preact/hooks";
import * as api from "../data/api";
import { changed, runAddress, runsQuery } from "../data/address";
import { type Chunk, idsOf, total, unread, withPage } from "../data/chunks";
import { useNow } from "../data/hooks";
import type { Run } from "../data/messages";
import { clock, count, counted, figure, int, moment, percent, real, span } from "../data/numbers";
import { plannedSteps } from "../data/spec";
import { isFinal, shortId, state, subject, title } from "../data/words";
import { Empty, Problem, StateBadge, Words } from "../parts/basics";
import { Labels } from "../parts/labels";
import { LongTable, type PageOf } from "../parts/long_table";
import { Link } from "../parts/router";
import type { ColumnOf } from "../parts/table";

const PAGE_SIZE = 50;
const POLL_MS = 2_000;

interface Choice {
  chosen: readonly string[];
  choose: (runIds: readonly string[], areChosen: boolean) => void;
}

/** The runs of a filter, in chunks. */
export function RunList({ query, chosen, choose }: Choice & { query: URLSearchParams }) {
  const [chunks, setChunks] = useState<readonly Chunk[]>(() => unread(query.get("page") ?? ""));
  const [error, setError] = useState<api.ApiError | undefined>(undefined);
  const [isLive, setLive] = useState(false);
  const now = useNow(isLive);
  const read = async (token: string, signal: AbortSignal) => {
    const found = await api.runs(runsQuery(query, PAGE_SIZE, token), signal);
    return { rows: found.runs, next: found.nextPageToken };
  };
  const took = (at: number, token: string, { rows, next }: PageOf<Run>) => {
    const ids = rows.map((run) => run.runId);
    setChunks((before) => withPage(before, at, token, ids, next));
    setLive((before) => before || rows.some((run) => !isFinal(state(run.state))));
  };
  const ids = idsOf(chunks);
  const all = total(chunks);
  return (
    <>
      {error && <Problem error={error} />}
      {all === 0 && (
        <Empty>
          {query.toString()
            ? "No run matches."
            : "There are no runs yet. Create one with `mentorgrad run`."}
        </Empty>
      )}
      {chunks[0]!.ids === undefined && error === undefined && <Empty>Reading…</Empty>}
      <div class="runs" hidden={ids.length === 0}>
        <LongTable
          label="Runs"
          columns={columnsOf({ chosen, choose }, ids, now)}
          chunks={chunks}
          id={(run) => run.runId}
          read={read}
          pollMs={POLL_MS}
          onPage={took}
          onError={setError}
        />
      </div>
      <nav class="pages" aria-label="Pages">
        {query.get("page") && <Link to={`/${changed(query, { page: "" })}`}>« First page</Link>}
        {ids.length > 0 && (
          <span class="muted">
            {all === undefined ? `${count(ids.length)} runs so far` : counted(all, "run")}
          </span>
        )}
      </nav>
    </>
  );
}

function columnsOf({ chosen, choose }: Choice, ids: readonly string[], now: number) {
  const columns: ColumnOf<Run>[] = [
    {
      name: "choose",
      head: <ChooseAll ids={ids} chosen={chosen} choose={choose} />,
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
  return columns;
}

/** Chooses all runs that have been read, or none of them. */
function ChooseAll({ ids, chosen, choose }: Choice & { ids: readonly string[] }) {
  const known = new Set(chosen);
  const number = ids.filter((runId) => known.has(runId)).length;
  const areAll = ids.length > 0 && number === ids.length;
  return (
    <input
      type="checkbox"
      aria-label="Choose all runs so far"
      checked={areAll}
      indeterminate={number > 0 && !areAll}
      onChange={() => choose([...new Set(ids)], !areAll)}
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
