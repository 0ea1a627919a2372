/** Several runs: their curves, figures, and the differences of their specs. */

import { useEffect, useMemo, useState } from "preact/hooks";
import * as api from "../data/api";
import { compareAddress, runAddress } from "../data/address";
import { looks } from "../data/colours";
import {
  aligned,
  bestSoFar,
  type Column,
  lower,
  MOST_POINTS,
  trainCurve,
  union,
} from "../data/curves";
import { useLiveRuns, useRead } from "../data/hooks";
import type { LiveRun } from "../data/live_runs";
import type { Difference } from "../data/messages";
import { count, figure, int, percent, real, seconds, span } from "../data/numbers";
import type { RunLog } from "../data/run_log";
import { shortId, title } from "../data/words";
import { Empty, Problem, Section, StateBadge, Words } from "../parts/basics";
import { Chart, KeyMark, type Key } from "../parts/chart";
import type { ChartData } from "../parts/chart_options";
import { Link } from "../parts/router";
import { type ColumnOf, Table } from "../parts/table";

const MOST = 20;

export function ComparePage({ query }: { query: URLSearchParams }) {
  const runIds = [...new Set(query.getAll("run"))].slice(0, MOST);
  useEffect(() => {
    document.title = "Compare · mentorgrad";
  }, []);
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
        <Comparison key={runIds.join()} runIds={runIds} />
      )}
    </>
  );
}

function Comparison({ runIds }: { runIds: readonly string[] }) {
  const runs = useLiveRuns(runIds);
  const found = useRead(runIds.join(), (signal) => api.compare(runIds, signal));
  return (
    <>
      {found.error && <Problem error={found.error} />}
      <Section title="Curves">
        <Curves runs={runs} />
      </Section>
      <Section title="Figures">
        <Figures runs={runs} runIds={runIds} />
      </Section>
      {found.value && runIds.length > 1 && (
        <Section title="Differences of the specs">
          <Differences runs={runs} rows={found.value.differences} />
        </Section>
      )}
    </>
  );
}

/** Name → what is drawn. */
const CURVES = {
  best: "best selection loss so far",
  train: "train loss, smoothed",
} as const;

/** Names that tell the runs apart. */
function names(runs: readonly LiveRun[]): Map<string, string> {
  const titles = runs.map(({ log }) => title(log));
  return new Map(
    runs.map(({ log }, at) => {
      const isShared = titles.indexOf(titles[at]!) !== titles.lastIndexOf(titles[at]!);
      return [log.runId, isShared ? `${titles[at]} ${shortId(log.runId)}` : titles[at]!];
    }),
  );
}

function keyOf(runs: readonly LiveRun[]): (log: RunLog) => Key {
  const found = looks(runs.map(({ log }) => log.runId));
  const called = names(runs);
  return (log) => {
    const { colour, dash } = found.get(log.runId)!;
    return { name: called.get(log.runId)!, colour, sort: "line", ...(dash ? { dash } : {}) };
  };
}

/** A curve on its own steps, and on those of all curves. */
interface OwnCurve {
  steps: number[];
  on: (steps: readonly number[]) => Column;
}

function trained(log: RunLog, smoothing: number, runs: number): OwnCurve {
  const { steps, smooth } = trainCurve(log.points, smoothing, Math.ceil(MOST_POINTS / runs));
  return { steps, on: (all) => aligned(all, steps, smooth) };
}

function bests(log: RunLog): OwnCurve {
  const marks = log.candidates.map((item) => ({ step: item.step, value: item.loss }));
  const steps = union(
    marks.map((mark) => mark.step),
    [log.step],
  );
  const on = (all: readonly number[]) =>
    bestSoFar(all, marks, lower).map((best, at) => (all[at]! > log.step ? null : best));
  return { steps, on };
}

function Curves({ runs }: { runs: readonly LiveRun[] }) {
  const [which, setWhich] = useState<keyof typeof CURVES>("best");
  const [smoothing, setSmoothing] = useState(0.8);
  const [isLog, setLog] = useState(false);
  const shown = runs.filter(({ log }) => log.lastSeq > 0);
  const key = keyOf(runs);
  const state = shown.map(({ log }) => log.lastSeq).join();
  const data = useMemo((): ChartData => {
    const curves = shown.map(({ log }) =>
      which === "train" ? trained(log, smoothing, shown.length) : bests(log),
    );
    const steps = union(...curves.map((curve) => curve.steps));
    return {
      steps,
      title: CURVES[which],
      isLog,
      lines: shown.map(({ log }, at) => {
        const { name, colour, dash } = key(log);
        return {
          name,
          colour,
          values: curves[at]!.on(steps),
          width: 2,
          isStepped: which === "best",
          ...(dash ? { dash } : {}),
        };
      }),
    };
  }, [state, which, smoothing, isLog]);
  return (
    <Chart
      label={`Curves of ${runs.length} runs: ${CURVES[which]}`}
      data={data}
      keys={shown.map(({ log }) => key(log))}
      height={340}
      controls={
        <>
          <label class="slider">
            Curve
            <select
              value={which}
              onChange={(event) => setWhich(event.currentTarget.value as keyof typeof CURVES)}
            >
              {Object.entries(CURVES).map(([name, text]) => (
                <option key={name} value={name}>
                  {text}
                </option>
              ))}
            </select>
          </label>
          {which === "train" && (
            <label class="slider">
              Smoothing
              <input
                type="range"
                min="0"
                max="0.98"
                step="0.02"
                value={smoothing}
                onInput={(event) => setSmoothing(Number(event.currentTarget.value))}
              />
            </label>
          )}
          <button
            type="button"
            class="button small"
            aria-pressed={isLog}
            onClick={() => setLog(!isLog)}
          >
            Log axis
          </button>
        </>
      }
    />
  );
}

function Figures({ runs, runIds }: { runs: readonly LiveRun[]; runIds: readonly string[] }) {
  const key = keyOf(runs);
  const without = (runId: string) => compareAddress(runIds.filter((other) => other !== runId));
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
      name: "change",
      isNameUnseen: true,
      cell: ({ log }) => (
        <Link to={without(log.runId)} label={`Leave out ${title(log)}`}>
          leave out
        </Link>
      ),
    },
  ];
  return <Table label="Figures" columns={columns} rows={runs} id={({ log }) => log.runId} />;
}

function Differences({ runs, rows }: { runs: readonly LiveRun[]; rows: readonly Difference[] }) {
  if (rows.length === 0) return <Empty>The specs are equal.</Empty>;
  const key = keyOf(runs);
  const columns: ColumnOf<Difference>[] = [
    { name: "field", cell: (row) => <code>{row.field}</code> },
    ...runs.map(({ log }, at) => ({
      name: key(log).name,
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
