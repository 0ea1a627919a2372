/** The list of experiments, newest first. */

import * as api from "../data/api";
import { changed, experimentAddress } from "../data/address";
import { useNow, useRead, useTitle } from "../data/hooks";
import { clock, count, counted, int, moment, seconds, span } from "../data/numbers";
import type { Experiment } from "../data/report";
import { experimentState, shortId, visible } from "../data/words";
import { Empty, Problem, StateBadge, Words } from "../parts/basics";
import { Link } from "../parts/router";
import { type ColumnOf, Table } from "../parts/table";

const PAGE_SIZE = 50;
const POLL_MS = 2_000;

export function ExperimentsPage({ query }: { query: URLSearchParams }) {
  const asked = new URLSearchParams({ page_size: String(PAGE_SIZE) });
  const page = query.get("page");
  if (page) asked.set("page_token", page);
  const found = useRead(asked.toString(), (signal) => api.experiments(asked, signal), POLL_MS);
  useTitle("Experiments");
  const experiments = found.value?.experiments ?? [];
  const next = found.value?.nextPageToken ?? "";
  return (
    <>
      <div class="page-head">
        <h1>Experiments</h1>
      </div>
      {found.error && <Problem error={found.error} />}
      {found.value !== undefined && experiments.length === 0 && (
        <Empty>There are no experiments yet. Create one with `mentorgrad experiment run`.</Empty>
      )}
      {experiments.length > 0 && <ExperimentTable experiments={experiments} />}
      {found.value === undefined && found.error === undefined && <Empty>Reading…</Empty>}
      <nav class="pages" aria-label="Pages">
        {page && <Link to="/experiments">« First page</Link>}
        {next && <Link to={`/experiments${changed(query, { page: next })}`}>Next page »</Link>}
      </nav>
    </>
  );
}

function ExperimentTable({ experiments }: { experiments: readonly Experiment[] }) {
  const isLive = experiments.some((item) => experimentState(item.state) === "running");
  const now = useNow(isLive);
  const columns: ColumnOf<Experiment>[] = [
    {
      name: "state",
      class: "cell-state",
      cell: (item) => <StateBadge state={experimentState(item.state)} />,
    },
    { name: "experiment", class: "cell-run", cell: (item) => <NameCell experiment={item} /> },
    { name: "arms", class: "cell-text", cell: (item) => <Words text={arms(item)} /> },
    { name: "size", class: "cell-text", cell: size },
    { name: "runs", class: "cell-steps", cell: (item) => <Progress experiment={item} /> },
    { name: "no result", isNumber: true, cell: (item) => count(int(item.progress?.failed)) },
    { name: "created", class: "time", cell: (item) => clock(item.createdAt, now) },
    { name: "time", class: "time", cell: (item) => time(item) },
  ];
  return (
    <div class="runs">
      <Table
        label="Experiments"
        columns={columns}
        rows={experiments}
        id={(item) => item.experimentId}
      />
    </div>
  );
}

function NameCell({ experiment }: { experiment: Experiment }) {
  return (
    <>
      <Link to={experimentAddress(experiment.experimentId)}>
        <Words text={visible(experiment.spec?.name) || "experiment"} />
      </Link>
      <div class="sub">
        {experiment.spec?.description && <Words text={experiment.spec.description} />}
        <code title={experiment.experimentId}>{shortId(experiment.experimentId)}</code>
      </div>
    </>
  );
}

const MOST_ARMS = 4;

function arms({ spec }: Experiment): string {
  const names = (spec?.arms ?? []).map((arm) => arm.name ?? "");
  const more = names.length - MOST_ARMS;
  return names.slice(0, MOST_ARMS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Of the design, without its arms. */
export function size({ spec }: Experiment): string {
  const variations = spec?.variations?.length ?? 0;
  return [
    counted(spec?.tasks?.length ?? 0, "task"),
    ...(variations > 1 ? [counted(variations, "variation")] : []),
    counted(spec?.seeds?.length ?? 0, "seed"),
  ].join(" × ");
}

/** Runs that have ended, of all. */
function Progress({ experiment: { progress } }: { experiment: Experiment }) {
  const total = int(progress?.total);
  const ended = int(progress?.succeeded) + int(progress?.failed);
  return (
    <div class="progress">
      <span class="number">
        {count(ended)}
        <span class="muted"> / {count(total)}</span>
      </span>
      {ended < total && <meter min={0} max={total} value={ended} aria-hidden="true" />}
    </div>
  );
}

/** How long it took, or will take. */
export function time({ createdAt, finishedAt, progress }: Experiment): string {
  const from = moment(createdAt);
  const until = moment(finishedAt);
  if (from !== undefined && until !== undefined) return span((until - from) / 1000);
  return progress?.timeLeft === undefined ? "–" : `${span(seconds(progress.timeLeft))} left`;
}
