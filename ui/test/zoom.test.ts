import { describe, expect, test } from "vitest";
import { trainCurve } from "../src/data/curves";
import type { Point } from "../src/data/messages";
import {
  isThinnedIn,
  RangeReader,
  refined,
  type StepRange,
  stepsWithin,
  type Zoomed,
} from "../src/data/zoom";

const point = (step: number, loss: number): Point => ({ step, loss, learningRate: 1, words: "" });
const curve = { step: [1, 10, 20, 30, 31, 32], loss: [9, 8, 7, 6, 5, 4] };
const found = (...points: Point[]): Zoomed => ({ points, isReading: false, problem: "" });

/** A reader whose reads a test answers. */
function told() {
  const reads: { range: StepRange; signal: AbortSignal; end: (points: Point[] | Error) => void }[] =
    [];
  const news: Zoomed[] = [];
  const reader = new RangeReader(
    (range, signal) =>
      new Promise((resolve, reject) => {
        const end = (points: Point[] | Error) =>
          points instanceof Error ? reject(points) : resolve(points);
        reads.push({ range, signal, end });
      }),
    (next) => news.push(next),
  );
  return { reader, reads, news };
}

describe("a zoomed range", () => {
  test("is missing steps where the curve is thinned", () => {
    expect(isThinnedIn(curve, { first: 10, last: 20 })).toBe(true);
    expect(isThinnedIn(curve, { first: 30, last: 32 })).toBe(false);
    expect(isThinnedIn(curve, { first: 30, last: 99 })).toBe(false);
    expect(isThinnedIn(curve, { first: 0, last: 1 })).toBe(false);
  });

  test("is drawn in place of the points that were there", () => {
    const { step, loss } = refined(curve, found(point(10, 8), point(11, 3), point(20, 7)));
    expect(step).toEqual([1, 10, 11, 20, 30, 31, 32]);
    expect(loss).toEqual([9, 8, 3, 7, 6, 5, 4]);
    expect(refined(curve, found())).toBe(curve);
    const end = refined(curve, found(point(31, 5), { ...point(40, 0), loss: "Infinity" }));
    expect(end.step).toEqual([1, 10, 20, 30, 31, 40]);
    expect(end.loss.at(-1)).toBe(Infinity);
  });

  test("reaches to the neighbours of what is seen, on any axis", () => {
    const places = curve.step.map((step) => step / 10);
    expect(stepsWithin(curve.step, places, 1.2, 2.5)).toEqual({ first: 10, last: 30 });
    expect(stepsWithin(curve.step, places, -1, 9)).toEqual({ first: 1, last: 32 });
    expect(stepsWithin([], [], 0, 1)).toBeUndefined();
  });

  test("keeps as many points as the whole curve has", () => {
    const step = Array.from({ length: 100 }, (_, at) => at + 1);
    const { steps } = trainCurve({ step, loss: step }, 0, 20, { first: 41, last: 55 });
    expect(steps.filter((at) => at > 40 && at < 56)).toHaveLength(15);
    expect(steps.length).toBeLessThanOrEqual(35);
    expect([steps[0], steps.at(-1)]).toEqual([1, 100]);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
  });
});

describe("reading of ranges", () => {
  test("gives up an older one, and the newest wins", async () => {
    const { reader, reads, news } = told();
    const first = reader.want({ first: 1, last: 9 });
    const second = reader.want({ first: 3, last: 5 });
    expect(reads.map(({ signal }) => signal.aborted)).toEqual([true, false]);
    reads[1]!.end([point(3, 1)]);
    reads[0]!.end([point(1, 1)]);
    await Promise.all([first, second]);
    expect(news.at(-1)).toEqual(found(point(3, 1)));
  });

  test("keeps the points of the one before until the next has come, or after it failed", async () => {
    const { reader, reads, news } = told();
    const first = reader.want({ first: 1, last: 9 });
    reads[0]!.end([point(1, 1)]);
    await first;
    const second = reader.want({ first: 3, last: 5 });
    expect(news.at(-1)).toEqual({ ...found(point(1, 1)), isReading: true });
    reads[1]!.end(new Error("away"));
    await second;
    expect(news.at(-1)).toEqual({ ...found(point(1, 1)), problem: "away" });
    reader.keep();
    expect(news.at(-1)).toEqual(found(point(1, 1)));
  });

  test("goes back to the whole", async () => {
    const { reader, reads, news } = told();
    reader.reset();
    expect(news).toEqual([]);
    const asked = reader.want({ first: 1, last: 9 });
    reader.reset();
    reads[0]!.end([point(1, 1)]);
    await asked;
    expect(news.at(-1)).toEqual(found());
    expect(reads[0]!.signal.aborted).toBe(true);
  });
});
