/** What a chart's horizontal axis counts: steps, or what they cost. */

import type { Spent } from "./run_parts";
import { leading } from "./sorted";

export const AXES = {
  steps: "steps of the trajectory",
  rows: "forward rows",
  evaluations: "evaluations",
  seconds: "seconds of training",
  since: "seconds since the start",
} as const;

export type Axis = keyof typeof AXES;

/** What an axis reads of a record. */
const READ: { [axis in Axis]: (at: Spent) => number } = {
  steps: ({ step }) => step,
  rows: ({ forwardRows }) => forwardRows,
  evaluations: ({ evaluations }) => evaluations,
  seconds: ({ seconds }) => seconds,
  since: ({ since }) => since,
};

/** The axes of which a run has recorded anything. */
export function axesOf(spent: readonly Spent[]): Axis[] {
  const last = spent.at(-1);
  const all = Object.keys(AXES) as Axis[];
  return all.filter((axis) => axis === "steps" || (last !== undefined && READ[axis](last) > 0));
}

/**
 * The place of a step on an axis. What was spent between two records is shared evenly among the
 * steps between them; a step after the last record stands there.
 */
export function placing(spent: readonly Spent[], axis: Axis): (step: number) => number {
  if (axis === "steps") return (step) => step;
  const value = READ[axis];
  return (step) => {
    const next = leading(spent, (record) => record.step < step);
    const before = spent[next - 1];
    const [from, had] = before === undefined ? [0, 0] : [before.step, value(before)];
    const after = spent[next];
    if (after === undefined) return had;
    const share = after.step > from ? (step - from) / (after.step - from) : 1;
    return had + share * (value(after) - had);
  };
}
