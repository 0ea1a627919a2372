/** The only figures that the page computes: smoothed curves, and the best so far. */

import { countBelow } from "./sorted";
import type { Curve, StepRange } from "./zoom";

export type Column = (number | null)[];

/**
 * Exponential moving average. A value that is not finite is left out, as a gap.
 *
 * @param values In order of step.
 * @param share Weight of what came before, from 0 (no smoothing) to below 1.
 */
export function smoothed(values: readonly number[], share: number): Column {
  let before: number | undefined;
  return values.map((value) => {
    if (!Number.isFinite(value)) return null;
    before = before === undefined ? value : share * before + (1 - share) * value;
    return before;
  });
}

/** A point of a figure. */
export interface Mark {
  step: number;
  value: number;
}

/**
 * The best value up to each step; null before the first.
 *
 * @param steps Ascending.
 * @param marks In any order; values that are not finite do not count.
 * @param isBetter Whether its first argument is better than its second.
 */
export function bestSoFar(
  steps: readonly number[],
  marks: readonly Mark[],
  isBetter: (one: number, other: number) => boolean,
): Column {
  const sorted = marks
    .filter((mark) => Number.isFinite(mark.value))
    .sort((a, b) => a.step - b.step);
  let best: number | null = null;
  let next = 0;
  return steps.map((step) => {
    for (let mark = sorted[next]; mark !== undefined && mark.step <= step; mark = sorted[++next]) {
      if (best === null || isBetter(mark.value, best)) best = mark.value;
    }
    return best;
  });
}

export const lower = (one: number, other: number) => one < other;
export const higher = (one: number, other: number) => one > other;

/** The distinct steps of several lists, ascending. */
export function union(...lists: readonly (readonly number[])[]): number[] {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

/** A column on other steps: null where it has no value. Both lists of steps ascend. */
export function aligned(steps: readonly number[], own: readonly number[], values: Column): Column {
  let next = 0;
  return steps.map((step) => {
    while (next < own.length && own[next]! < step) next += 1;
    return own[next] === step ? values[next]! : null;
  });
}

/** Points of the train loss that are drawn at most, so that a long run stays quick. */
export const MOST_POINTS = 20_000;

/**
 * The train loss of a run for a chart: of a long run only the lowest and the highest value of each
 * of many equal parts, so that no peak is lost.
 *
 * @param share Smoothing, see `smoothed`; it takes all points into account.
 * @param range Steps that are looked at closely: as many points as of all others.
 */
export function trainCurve(
  points: Curve,
  share: number,
  most = MOST_POINTS,
  range?: StepRange,
): { steps: number[]; raw: Column; smooth: Column } {
  const raw = smoothed(points.loss, 0);
  const smooth = smoothed(points.loss, share);
  const kept = range ? closely(points, raw, most, range) : extremes(raw, most);
  return {
    steps: kept.map((at) => points.step[at]!),
    raw: kept.map((at) => raw[at]!),
    smooth: kept.map((at) => smooth[at]!),
  };
}

/** The indices of a curve's extremes, those within a range of steps by themselves. */
function closely({ step }: Curve, values: Column, most: number, range: StepRange): number[] {
  const from = countBelow(step, range.first);
  const until = countBelow(step, range.last + 1);
  const inside = extremes(values.slice(from, until), most).map((at) => at + from);
  const others = extremes(values, most).filter((at) => at < from || at >= until);
  return [...inside, ...others].sort((a, b) => a - b);
}

/** The indices of the lowest and highest value of each part, ascending, with both ends. */
export function extremes(values: Column, most: number): number[] {
  if (values.length <= most) return values.map((_, at) => at);
  const parts = Math.max(1, Math.floor(most / 2) - 1);
  const kept = new Set([0, values.length - 1]);
  for (let part = 0; part < parts; part++) {
    const from = Math.floor((part * values.length) / parts);
    const until = Math.floor(((part + 1) * values.length) / parts);
    let low = from;
    let high = from;
    for (let at = from; at < until; at++) {
      if ((values[at] ?? Infinity) < (values[low] ?? Infinity)) low = at;
      if ((values[at] ?? -Infinity) > (values[high] ?? -Infinity)) high = at;
    }
    kept.add(low).add(high);
  }
  return [...kept].sort((a, b) => a - b);
}

/**
 * The range that most values of a chart lie in, so that a few far away do not flatten the others.
 *
 * @param values In any order; those that are not finite do not count.
 * @returns The range without outliers: what lies further from the middle half of the values than
 *   three times its width. Undefined: there are fewer than eight values, or none is that far.
 */
export function withoutOutliers(values: readonly number[]): [number, number] | undefined {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length < 8) return undefined;
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!;
  const room = 3 * (at(0.75) - at(0.25));
  const [low, high] = [at(0.25) - room, at(0.75) + room];
  const kept = sorted.filter((value) => value >= low && value <= high);
  return kept.length === sorted.length ? undefined : [kept[0]!, kept.at(-1)!];
}

/** The indices of at most `most` rows, evenly spaced, with the first and the last. */
export function thinned(rows: number, most: number): number[] {
  if (rows <= most) return Array.from({ length: rows }, (_, row) => row);
  return Array.from({ length: most }, (_, at) => Math.round((at * (rows - 1)) / (most - 1)));
}

/**
 * What is drawn of several things, in order: a later one lies over those before.
 *
 * @param things All of them.
 * @param id The id of one.
 * @param hidden Ids of those that are not drawn.
 * @param pinned Ids of those that lie on top.
 */
export function drawn<T>(
  things: readonly T[],
  id: (thing: T) => string,
  hidden: readonly string[],
  pinned: readonly string[],
): T[] {
  const seen = things.filter((thing) => !hidden.includes(id(thing)));
  const isPinned = (thing: T) => pinned.includes(id(thing));
  return [...seen.filter((thing) => !isPinned(thing)), ...seen.filter(isPinned)];
}
