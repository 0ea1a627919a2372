import { describe, expect, test } from "vitest";
import { axesOf, placing } from "../src/data/along";
import { RunLog } from "../src/data/run_log";

const origin = { seq: 1, attempt: 1 };
const SPENT = [
  { ...origin, step: 10, forwardRows: 100, evaluations: 0, seconds: 1, since: 2 },
  // The candidates are scored.
  { ...origin, step: 10, forwardRows: 160, evaluations: 4, seconds: 3, since: 5 },
  { ...origin, step: 20, forwardRows: 260, evaluations: 4, seconds: 4, since: 90 },
];

describe("along what a chart is drawn", () => {
  test("steps stand where what they cost was spent", () => {
    const rows = placing(SPENT, "rows");
    expect([0, 5, 10, 11, 20, 30].map(rows)).toEqual([0, 50, 100, 170, 260, 260]);
    expect(placing(SPENT, "seconds")(15)).toBe(3.5);
    expect(placing(SPENT, "since")(15)).toBe(47.5);
    expect(placing(SPENT, "evaluations")(15)).toBe(4);
    expect(placing([], "rows")(3)).toBe(0);
    expect(placing(SPENT, "steps")(3)).toBe(3);
  });

  test("an axis without a record is not offered", () => {
    expect(axesOf(SPENT)).toEqual(["steps", "rows", "evaluations", "seconds", "since"]);
    const nothing = { step: 1, forwardRows: 0, evaluations: 0, seconds: 0, since: 0 };
    expect(axesOf([{ ...origin, ...nothing }])).toEqual(["steps"]);
    expect(axesOf([])).toEqual(["steps"]);
  });

  test("a log keeps what stays effective", () => {
    const log = new RunLog("run");
    const segment = (from: number, rows: string) => ({
      stepStart: from,
      stepEnd: from,
      snapshots: [{ step: from, trainLoss: 1 }],
      forwardRows: rows,
      trainTime: "1.5s",
    });
    const time = (second: number) => `2026-01-01T00:00:0${second}Z`;
    log.startedAt = time(1);
    log.add({ seq: 1, attempt: 1, time: time(4), segment: segment(1, "30") });
    log.add({ seq: 2, attempt: 1, checkpointSaved: { step: 1 } });
    log.add({ seq: 3, attempt: 1, time: time(3), segment: segment(2, "60") });
    const usage = { forwardRows: "80", evaluations: "3", trainTime: "2s" };
    log.add({ seq: 4, attempt: 1, candidatesScored: { usage } });
    const figures = log.spent.map((at) => [at.step, at.forwardRows, at.evaluations, at.since]);
    expect(figures).toEqual([
      [1, 30, 0, 3],
      [2, 60, 0, 3],
      [2, 80, 3, 3],
    ]);
    log.add({ seq: 5, attempt: 2, resumed: { checkpointSeq: 2 } });
    expect(log.spent).toEqual([
      { seq: 1, attempt: 1, step: 1, forwardRows: 30, evaluations: 0, seconds: 1.5, since: 3 },
    ]);
  });
});
