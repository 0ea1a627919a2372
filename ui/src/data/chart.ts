/** What charts over steps draw: lines, bands, dots and rules, and the keys to them. */

import type { Cells } from "./csv";
import { aligned, type Column, union, withoutOutliers } from "./curves";

export interface Line {
  name: string;
  values: Column;
  colour: string;
  width?: number;
  dash?: number[];
  isStepped?: boolean;
  /** Whether it is an end of an interval: between the low and, next to it, the high end is a band. */
  isEdge?: boolean;
}

export type Shape = "disc" | "ring" | "triangle";

/** What is drawn how. */
export interface Key {
  name: string;
  colour: string;
  /** What is drawn so: a line, a vertical rule, or the shape of dots. */
  sort: "line" | "stairs" | "faint" | "rule" | "dashed" | "diamond" | "bar" | Shape;
  dash?: number[];
}

/** Points that are no line, such as candidates. */
export interface Dots {
  name: string;
  shape: Shape;
  colour: string;
  points: readonly { step: number; value: number }[];
}

/** A vertical line at a step. */
export interface Rule {
  step: number;
  name: string;
  colour: string;
  isStrong: boolean;
}

export interface ChartData {
  steps: number[];
  /** What the horizontal axis counts, and the place of a step on it; steps if it is left out. */
  along?: { name: string; place: (step: number) => number };
  lines: readonly Line[];
  dots?: readonly Dots[];
  rules?: readonly Rule[];
  /** What the vertical axis says. */
  title: string;
  isLog: boolean;
  /** Whether the vertical axis leaves out values that are far from all others. */
  isClipped?: boolean;
}

/** The place of a step on the horizontal axis. */
export function placeOf(data: ChartData, step: number): number {
  return data.along === undefined ? step : data.along.place(step);
}

/**
 * The range of the vertical axis: all that is drawn between two places.
 *
 * @returns Lowest and highest value, with a margin; 0 to 1 if there is none.
 */
export function range(data: ChartData, from: number, to: number): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  const isSeen = (step: number, value: number | null): value is number => {
    const place = placeOf(data, step);
    if (value === null || !Number.isFinite(value) || place < from || place > to) return false;
    return !data.isLog || value > 0;
  };
  const see = (values: number[]) => {
    // Each line by itself: the losses of two splits may be far from each other.
    for (const value of (data.isClipped && withoutOutliers(values)) || values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  };
  for (const { values } of data.lines)
    see(values.filter((value, at): value is number => isSeen(data.steps[at]!, value)));
  for (const { points } of data.dots ?? [])
    see(points.filter(({ step, value }) => isSeen(step, value)).map(({ value }) => value));
  if (low > high) return data.isLog ? [0.1, 1] : [0, 1];
  if (data.isLog) return low === high ? [low / 2, high * 2] : [low / 1.08, high * 1.08];
  const margin = 0.06 * (high - low) || 0.05 * Math.abs(high) || 0.5;
  return [low - margin, high + margin];
}

/** Whether a line has a single value, which is no line. */
export function isLone(values: Column): boolean {
  let found = 0;
  return values.every((value) => value === null || ++found < 2) && found === 1;
}

/**
 * Every point that is drawn, as rows with their step.
 *
 * Dots have a column for each of their names. Of several of a name at one step, those after the
 * first have rows of their own, in which the lines have no value.
 */
export function chartRows({ steps, along, lines, dots = [], rules = [] }: ChartData): Cells[] {
  const place = along === undefined ? [] : [along];
  const marks = rules.filter(({ name }) => name !== "");
  const kinds = dots.filter(({ points }) => points.length > 0);
  const names = [
    "step",
    ...[...place, ...lines, ...kinds].map(({ name }) => name),
    ...(marks.length > 0 ? ["mark"] : []),
  ];
  const all = union(steps, ...[marks, ...kinds.map(({ points }) => points)].map(stepsOf));
  const columns = lines.map(({ values }) => aligned(all, steps, values));
  const named = Map.groupBy(marks, ({ step }) => step);
  const seen = kinds.map(({ points }) => Map.groupBy(points, ({ step }) => step));
  const rows = all.flatMap((step, at) => {
    const own = seen.map((points) => points.get(step) ?? []);
    const most = Math.max(1, ...own.map(({ length }) => length));
    const mark = named.get(step)?.map(({ name }) => name).join(", ");
    return Array.from({ length: most }, (_, row) => [
      step,
      ...place.map((axis) => axis.place(step)),
      ...columns.map((values) => (row === 0 ? values[at] : null)),
      ...own.map((points) => points[row]?.value),
      ...(marks.length > 0 ? [row === 0 ? mark : null] : []),
    ]);
  });
  return [names, ...rows];
}

const stepsOf = (points: readonly { step: number }[]) => points.map(({ step }) => step);
