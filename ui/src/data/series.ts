/** Curves that are drawn together: those of runs, or the means of groups. */

import type { ChartData, Key, Line } from "./chart";
import { looks } from "./colours";
import { type CompareView, CURVES, groupId } from "./compare_view";
import {
  aligned,
  bestSoFar,
  type Column,
  drawn,
  lower,
  MOST_POINTS,
  trainCurve,
  union,
} from "./curves";
import { counted } from "./numbers";
import type { GroupCurve, GroupsView } from "./report";
import type { RunLog } from "./run_log";

const WIDTH = 2;
const PINNED_WIDTH = 4;

export interface Series {
  id: string;
  key: Key;
  steps: readonly number[];
  /** Its values on further steps. */
  on: (steps: readonly number[]) => Column;
  /** Both ends of its interval on further steps; undefined: it has none. */
  edges?: (steps: readonly number[]) => [low: Column, high: Column];
}

/** The curve of a run. */
export function ofRun(log: RunLog, key: Key, view: CompareView, runs: number): Series {
  const curve = view.curve === "train" ? trained(log, view.smoothing, runs) : bests(log);
  return { id: log.runId, key, ...curve };
}

function trained(log: RunLog, smoothing: number, runs: number) {
  const { steps, smooth } = trainCurve(log.points, smoothing, Math.ceil(MOST_POINTS / runs));
  return { steps, on: (all: readonly number[]) => aligned(all, steps, smooth) };
}

function bests(log: RunLog) {
  const marks = log.candidates.map((item) => ({ step: item.step, value: item.loss }));
  const steps = union(
    marks.map((mark) => mark.step),
    [log.step],
  );
  const on = (all: readonly number[]) =>
    bestSoFar(all, marks, lower).map((best, at) => (all[at]! > log.step ? null : best));
  return { steps, on };
}

/** The curves of groups. A group keeps its look when others come or are hidden. */
export function ofGroups({ label, groups }: GroupsView): Series[] {
  const ids = groups.map(({ name }) => groupId(label, name));
  const found = looks(ids);
  return groups.map((group, at) => {
    const { colour, dash } = found.get(ids[at]!)!;
    const { steps, means, lows, highs } = group;
    const hasEdges = lows.some((low) => low !== null);
    return {
      id: ids[at]!,
      key: { name: groupName(label, group), colour, sort: "line", ...(dash ? { dash } : {}) },
      steps,
      on: (all) => aligned(all, steps, means),
      ...(hasEdges && {
        edges: (all) => [aligned(all, steps, lows), aligned(all, steps, highs)],
      }),
    };
  });
}

function groupName(label: string, { name, runs, missing }: GroupCurve): string {
  const called = name ? `${label}=${name}` : `without ${label}`;
  const left = missing > 0 ? `, ${missing} more without losses` : "";
  return `${called} (${counted(runs.length, "run")}${left})`;
}

/** A chart of curves: bands at the bottom, pinned curves on top; hidden ones are left out. */
export function chartOf(series: readonly Series[], view: CompareView): ChartData {
  const shown = drawn(series, ({ id }) => id, view.hidden, view.pinned);
  const steps = union(...shown.map((one) => one.steps));
  const isStepped = view.curve === "best";
  const edges: Line[] = shown.flatMap(({ key: { name, colour }, edges }) =>
    (edges?.(steps) ?? []).map((values, at) => ({
      name: `${name}, ${at === 0 ? "low" : "high"} end of 95 %`,
      values,
      colour,
      width: 0.5,
      isStepped,
      isEdge: true,
    })),
  );
  const lines: Line[] = shown.map((one) => ({
    name: one.key.name,
    colour: one.key.colour,
    values: one.on(steps),
    width: view.pinned.includes(one.id) ? PINNED_WIDTH : WIDTH,
    isStepped,
    ...(one.key.dash ? { dash: one.key.dash } : {}),
  }));
  return { steps, title: CURVES[view.curve], isLog: view.isLog, lines: [...edges, ...lines] };
}
