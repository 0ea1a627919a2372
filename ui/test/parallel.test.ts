import { describe, expect, test } from "vitest";
import { fieldAxes, resultAxis, strokes } from "../src/data/parallel";

const DIFFERENCES = [
  { field: "labels.arm", values: ['"a"', '"b"', '"c"'] },
  { field: "mentor.name", values: ['"none"', '"small"', '"none"'] },
  { field: "optimizer.learning_rate", values: ["0.001", "0.1", "0.01"] },
  { field: "budget.evaluations", values: ["10", "null", "20"] },
];

describe("parallel axes", () => {
  test("numbers have a scale, names a place each, and labels no axis", () => {
    const [mentor, rate, evaluations] = fieldAxes(DIFFERENCES);
    expect([mentor!.name, mentor!.places]).toEqual(["mentor.name", [0, 1, 0]]);
    expect(mentor!.marks.map(({ text }) => text)).toEqual(["none", "small"]);
    expect(rate!.name).toBe("optimizer.learning_rate (log)");
    expect(rate!.places[2]).toBeCloseTo(0.5);
    expect([rate!.places[0], rate!.places[1]]).toEqual([0, 1]);
    expect(evaluations!.places).toEqual([0, undefined, 1]);
    expect(evaluations!.texts).toEqual(["10", "–", "20"]);
  });

  test("results need two runs", () => {
    expect(resultAxis("loss", [1, undefined, Number.NaN], String)).toBeUndefined();
    const same = resultAxis("loss", [2, 2], String)!;
    expect([same.isResult, same.places, same.marks]).toEqual([
      true,
      [0.5, 0.5],
      [{ text: "2", place: 0.5 }],
    ]);
  });

  test("are drawn of any numbers", () => {
    const wide = resultAxis("loss", [1.7e308, 0, -1.7e308], String)!;
    expect(wide.places).toEqual([1, 0.5, 0]);
  });

  test("a line is broken where there is no value", () => {
    const axes = fieldAxes([DIFFERENCES[1]!, DIFFERENCES[3]!, DIFFERENCES[2]!]);
    expect(strokes(axes, 1)).toEqual([[[0, 1]], [[2, 1]]]);
    expect(strokes(axes, 0)).toEqual([[[0, 0], [1, 0], [2, 0]]]);
  });
});
