/** The columns of the list of runs, and which of them are shown. */

import { changed } from "../data/address";
import type { Run } from "../data/messages";
import { clock, count, DASH, figure, int, moment, percent, real, span } from "../data/numbers";
import { plannedSteps } from "../data/spec";
import { isFinal, state, title } from "../data/words";
import { StateBadge, Words } from "../parts/basics";
import { Labels } from "../parts/labels";
import { go } from "../parts/router";
import { RunName } from "../parts/run_name";
import { Spark } from "../parts/spark";
import type { ColumnOf } from "../parts/table";

/** Columns that may be hidden. */
const OPTIONAL = [
  "mentor",
  "steps",
  "best so far",
  "best loss",
  "test accuracy",
  "restarts",
  "started",
  "took",
] as const;

export interface Choice {
  chosen: readonly string[];
  choose: (runIds: readonly string[], areChosen: boolean) => void;
}

/** Names of the columns that an address hides. */
export function hiddenIn(query: URLSearchParams): readonly string[] {
  const names = (query.get("hide") ?? "").split(",");
  return OPTIONAL.filter((name) => names.includes(name));
}

/** A box for each column that may be hidden. The address says which are. */
export function ColumnChoice({ query }: { query: URLSearchParams }) {
  const hidden = hiddenIn(query);
  const show = (name: string, isShown: boolean) => {
    const others = hidden.filter((other) => other !== name);
    go(`/${changed(query, { hide: (isShown ? others : [...others, name]).join() })}`, true);
  };
  return (
    <details class="column-choice">
      <summary>Columns{hidden.length > 0 && ` (${hidden.length} hidden)`}</summary>
      <fieldset>
        <legend class="unseen">Columns that are shown</legend>
        {OPTIONAL.map((name) => (
          <label key={name}>
            <input
              type="checkbox"
              checked={!hidden.includes(name)}
              onChange={(event) => show(name, event.currentTarget.checked)}
            />
            {name}
          </label>
        ))}
      </fieldset>
    </details>
  );
}

export function columnsOf(
  { chosen, choose }: Choice,
  ids: readonly string[],
  now: number,
  hidden: readonly string[],
) {
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
      name: "best so far",
      class: "cell-spark",
      cell: ({ lossLine }) => (lossLine?.steps?.length ? <Spark line={lossLine} /> : DASH),
    },
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
  return columns.filter(({ name }) => !hidden.includes(name));
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
    <RunName run={run}>
      <Labels of={run.labels} isShort />
      {run.note && <Words text={run.note} class="note-start" />}
    </RunName>
  );
}

function Progress({ run }: { run: Run }) {
  const planned = plannedSteps(run.spec ?? {});
  // A budget counts the steps of races, too, and holds for runs that capture no snapshots.
  const isLimited = run.spec?.budget?.gradientSteps !== undefined;
  const step = isLimited ? Math.max(int(run.step), int(run.usage?.gradientSteps)) : int(run.step);
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
