/** Where the snapshots of a path stand, and its axes. */

import { scale, ticks } from "./axis";
import { tick } from "./numbers";
import type { PathPoint } from "./report";

/** Room for the vertical axis, above the plot, and for the horizontal axis. */
export const LEFT = 56;
export const TOP = 14;
export const BOTTOM = 24;

export interface Placed {
  at: { x: number; y: number }[];
  across: { at: number; text: string }[];
  up: { at: number; text: string }[];
  width: number;
  height: number;
}

/** Places for a width and height in pixels. */
export function layout(points: readonly PathPoint[], width: number, height: number): Placed {
  const [left, right] = ends(points.map((point) => point.x));
  const [low, high] = ends(points.map((point) => point.y));
  const x = scale(left, right, LEFT + 12, Math.max(LEFT + 13, width - 16));
  const y = scale(low, high, height - BOTTOM - 10, TOP + 8);
  const marks = (from: number, to: number, most: number, place: (value: number) => number) =>
    ticks(from, to, most).map((value) => ({ at: place(value), text: tick(value) }));
  return {
    at: points.map((point) => ({ x: x(point.x), y: y(point.y) })),
    across: marks(left, right, width / 110, x),
    up: marks(low, high, height / 70, y),
    width,
    height,
  };
}

function ends(values: readonly number[]): [number, number] {
  const low = values.reduce((one, other) => Math.min(one, other), Infinity);
  const high = values.reduce((one, other) => Math.max(one, other), -Infinity);
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** Lines from each snapshot to the next; a jump is a line of its own. */
export function legs(
  points: readonly PathPoint[],
  at: readonly { x: number; y: number }[],
): { line: string; isJump: boolean }[] {
  const found = [{ line: "", isJump: false }];
  at.forEach(({ x, y }, index) => {
    const before = at[index - 1];
    if (before && points[index]!.isRestart) {
      found.push({ line: `M${before.x} ${before.y}L${x} ${y}`, isJump: true });
      found.push({ line: "", isJump: false });
    }
    const leg = found.at(-1)!;
    leg.line += `${leg.line ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return found;
}
