/** One run, live. */

import { runAddress } from "../data/address";
import { useLiveRuns, useNow, useRecord, useTitle } from "../data/hooks";
import type { LiveRun } from "../data/live_runs";
import type { Run } from "../data/messages";
import { counted, DASH, figure, int, moment, percent, real, span } from "../data/numbers";
import type { RunLog } from "../data/run_log";
import { plannedSteps } from "../data/spec";
import { subject, title } from "../data/words";
import { Copy, Empty, Meter, StateBadge, Tile, Words } from "../parts/basics";
import { Labels } from "../parts/labels";
import { NotFound } from "../parts/not_found";
import { Link } from "../parts/router";
import { RunActions } from "./run_parts/run_actions";
import { CandidatesTab } from "./run_tabs/candidates";
import { CourseTab } from "./run_tabs/course";
import { LineageTab } from "./run_tabs/lineage";
import { LogTab } from "./run_tabs/log";
import { MentorTab } from "./run_tabs/mentor";
import { PathTab } from "./run_tabs/path";
import { SpecTab } from "./run_tabs/spec";

const TABS = [
  ["", "Course"],
  ["mentor", "Mentor"],
  ["candidates", "Candidates"],
  ["lineage", "Lineage"],
  ["path", "Path"],
  ["log", "Log"],
  ["spec", "Spec and files"],
] as const;

interface RunPageProps {
  runId: string;
  query: URLSearchParams;
  server: string;
  mayAct: boolean;
}

export function RunPage({ runId, query, server, mayAct }: RunPageProps) {
  const live = useLiveRuns([runId])[0];
  const record = useRecord(runId);
  const log = live?.log;
  const name = log ? title(log) : "run";
  useTitle(name);
  if (live === undefined || log === undefined) return <Empty>Reading…</Empty>;
  if (live.gone) return <NotFound reason={`${live.gone}.`} />;
  if (log.lastSeq === 0)
    return <Empty>{live.away ? `Trying again: ${live.away}` : "Reading…"}</Empty>;
  const asked = query.get("tab");
  const tab = TABS.find(([key]) => key === asked)?.[0] ?? "";
  return (
    <>
      <Head live={live} record={record.run} />
      {record.waits && log.isWaiting && (
        <p class="note">
          Waits: <Words text={record.waits} />
        </p>
      )}
      {mayAct && (
        <RunActions
          runId={runId}
          state={log.state}
          record={record.run}
          onChanged={record.set}
        />
      )}
      <Tiles log={log} />
      <nav class="tabs" aria-label="Parts of the run">
        {TABS.map(([key, label]) => (
          <Link key={key} to={runAddress(runId, key)} current={key === tab ? "page" : undefined}>
            {label}
            {key === "mentor" && <Number of={log.questions.length} />}
            {key === "candidates" && <Number of={log.candidates.length} />}
          </Link>
        ))}
      </nav>
      {tab === "" && <CourseTab log={log} />}
      {tab === "mentor" && <MentorTab log={log} />}
      {tab === "candidates" && <CandidatesTab log={log} />}
      {tab === "lineage" && <LineageTab log={log} />}
      {tab === "path" && <PathTab log={log} />}
      {tab === "log" && <LogTab log={log} />}
      {tab === "spec" && <SpecTab log={log} record={record.run} server={server} />}
    </>
  );
}

function Number({ of }: { of: number }) {
  return of > 0 ? <span class="tab-count">{of}</span> : null;
}

function Head({ live, record }: { live: LiveRun; record: Run | undefined }) {
  const { log } = live;
  const now = useNow(!log.isEnded);
  const from = moment(log.startedAt);
  const until = moment(log.finishedAt) ?? now;
  return (
    <>
      <div class="page-head">
        <h1>
          <Words text={title(log)} />
        </h1>
        <StateBadge state={log.state} />
        {!log.isEnded && <LiveMark live={live} />}
        <span class="spacer" />
        <code class="id">{log.runId}</code>
        <Copy text={log.runId} label="Copy the run’s id" />
      </div>
      <p class="lead">
        <Words text={subject(log.spec)} />
        {" · mentor "}
        <Words text={log.spec.mentor?.name} />
        {from !== undefined && ` · ${span(Math.max(0, until - from) / 1000)}`}
        {log.reason && (
          <>
            {" · "}
            <Words text={log.reason} />
          </>
        )}{" "}
        <Labels of={record ? record.labels : log.spec.labels} />
      </p>
      {record?.note && (
        <p class="run-note" dir="auto">
          {record.note}
        </p>
      )}
    </>
  );
}

function LiveMark({ live }: { live: LiveRun }) {
  if (live.away)
    return (
      <span class="live is-away" role="status">
        no news: {live.away}; trying again
      </span>
    );
  return <span class="live">{live.isLoaded ? "live" : "reading the log…"}</span>;
}

function Tiles({ log }: { log: RunLog }) {
  const { best, result } = log;
  const test = result?.test;
  return (
    <div class="tiles">
      <Tile
        name="best selection loss"
        note={best ? <code>{best.candidate.candidateId}</code> : undefined}
      >
        {figure(best?.loss)}
      </Tile>
      {best?.accuracy !== undefined && (
        <Tile name="its accuracy" note="on selection">
          {percent(best.accuracy)}
        </Tile>
      )}
      <Tile
        name="train loss"
        note={log.trainLoss === undefined ? "not captured" : `step ${log.step}`}
      >
        {figure(log.trainLoss)}
      </Tile>
      {test !== undefined && (
        <Tile
          name="test"
          note={`loss ${figure(real(test.loss))}, ${counted(int(test.rows), "row")}`}
        >
          {test.accuracy === undefined ? figure(real(test.loss)) : percent(real(test.accuracy))}
        </Tile>
      )}
      <Tile name="restarts" note={`of ${counted(log.decisions.length, "decision")}`}>
        {log.restarts}
      </Tile>
      <Budgets log={log} />
    </div>
  );
}

function Budgets({ log }: { log: RunLog }) {
  const { usage, spec } = log;
  const planned = plannedSteps(spec);
  const isLimited = spec.budget?.gradientSteps !== undefined;
  const steps = isLimited ? int(usage.gradientSteps) : log.step;
  return (
    <div class="tile budgets">
      <Meter
        name={isLimited ? "gradient steps" : "steps of the trajectory"}
        used={steps}
        limit={planned}
        text={ofLimit(steps, planned)}
      />
      <Meter
        name="evaluations"
        used={int(usage.evaluations)}
        limit={int(spec.budget?.evaluations)}
        text={ofLimit(int(usage.evaluations), int(spec.budget?.evaluations))}
      />
      <Meter
        name="forward rows"
        used={int(usage.forwardRows)}
        limit={int(spec.budget?.forwardRows)}
        text={ofLimit(int(usage.forwardRows), int(spec.budget?.forwardRows))}
      />
    </div>
  );
}

function ofLimit(used: number, limit: number): string {
  const text = used.toLocaleString("en-GB");
  return limit > 0 ? `${text} of ${limit.toLocaleString("en-GB")}` : text || DASH;
}
