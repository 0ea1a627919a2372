import { describe, expect, test } from "vitest";
import { viewOf } from "../src/data/address";
import { endedBars, endedText } from "../src/data/ended";

const hour = (succeeded: number, failed = 0) => ({
  from: "2026-01-02T03:00:00",
  succeeded,
  failed,
  cancelled: 0,
});

describe("ended runs", () => {
  test("are drawn relative to the highest bar", () => {
    const [succeeded, failed, cancelled] = endedBars([hour(4, 1), hour(2), hour(0)]);
    expect(succeeded).toEqual({ end: "succeeded", total: 6, shares: [1, 0.5, 0] });
    expect(failed!.shares).toEqual([0.25, 0, 0]);
    expect(cancelled!.total).toBe(0);
    expect(endedBars([hour(0)])[0]!.shares).toEqual([0]);
  });

  test("are told in one line", () => {
    expect(endedText(hour(1, 2))).toBe("03:00 to 04:00: 3 runs ended, 1 succeeded, 2 failed");
    expect(endedText(hour(0))).toBe("03:00 to 04:00: no run ended");
  });

  test("stand among the services", () => {
    expect(viewOf("/services")).toEqual({ page: "services" });
    expect(viewOf("/services/x")).toEqual({ page: "none" });
  });
});
