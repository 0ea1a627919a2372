import { describe, expect, test } from "vitest";
import { fitted, moved, nearest, places, scale, ticks } from "../src/data/axis";
import { experimentAddress, runsOfAddress, viewOf } from "../src/data/address";
import { between } from "../src/data/colours";
import { experimentState } from "../src/data/words";

describe("axes", () => {
  test("a scale meets its ends, also upside down", () => {
    const x = scale(-1, 3, 10, 90);
    expect([x(-1), x(1), x(3)]).toEqual([10, 50, 90]);
    expect(scale(0, 1, 90, 10)(1)).toBe(10);
    expect(scale(2, 2, 10, 90)(2)).toBe(10);
  });

  test.each([
    [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [-0.031, 0.012, 4, [-0.02, 0]],
    [0.1, 0.35, 3, [0.1, 0.2, 0.3]],
    [995, 2010, 2, [1000, 2000]],
    [1, 1, 5, []],
    [0, Infinity, 5, []],
  ])("from %s to %s, about %s ticks", (low, high, most, found) =>
    expect(ticks(low, high, most)).toEqual(found),
  );

  test("a label is cut to its room", () => {
    expect(fitted("perturb", 100)).toBe("perturb");
    expect(fitted("a very long name", 33)).toBe("a ve…");
    expect(fitted("任務任務", 13.3)).toBe("任…");
    expect(fitted("x", 0)).toBe("x");
  });

  test("each group of a forest begins with some room", () => {
    const rows = ["", "a", "b", "", "a"].map((task) => ({ task }));
    expect(places(rows)).toEqual([0, 1, 2, 3.45, 4.45]);
  });
});

describe("reading a chart", () => {
  test("the nearest point is found", () => {
    const points = [
      { x: 0, y: 0 },
      { x: 10, y: 0 },
      { x: 10, y: 10 },
    ];
    expect(nearest(points, 9, 7)).toBe(2);
    expect(nearest([], 0, 0)).toBeUndefined();
  });

  test.each([
    ["ArrowRight", 3, 4],
    ["ArrowLeft", 0, 0],
    ["PageDown", 3, 9],
    ["Home", 3, 0],
    ["End", 3, 9],
    ["Tab", 3, undefined],
  ])("%s from %s leads to %s", (key, at, to) => expect(moved(key, at, 10)).toBe(to));

  test("a colour lies between its neighbours", () => {
    const stops = ["#000000", "#ff8000", "#ffffff"];
    expect([0, 0.25, 0.5, 1, 2, -1].map((share) => between(stops, share))).toEqual([
      "#000000",
      "#804000",
      "#ff8000",
      "#ffffff",
      "#ffffff",
      "#000000",
    ]);
  });
});

describe("experiments", () => {
  test("have addresses", () => {
    expect(viewOf("/experiments")).toEqual({ page: "experiments" });
    expect(viewOf(experimentAddress("a/b"))).toEqual({ page: "experiment", experimentId: "a/b" });
    expect(viewOf("/experiments/a/b")).toEqual({ page: "none" });
    expect(viewOf("/experiments/%")).toEqual({ page: "none" });
    expect(viewOf("/compare/a")).toEqual({ page: "none" });
    expect(runsOfAddress("e")).toBe("/?experiment=e");
    expect(runsOfAddress("e", "failed", "cancelled")).toBe(
      "/?experiment=e&state=failed&state=cancelled",
    );
  });

  test("have states", () => {
    expect(experimentState("EXPERIMENT_STATE_FINISHED")).toBe("finished");
    expect(experimentState(undefined)).toBe("unknown");
  });
});
