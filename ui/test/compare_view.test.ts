import { describe, expect, test } from "vitest";
import { idsIn, toggled } from "../src/data/address";
import { compareView, groupId, labelNames, withView } from "../src/data/compare_view";
import type { GroupsView } from "../src/data/report";
import { RunLog } from "../src/data/run_log";
import { chartOf, ofGroups, ofRun } from "../src/data/series";

const query = (text: string) => new URLSearchParams(text);
const groups: GroupsView = {
  label: "arm",
  groups: [
    { name: "x", runs: ["a", "b"], missing: 1, steps: [2, 4], means: [4, 3], lows: [1, 2], highs: [7, null] },
    { name: "", runs: ["c"], missing: 0, steps: [3], means: [2], lows: [null], highs: [null] },
  ],
};

describe("the address of a comparison", () => {
  test("holds the view", () => {
    const first = compareView(query("run=a&smoothing=2&curve=other"));
    expect([first.curve, first.group, first.isLog, first.smoothing]).toEqual(["best", "", false, 0.8]);
    const { curve, group, isLog, smoothing, hidden, pinned } = compareView(
      query("curve=train&group=arm&log=1&smoothing=0&hide=a%2Carm%3Dx&pin=b"),
    );
    expect([curve, group, isLog, smoothing]).toEqual(["train", "arm", true, 0]);
    expect([hidden, pinned]).toEqual([["a", "arm=x"], ["b"]]);
  });

  test("changes by one choice at a time", () => {
    expect(withView(query("run=a&log=1"), { log: "", group: "arm" })).toBe("/compare?run=a&group=arm");
    const id = groupId("arm", "x,y=z");
    const hidden = new URLSearchParams(toggled(query("run=a&hide=b"), "hide", id));
    expect(idsIn(hidden, "hide")).toEqual(["b", id]);
    expect(toggled(hidden, "hide", id)).toBe("?run=a&hide=b");
  });

  test("groups by labels that runs have", () => {
    const runs = [{ labels: { b: "1" } }, {}, { labels: { a: "1", b: "2" } }];
    expect(labelNames(runs, "")).toEqual(["a", "b"]);
    expect(labelNames([], "c")).toEqual(["c"]);
  });
});

describe("curves of a comparison", () => {
  test("are means with bands below them, which no run has", () => {
    const { steps, lines } = chartOf(ofGroups(groups), compareView(query("")));
    expect(steps).toEqual([2, 3, 4]);
    expect(lines.map(({ isEdge = false, values }) => [isEdge, values])).toEqual([
      [true, [1, null, 2]],
      [true, [7, null, null]],
      [false, [4, null, 3]],
      [false, [null, 2, null]],
    ]);
    expect(lines.at(-1)!.name).toBe("without arm (1 run)");
    expect(lines.at(-2)!.name).toBe("arm=x (2 runs, 1 more without losses)");
  });

  test("keep their colours when others are hidden, and lie on top when pinned", () => {
    const [x, none] = ofGroups(groups);
    const pinned = chartOf(ofGroups(groups), compareView(query("pin=arm%3Dx")));
    expect(pinned.lines.at(-1)).toMatchObject({ colour: x!.key.colour, width: 4 });
    const hidden = chartOf(ofGroups(groups), compareView(query("hide=arm%3Dx")));
    expect(hidden.lines.map(({ colour }) => colour)).toEqual([none!.key.colour]);
    expect(hidden.steps).toEqual([3]);
    const one = ofGroups({ ...groups, groups: groups.groups.slice(0, 1) });
    expect(one[0]!.key.colour).toBe(x!.key.colour);
  });

  test("end where their run is", () => {
    const log = new RunLog("a");
    log.addCurve([1, 2].map((step) => ({ step, loss: 1 / step, learningRate: 1, words: "" })));
    const key = { name: "a", colour: "#000000", sort: "line" } as const;
    const train = ofRun(log, key, compareView(query("curve=train&smoothing=0")), 1);
    expect(train.on([1, 2, 3])).toEqual([1, 0.5, null]);
    log.candidates = [{ seq: 1, attempt: 1, stage: 0, step: 1, candidate: {}, loss: 3, accuracy: undefined }];
    const best = ofRun(log, key, compareView(query("")), 1);
    expect([best.steps, best.on([1, 2, 3])]).toEqual([[1, 2], [3, 3, null]]);
  });
});
