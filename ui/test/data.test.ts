import { describe, expect, test } from "vitest";
import {
  changed,
  compareAddress,
  idsIn,
  runAddress,
  runsQuery,
  toggled,
  viewOf,
  withoutId,
} from "../src/data/address";
import { looks } from "../src/data/colours";
import {
  aligned,
  bestSoFar,
  drawn,
  higher,
  lower,
  smoothed,
  thinned,
  trainCurve,
  union,
  withoutOutliers,
} from "../src/data/curves";
import {
  bytes,
  clock,
  counted,
  figure,
  int,
  percent,
  real,
  seconds,
  span,
  tick,
} from "../src/data/numbers";
import { streamAddress } from "../src/data/positions";
import { countBelow } from "../src/data/sorted";
import { member, shortId, subject, title } from "../src/data/words";

describe("numbers", () => {
  test("are read from protobuf's JSON", () => {
    expect(int("9007199254740991")).toBe(9007199254740991);
    expect(int(undefined)).toBe(0);
    expect(real("NaN")).toBeNaN();
    expect(real("-Infinity")).toBe(-Infinity);
    expect(real(undefined)).toBeUndefined();
    expect(seconds("1.250s")).toBe(1.25);
  });

  test.each([
    [undefined, "–"],
    [Number.NaN, "NaN"],
    [Infinity, "∞"],
    [-Infinity, "−∞"],
    [0, "0.0000"],
    [-0.5, "−0.5000"],
    [0.00012, "1.20e−4"],
    [12345678, "1.23e+7"],
    [1234.5, "1234.5000"],
  ])("figure of %s is %s", (value, text) => expect(figure(value)).toBe(text));

  test.each([
    [0, "0"],
    [100, "100"],
    [0.25, "0.25"],
    [1.4e31, "1.4e31"],
    [-2e-5, "−2e−5"],
  ])("tick at %s is %s", (value, text) => expect(tick(value)).toBe(text));

  test.each([
    [0.84, "0.8 s"],
    [59.6, "60 s"],
    [250, "4 min 10 s"],
    [1021, "17 min"],
    [11100, "3 h 5 min"],
    [200000, "2 d 7 h"],
    [Number.NaN, "–"],
  ])("span of %s s is %s", (total, text) => expect(span(total)).toBe(text));

  test("have their units", () => {
    expect(percent(0.8333)).toBe("83.3%");
    expect(percent(undefined)).toBe("–");
    expect(counted(1, "step")).toBe("1 step");
    expect(counted(1200, "step")).toBe("1,200 steps");
    expect([bytes(999), bytes(1234), bytes(105304)]).toEqual(["999 B", "1.2 KB", "105 KB"]);
    const noon = new Date(2026, 0, 2, 12, 0, 1);
    expect(clock(noon.toISOString(), noon.getTime())).toBe("12:00:01");
    expect(clock(noon.toISOString(), 0)).toBe("2026-01-02 12:00:01");
    expect(clock("yesterday")).toBe("–");
  });
});

test("a stream begins after the positions of its runs", () => {
  const positions = new Map([
    ["01a", 3],
    ["01b", 0],
  ]);
  expect(streamAddress(positions)).toBe("/api/v1/stream?run=01a%3A3&run=01b%3A0");
});

describe("what is sorted", () => {
  test.each([
    [0, 0],
    [1, 0],
    [2, 1],
    [5, 3],
    [9, 5],
    [10, 5],
  ])("is searched for %s", (limit, found) => expect(countBelow([1, 3, 3, 7, 8], limit)).toBe(found));

  test("may be empty", () => expect(countBelow([], 1)).toBe(0));
});

describe("curves", () => {
  test("are smoothed with gaps where a value is not finite", () => {
    expect(smoothed([4, Number.NaN, 2, Infinity], 0.5)).toEqual([4, null, 3, null]);
    expect(smoothed([4, 2], 0)).toEqual([4, 2]);
  });

  test("have a best so far", () => {
    const marks = [
      { step: 3, value: 2 },
      { step: 1, value: 5 },
      { step: 3, value: Number.NaN },
      { step: 4, value: 3 },
    ];
    expect(bestSoFar([0, 1, 2, 3, 4], marks, lower)).toEqual([null, 5, 5, 2, 2]);
    expect(bestSoFar([0, 1, 3, 4], marks, higher)).toEqual([null, 5, 5, 5]);
  });

  test("are brought to common steps", () => {
    const steps = union([1, 3], [2, 3, 5]);
    expect(steps).toEqual([1, 2, 3, 5]);
    expect(aligned(steps, [1, 3], [10, 30])).toEqual([10, null, 30, null]);
  });

  test("of long runs keep their peaks", () => {
    const loss = Array.from({ length: 1000 }, (_, at) => at % 10);
    loss[501] = 99;
    loss[502] = Number.NaN;
    const step = loss.map((_, at) => at + 1);
    const { steps, raw, smooth } = trainCurve({ step, loss }, 0.5, 20);
    expect(steps.length).toBeLessThanOrEqual(20);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect([steps[0], steps.at(-1)]).toEqual([1, 1000]);
    expect(raw[steps.indexOf(502)]).toBe(99);
    expect(smooth[steps.indexOf(502)]).toBe(smoothed(loss, 0.5)[501]);
    expect(trainCurve({ step: [1, 2], loss: [3, 4] }, 0, 20).steps).toEqual([1, 2]);
  });

  test("are thinned with both ends", () => {
    expect(thinned(3, 5)).toEqual([0, 1, 2]);
    expect(thinned(101, 3)).toEqual([0, 50, 100]);
  });
});

