import { describe, expect, test } from "vitest";
import { sparkPath, sparkText } from "../src/data/spark";

describe("a small line", () => {
  test("falls where the loss does", () => {
    const line = { steps: ["10", "20", "30"], losses: [0.9, 0.7, 0.5] };
    expect(sparkPath(line, 80, 20)).toBe("M0 0H0V0H40V10H80V20");
    expect(sparkText(line)).toBe(
      "best loss so far: from 0.9000 at step 10 to 0.5000 at step 30, 3 points",
    );
  });

  test("is drawn of any numbers", () => {
    const line = { steps: [1, 2, 3], losses: [1.7e308, 0, -1.7e308] };
    expect(sparkPath(line, 80, 20)).toBe("M0 0H0V0H40V10H80V20");
  });

  test("of one point, or of equal losses, is level", () => {
    expect(sparkPath({ steps: ["3"], losses: [0.5] }, 80, 20)).toBe("M0 20H80V20");
    expect(sparkPath({ steps: [1, 2], losses: [1, 1] }, 80, 20)).toBe("M0 20H0V20H80V20");
    expect(sparkText({ steps: ["3"], losses: [0.5] })).toBe("best loss so far: 0.5000 at step 3");
  });

  test("of nothing is none", () => {
    expect([sparkPath({}, 80, 20), sparkText({})]).toEqual(["", ""]);
  });
});
