/** The line of a run's best loss so far, small enough for a row of a table. */

import type { LossLine } from "./messages";
import { counted, figure, int } from "./numbers";

/** A step line through the points, in a box of this size; "" without points. */
export function sparkPath(line: LossLine, width: number, height: number): string {
  const steps = (line.steps ?? []).map(int);
  const losses = (line.losses ?? []).map(Number);
  if (steps.length === 0) return "";
  const from = steps[0]!;
  const range = steps.at(-1)! - from;
  const most = losses[0]!; // they never ascend
  const fall = (loss: number) => most / 2 - loss / 2; // of halves, which never overflows
  const y = (loss: number) => part(fall(loss), fall(losses.at(-1)!), height);
  const further = steps.map((step, at) => `H${part(step - from, range, width)}V${y(losses[at]!)}`);
  return `M0 ${y(most)}${further.join("")}`;
}

/** A share of a length, to a tenth; all of it of nothing. */
function part(value: number, of: number, length: number): number {
  return of > 0 ? Math.round((value / of) * length * 10) / 10 : length;
}

/** The same in words. */
export function sparkText(line: LossLine): string {
  const steps = line.steps ?? [];
  const losses = (line.losses ?? []).map(Number);
  if (steps.length === 0) return "";
  const first = `${figure(losses[0])} at step ${int(steps[0])}`;
  if (steps.length === 1) return `best loss so far: ${first}`;
  const last = `${figure(losses.at(-1))} at step ${int(steps.at(-1))}`;
  return `best loss so far: from ${first} to ${last}, ${counted(steps.length, "point")}`;
}