describe("outliers", () => {
  const usual = [1, 2, 3, 4, 5, 6, 7, 8];

  test("are left out of the range of a chart", () => {
    expect(withoutOutliers([...usual, 1e30, Infinity, Number.NaN])).toEqual([1, 8]);
    expect(withoutOutliers([-1e30, ...usual])).toEqual([1, 8]);
  });

  test.each([[usual], [[1, 2, 1e30]], [[]]])("are none among %s", (values) =>
    expect(withoutOutliers(values)).toBeUndefined(),
  );
});

describe("looks of runs", () => {
  const ids = Array.from({ length: 20 }, (_, at) => `run${at}`);

  test("do not depend on the order", () => {
    expect(looks([...ids].reverse())).toEqual(looks(ids));
  });

  test("are distinct", () => {
    const found = [...looks(ids).values()].map((look) => JSON.stringify(look));
    expect(new Set(found).size).toBe(ids.length);
  });
});

describe("words", () => {
  test("of enums", () => {
    expect(member("PROPOSAL_STATUS_NOT_CHOSEN", "PROPOSAL_STATUS_")).toBe("not chosen");
    expect(member("RUN_STATE_UNSPECIFIED", "RUN_STATE_")).toBe("");
    expect(member(undefined, "RUN_STATE_")).toBe("");
  });

  test("of a run", () => {
    expect(subject({ objective: { labelPrompt: {} }, task: { name: "tickets" } })).toBe(
      "label_prompt on tickets",
    );
    const objective = { function: { name: "ackley", dimensions: "8" } };
    expect(subject({ objective, task: { name: "tickets" } })).toBe("ackley, 8 dimensions");
    expect(subject(undefined)).toBe("");
    expect(shortId("01m8ntnk6r95t1jbnzk9qwyqbm")).toBe("…k9qwyqbm");
  });

  test("a name that nobody sees is none", () => {
    const objective = { labelPrompt: {} };
    const titled = (name: string) => title({ spec: { name, objective, task: { name: "tickets" } } });
    expect([" ", "\u200b\u202e", "\n"].map(titled)).toEqual(Array(3).fill("label_prompt on tickets"));
    expect(["🦋", "שלום", "..", "é"].map(titled)).toEqual(["🦋", "שלום", "..", "é"]);
  });
});

describe("the address", () => {
  test("holds the view", () => {
    expect(viewOf("/")).toEqual({ page: "runs" });
    expect(viewOf("/runs/a%20b")).toEqual({ page: "run", runId: "a b" });
    expect(viewOf("/runs/%")).toEqual({ page: "none" });
    expect(viewOf("/compare")).toEqual({ page: "compare" });
    expect(viewOf("/nowhere")).toEqual({ page: "none" });
    expect(runAddress("a/b", "log")).toBe("/runs/a%2Fb?tab=log");
    expect(compareAddress(["a", "b"])).toBe("/compare?run=a&run=b");
    const query = new URLSearchParams("run=a&run=b&hide=b");
    expect(idsIn(query, "hide")).toEqual(["b"]);
    expect(idsIn(query, "pin")).toEqual([]);
    const more = new URLSearchParams(toggled(query, "hide", "a"));
    expect(idsIn(more, "hide")).toEqual(["b", "a"]);
    expect(more.getAll("run")).toEqual(["a", "b"]);
    expect(toggled(query, "hide", "b")).toBe("?run=a&run=b");
    expect(withoutId(more, "b")).toBe("?run=a&hide=a");
    expect(withoutId(new URLSearchParams("run=a"), "a")).toBe("");
  });

  test("is the query for a page of runs", () => {
    const view = new URLSearchParams("state=running&label=a%3Db&label=bad&page=T&other=1");
    expect(runsQuery(view, 50).toString()).toBe(
      "page_size=50&state=running&label=a%3Db&page_token=T",
    );
    const pattern = runsQuery(new URLSearchParams("text=/^a%2Bb/"), 9);
    expect(pattern.toString()).toBe("page_size=9&pattern=%5Ea%2Bb");
    expect(runsQuery(new URLSearchParams("text=//"), 9).get("text")).toBe("//");
    expect(changed(view, { page: "", state: "", label: "", other: "" })).toBe("");
    expect(changed(new URLSearchParams("a=1"), { b: "2" })).toBe("?a=1&b=2");
  });
});

test("pinned curves are drawn over the others, and hidden ones not", () => {
  const self = (name: string) => name;
  expect(drawn(["a", "b", "c", "d"], self, ["b"], ["a", "b"])).toEqual(["c", "d", "a"]);
  expect(drawn(["a"], self, [], [])).toEqual(["a"]);
});
