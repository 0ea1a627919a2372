/** The only figures that the page computes: smoothed curves, and the best so far. */

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

/** The indices of at most `most` rows, evenly spaced, with the first and the last. */
export function thinned(rows: number, most: number): number[] {
  if (rows <= most) return Array.from({ length: rows }, (_, row) => row);
  return Array.from({ length: most }, (_, at) => Math.round((at * (rows - 1)) / (most - 1)));
}
