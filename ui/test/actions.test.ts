import { describe, expect, test } from "vitest";
import {
  allowed,
  editsTo,
  labelLines,
  labelsOf,
  namesOf,
  outcomeOf,
} from "../src/data/actions";

describe("actions", () => {
  test("depend on the state", () => {
    expect(allowed("running")).toEqual(["pause", "finish", "cancel"]);
    expect(allowed("queued")).toEqual(["pause", "cancel"]);
    for (const state of ["paused", "interrupted"])
      expect(allowed(state)).toEqual(["resume", "cancel"]);
    for (const state of ["succeeded", "failed", "cancelled", "unknown"])
      expect(allowed(state)).toEqual([]);
  });

  test("tell what became of each run", () => {
    const error = { reason: "TRANSITION_FORBIDDEN", message: "it has ended", field: "" };
    const request = { action: "cancel" as const, run_ids: ["a", "b"] };
    expect(outcomeOf(request, [{ runId: "a" }, { runId: "b", error }])).toEqual({
      text: "1 run will be cancelled.",
      problems: ["b: it has ended"],
    });
    expect(outcomeOf(request, [{ runId: "b", error }]).text).toBe("");
  });
});

describe("labels", () => {
  test("are lines of text", () => {
    const labels = { b: "2 = two", a: "" };
    expect(labelLines(labels)).toBe("a=\nb=2 = two");
    expect(labelsOf(labelLines(labels))).toEqual(labels);
    expect(labelsOf(" a b = c \n\n")).toEqual({ "a b": "c" });
    for (const text of ["a", "=b", " = b"]) expect(() => labelsOf(text)).toThrow("name=value");
  });

  test("are edited by their differences", () => {
    const before = { labels: { a: "1", b: "2" }, note: "n" };
    expect(editsTo(before, { labels: { a: "1", c: "3" }, note: "" })).toEqual({
      labels: { c: "3" },
      remove_labels: ["b"],
      note: "",
    });
    expect(editsTo(before, { labels: { b: "2", a: "1" }, note: "n" })).toBeUndefined();
  });

  test("are removed by name", () => {
    expect(namesOf("a, b\n a\n\n")).toEqual(["a", "b"]);
  });
});
