/** The curves of several runs. */

import { useMemo, useState } from "preact/hooks";
import { looks } from "../data/colours";
import {
  aligned,
  bestSoFar,
  type Column,
  drawn,
  lower,
  MOST_POINTS,
  trainCurve,
  union,
} from "../data/curves";
import type { LiveRun } from "../data/live_runs";
import { counted } from "../data/numbers";
import type { RunLog } from "../data/run_log";
import { shortId, title } from "../data/words";
import { Chart } from "../parts/chart";
import type { ChartData } from "../parts/chart_options";
import type { Key } from "../parts/frame";

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

/** The name and the look of a run among others. */
export function keyOf(runs: readonly LiveRun[]): (log: RunLog) => Key {
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

interface CurvesProps {
  runs: readonly LiveRun[];
  /** Ids of runs that are not drawn. */
  hidden: readonly string[];
  /** Ids of runs that are drawn over the others, with thicker lines. */
  pinned: readonly string[];
}

export function Curves({ runs, hidden, pinned }: CurvesProps) {
  const [which, setWhich] = useState<keyof typeof CURVES>("best");
  const [smoothing, setSmoothing] = useState(0.8);
  const [isLog, setLog] = useState(false);
  const read = runs.filter(({ log }) => log.lastSeq > 0);
  const shown = drawn(read, ({ log }) => log.runId, hidden, pinned);
  const key = keyOf(runs);
  const state = shown.map(({ log }) => `${log.runId} ${log.lastSeq}`).join();
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
          width: pinned.includes(log.runId) ? 4 : 2,
          isStepped: which === "best",
          ...(dash ? { dash } : {}),
        };
      }),
    };
  }, [state, pinned.join(), which, smoothing, isLog]);
  return (
    <Chart
      label={`Curves of ${counted(shown.length, "run")}: ${CURVES[which]}`}
      data={data}
      keys={shown.map(({ log }) => key(log))}
      height={340}
      {...(shown.length < read.length && {
        note: `${counted(read.length - shown.length, "run")} hidden; drag to zoom in`,
      })}
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
