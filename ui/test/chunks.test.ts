import { describe, expect, test } from "vitest";
import { idsOf, offset, total, unread, withPage } from "../src/data/chunks";

describe("a list in chunks", () => {
  const one = withPage(unread(""), 0, "", ["a", "b"], "t1");
  const two = withPage(one, 1, "t1", ["c"], "");

  test("grows by the page after the last", () => {
    expect(one.map(({ token }) => token)).toEqual(["", "t1"]);
    expect(total(one)).toBeUndefined();
    expect(two).toHaveLength(2);
    expect([total(two), offset(two, 1), idsOf(two)]).toEqual([3, 2, ["a", "b", "c"]]);
  });

  test("is the same if a page is", () => {
    expect(withPage(two, 0, "", ["a", "b"], "t1")).toBe(two);
    expect(withPage(two, 1, "an old token", ["x"], "")).toBe(two);
    expect(withPage(two, 7, "", ["x"], "")).toBe(two);
  });

  test("has no gap when rows come in front", () => {
    const moved = withPage(two, 0, "", ["new", "a"], "t2");
    expect(moved.map(({ token }) => token)).toEqual(["", "t2"]);
    expect(moved[1]!.ids).toEqual(["c"]); // until it is read again, by its new token
    expect(total(moved)).toBeUndefined();
    const again = withPage(moved, 1, "t2", ["b", "c"], "");
    expect([total(again), idsOf(again)]).toEqual([4, ["new", "a", "b", "c"]]);
  });

  test("shrinks when there are fewer pages", () => {
    expect(withPage(two, 0, "", ["a"], "")).toEqual([
      { token: "", ids: ["a"], isStale: false },
    ]);
  });
});
