/** Points of a range of steps that is zoomed into: read anew where the curve was read thinned. */

import type { Point } from "./messages";
import { real } from "./numbers";
import { countBelow } from "./sorted";

/** Steps, both inclusive. */
export interface StepRange {
  first: number;
  last: number;
}

/** A loss curve, in order of step. */
export interface Curve {
  step: readonly number[];
  loss: readonly number[];
}

/** What is known of the range that is wanted. */
export interface Zoomed {
  /** Those of the latest range of which they have come; empty: none has. */
  points: readonly Point[];
  isReading: boolean;
  /** Why the latest range could not be read; empty: it could. */
  problem: string;
}

export const NOT_ZOOMED: Zoomed = { points: [], isReading: false, problem: "" };

type Read = (range: StepRange, signal: AbortSignal) => Promise<readonly Point[]>;

/** Reads ranges, one at a time: the newest is wanted, and an older read is given up. */
export class RangeReader {
  /** What is known. */
  found = NOT_ZOOMED;
  private reading: AbortController | undefined;

  /**
   * @param read Reads the points of a range.
   * @param onChange Called with what is known after each change.
   */
  constructor(
    private readonly read: Read,
    private readonly onChange: (found: Zoomed) => void,
  ) {}

  /** Reads a range; until it has come, the points of the one before stay. */
  async want(range: StepRange): Promise<void> {
    this.stop();
    const own = new AbortController();
    this.reading = own;
    this.tell({ ...this.found, isReading: true, problem: "" });
    let found: Zoomed;
    try {
      const points = await this.read(range, own.signal);
      found = { points, isReading: false, problem: "" };
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      found = { ...this.found, isReading: false, problem };
    }
    if (!own.signal.aborted) this.tell(found);
  }

  /** Goes back to the whole curve. */
  reset(): void {
    this.stop();
    if (this.found !== NOT_ZOOMED) this.tell(NOT_ZOOMED);
  }

  /** Reads nothing more: what is known is enough. */
  keep(): void {
    this.stop();
    if (this.found.isReading || this.found.problem)
      this.tell({ ...this.found, isReading: false, problem: "" });
  }

  /** Gives up what is being read. */
  stop(): void {
    this.reading?.abort();
    this.reading = undefined;
  }

  private tell(found: Zoomed): void {
    this.found = found;
    this.onChange(found);
  }
}

/** Whether steps of a range, up to the last one of a curve, are missing in it. */
export function isThinnedIn({ step }: Curve, { first, last }: StepRange): boolean {
  const until = Math.min(last, step.at(-1) ?? 0);
  const inside = step.filter((at) => at >= first && at <= until).length;
  return inside < until - Math.max(first, 1) + 1;
}

/** A curve with the points of a range in place of its own. What came after they were read stays. */
export function refined(curve: Curve, { points }: Zoomed): Curve {
  const [first, last] = [points[0]?.step, points.at(-1)?.step];
  if (first === undefined || last === undefined) return curve;
  const before = countBelow(curve.step, first);
  const after = countBelow(curve.step, last + 1);
  return {
    step: [
      ...curve.step.slice(0, before),
      ...points.map((point) => point.step),
      ...curve.step.slice(after),
    ],
    loss: [
      ...curve.loss.slice(0, before),
      ...points.map((point) => real(point.loss) ?? 0),
      ...curve.loss.slice(after),
    ],
  };
}

/** The steps between the last point at or before a place of an axis and the first at or after
 * another: a line goes on to both. Both lists ascend. */
export function stepsWithin(
  steps: readonly number[],
  places: readonly number[],
  from: number,
  until: number,
): StepRange | undefined {
  const end = places.findIndex((place) => place >= until);
  const start = places.findLastIndex((place) => place <= from);
  const [first, last] = [steps[Math.max(0, start)], steps.at(end)];
  return first === undefined || last === undefined ? undefined : { first, last };
}
