/** One experiment: what it shows, and what it shows that by. */

import { useMemo, useRef } from "preact/hooks";
import * as api from "../data/api";
import { runAddress, runsOfAddress } from "../data/address";
import { useRead, useTitle } from "../data/hooks";
import { count, int } from "../data/numbers";
import type { Experiment, Failure, ReportView, TextPart } from "../data/report";
import { experimentState, shortId } from "../data/words";
import { Copy, Empty, Meter, Problem, Section, StateBadge, Tile, Words } from "../parts/basics";
import { ReportTableBody, ReportTableSection } from "../parts/report_table";
import { Link } from "../parts/router";
import { type ColumnOf, Table } from "../parts/table";
import { Forest } from "./experiment_parts/forest";
import { Budgets, Grid } from "./experiment_parts/grid";
import { Strips } from "./experiment_parts/strips";
import { size, time } from "./experiments";

const POLL_MS = 2_000;

export function ExperimentPage({ experimentId }: { experimentId: string }) {
  const known = useRef<{ report: ReportView; version: string } | undefined>(undefined);
  const found = useRead(
    experimentId,
    (signal) => api.report(experimentId, known.current?.version ?? "", signal),
    POLL_MS,
  );
  if (found.value?.report)
    known.current = { report: found.value.report, version: found.value.version };
  const report = known.current?.report;
  const name = report?.title ?? "experiment";
  useTitle(name);
  // Drawn again when runs have ended, not at every poll: there may be thousands of dots.
  const body = useMemo(
    () => report && <Body report={report} experimentId={experimentId} />,
    [report],
  );
  if (found.value === undefined || report === undefined)
    return found.error ? <Problem error={found.error} /> : <Empty>Reading…</Empty>;
  const { experiment } = found.value;
  return (
    <>
      <Head experiment={experiment} report={report} />
      {found.error && <Problem error={found.error} />}
      <Verdict report={report} />
      <Tiles experiment={experiment} report={report} />
      {body}
    </>
  );
}

interface BodyProps {
  report: ReportView;
  experimentId: string;
}

function Body({ report, experimentId }: BodyProps) {
  return (
    <>
      {report.grid.length > 0 && (
        <Section title="Arms and tasks">
          <Grid rows={report.grid} figure={report.figure} />
        </Section>
      )}
      {report.forest && (
        <Section title={`Difference of ${report.figure}: ${report.subject} and each other arm`}>
          <Forest chart={report.forest} />
        </Section>
      )}
      {report.strips && (
        <Section title={`${capital(report.figure)} of every run, by task`}>
          <Strips chart={report.strips} seeds={report.seeds} subject={report.subject} />
        </Section>
      )}
      {report.failed > 0 && <Failures experimentId={experimentId} report={report} />}
      {report.results.map((table) => (
        <ReportTableSection key={table.title} table={table} subject={report.subject} />
      ))}
      {report.budgets.length > 0 && (
        <Section title="Budget used">
          <Budgets uses={report.budgets} />
        </Section>
      )}
      <Conditions report={report} />
    </>
  );
}

function Head({ experiment, report }: { experiment: Experiment; report: ReportView }) {
  const { experimentId } = experiment;
  const state = experimentState(experiment.state);
  return (
    <>
      <div class="page-head">
        <h1>
          <Words text={report.title} />
        </h1>
        <StateBadge state={state} />
        {state === "running" && <span class="live">live</span>}
        <span class="spacer" />
        <Link to={runsOfAddress(experimentId)} class="button small">
          All runs
        </Link>
        <code class="id">{experimentId}</code>
        <Copy text={experimentId} label="Copy the experiment’s id" />
      </div>
      <p class="lead">
        {report.description && (
          <>
            <Words text={report.description} />
            {" · "}
          </>
        )}
        {size(experiment)}
        {experiment.reason && (
          <>
            {" · "}
            <Words text={experiment.reason} />
          </>
        )}
      </p>
    </>
  );
}

function Verdict({ report }: { report: ReportView }) {
  return (
    <section class="finding" aria-label="Verdict">
      <div class="finding-name">Verdict{report.isComplete ? "" : ", preliminary"}</div>
      <p class="finding-claim">
        <Sentence parts={report.claim} />
      </p>
      {report.grounds.length > 0 && (
        <p class="finding-grounds">
          <Sentence parts={report.grounds} />
        </p>
      )}
    </section>
  );
}

function Sentence({ parts }: { parts: readonly TextPart[] }) {
  return (
    <>
      {parts.map((part, at) =>
        part.isName ? <code key={at}>{part.text}</code> : <span key={at}>{part.text}</span>,
      )}
    </>
  );
}

function Tiles({ experiment, report }: { experiment: Experiment; report: ReportView }) {
  const { progress } = experiment;
  const total = int(progress?.total);
  const ended = int(progress?.succeeded) + int(progress?.failed);
  return (
    <div class="tiles">
      <Tile name="subject" note="compared with the other arms">
        <Words text={report.subject} class="tile-word" />
      </Tile>
      <Tile
        name="running"
        note={progress?.tuning ? "learning rates are being selected" : undefined}
      >
        {count(int(progress?.running))}
      </Tile>
      <Tile name="without a result" note={int(progress?.failed) > 0 ? "listed below" : undefined}>
        {count(int(progress?.failed))}
      </Tile>
      <Tile name={experiment.finishedAt ? "took" : "time left"}>
        {time(experiment).replace(" left", "")}
      </Tile>
      <div class="tile budgets">
        <Meter
          name="runs that have ended"
          used={ended}
          limit={total}
          text={`${count(ended)} of ${count(total)}`}
        />
      </div>
    </div>
  );
}

function Failures({ report, experimentId }: BodyProps) {
  const columns: ColumnOf<Failure>[] = [
    {
      name: "run",
      cell: (item) => (
        <Link to={runAddress(item.runId)}>
          <code title={item.runId}>{shortId(item.runId)}</code>
        </Link>
      ),
    },
    { name: "state", cell: (item) => <StateBadge state={item.state} /> },
    { name: "arm", cell: (item) => <Words text={item.arm} /> },
    { name: "task", cell: (item) => <Words text={item.task} /> },
    { name: "variation", cell: (item) => <Words text={item.variation} /> },
    { name: "seed", isNumber: true, cell: (item) => item.seed },
    { name: "why", class: "wide", cell: (item) => <Words text={item.reason} /> },
  ];
  return (
    <Section
      title="Runs without a result"
      aside={
        <Link to={runsOfAddress(experimentId, "failed", "cancelled")}>all of them</Link>
      }
    >
      <Table
        label="Runs without a result"
        columns={columns}
        rows={report.failures}
        id={(item) => item.runId}
      />
      <p class="note">
        They are in no mean and in no pair.
        {report.failed > report.failures.length &&
          ` The first ${report.failures.length} of ${count(report.failed)}.`}
      </p>
    </Section>
  );
}

/** Costs, health, limits and versions, folded in: they are looked up, not read. */
function Conditions({ report }: { report: ReportView }) {
  const shown = report.conditions;
  if (shown.length === 0) return null;
  return (
    <details class="card">
      <summary>
        <h2 class="card-title">Costs and conditions</h2>
        <span class="muted">{shown.map((table) => table.title.toLowerCase()).join(", ")}</span>
      </summary>
      {shown.map((table) => (
        <div key={table.title}>
          <h3>{table.title}</h3>
          <ReportTableBody table={table} subject={report.subject} />
        </div>
      ))}
    </details>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
