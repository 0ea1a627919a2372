import { describe, expect, test } from "vitest";
import { budgetPicture, matrixPicture } from "../src/data/cells_picture";
import { type ChartData, chartRows } from "../src/data/chart";
import {
  budgetRows,
  endedRows,
  forestRows,
  lineageRows,
  matrixRows,
  parallelRows,
  pathRows,
  stripRows,
} from "../src/data/chart_files";
import { chartPicture, logTicks } from "../src/data/chart_picture";
import { element, escaped, file, paint } from "../src/data/svg";

const INKS = { surface: "#fff", ink: "#000", muted: "#777", grid: "#eee", accent: "#00f" };
const CHART: ChartData = {
  steps: [1, 2, 4],
  title: "loss",
  isLog: false,
  lines: [
    { name: "train", values: [3, null, 1], colour: "#111111", dash: [7, 4] },
    { name: "best", values: [2, 2, 1], colour: "#222222", isStepped: true },
  ],
  dots: [
    {
      name: "proposal",
      shape: "triangle",
      colour: "#333333",
      points: [
        { step: 2, value: 2 },
        { step: 2, value: 3 },
      ],
    },
    { name: "snapshot", shape: "disc", colour: "#444444", points: [] },
  ],
  rules: [
    { step: 3, name: "restart 1", colour: "#555555", isStrong: true },
    { step: 0, name: "", colour: "#666666", isStrong: false },
  ],
};
const SEEN = { width: 278, height: 132, from: 0, to: 4 };

describe("the rows of a chart over steps", () => {
  test("have each point that is drawn", () => {
    expect(chartRows(CHART)).toEqual([
      ["step", "train", "best", "proposal", "mark"],
      [1, 3, 2, undefined, undefined],
      [2, null, 2, 2, undefined],
      [2, null, null, 3, null],
      [3, null, null, undefined, "restart 1"],
      [4, 1, 1, undefined, undefined],
    ]);
  });

  test("have the place on another axis", () => {
    const { dots: _, rules: __, ...plain } = CHART;
    const along = { name: "forward rows", place: (step: number) => 10 * step };
    expect(chartRows({ ...plain, along })).toEqual([
      ["step", "forward rows", "train", "best"],
      [1, 10, 3, 2],
      [2, 20, null, 2],
      [4, 40, 1, 1],
    ]);
  });
});

describe("the picture of a chart over steps", () => {
  const drawn = (data: Partial<ChartData>, seen = {}) =>
    chartPicture({ ...CHART, ...data }, { ...SEEN, ...seen }, INKS).content;

  test("has lines and stairs, across gaps", () => {
    const found = drawn({});
    expect(found).toContain('d="M106 20.93L256 103.07" stroke="#111111"');
    expect(found).toContain('stroke-dasharray="7 4"');
    expect(found).toContain('d="M106 62H156V62H256V103.07" stroke="#222222"');
  });

  test("has dots, and names of rules", () => {
    const found = drawn({});
    expect(found.match(/fill="#333333"/g)).toHaveLength(2);
    expect(found).toContain('d="M206 16V108" stroke="#555555" stroke-width="1.25"');
    expect(found).toContain(">restart 1</text>");
    expect(drawn({}, { from: 3.5 })).not.toMatch(/#333333|restart 1/);
  });

  test("goes on to the points beside what is seen", () => {
    const found = drawn({ dots: [] }, { from: 1.5, to: 3 });
    expect(found).toContain('d="M-10.67');
    expect(drawn({ dots: [] }, { from: 5, to: 6 })).toContain("#111111");
  });

  test("has a band between the ends of an interval, also on stairs", () => {
    const edge = { name: "end", colour: "#0072b2", isEdge: true, width: 0.5 };
    const lines = [
      { ...edge, values: [1, null, 1] },
      { ...edge, values: [3, null, 2] },
    ];
    const { dots: _, rules: __, ...plain } = CHART;
    const bands = (isStepped: boolean) =>
      chartPicture({ ...plain, lines: lines.map((line) => ({ ...line, isStepped })) }, SEEN, INKS).content;
    const path = /<path d="([^"]*)Z" fill="#0072b2" fill-opacity="0.18"/;
    expect(path.exec(bands(false))![1]).toMatch(/^M106 102.64L256 102.64L256 58L106 13.36$/);
    expect(path.exec(bands(true))![1]).toMatch(/^M106 102.64H256V102.64L256 58V13.36H106$/);
  });

  test("leaves out what a log axis cannot show, and draws a single point", () => {
    const line = { name: "x", colour: "#111111" };
    const found = drawn({ isLog: true, dots: [], lines: [{ ...line, values: [0, -1, 10] }] });
    expect(found).toContain('<circle cx="256" cy="62" r="2.5" fill="#111111"/>');
    expect(found).not.toMatch(/NaN|Infinity/);
  });

  test.each([
    [0.5, 2_000, [1, 10, 100, 1000]],
    [0.9, 12, [1, 2, 5, 10]],
    [1.1, 1.9, [1.2, 1.4, 1.6, 1.8]],
    [1e-300, 1e300, undefined],
  ])("a log axis from %s to %s has few ticks", (low, high, ticks) => {
    const found = logTicks(low, high);
    if (ticks) expect(found).toEqual(ticks);
    expect(found.length).toBeLessThan(12);
  });
});

describe("pictures as files", () => {
  test("text is escaped", () => {
    expect(escaped('<b a="1">&\u0000\ud800')).toBe("&lt;b a=&quot;1&quot;&gt;&amp;\ufffd");
    expect(element("a", { b: '"', c: undefined, d: 1 / 3 })).toBe('<a b="&quot;" d="0.33"/>');
  });

  test("colours are such as every program knows", () => {
    expect(paint("rgb(0, 114, 178)")).toEqual({ colour: "#0072b2", opacity: 1 });
    expect(paint("rgba(1, 2, 3, 0.5)")).toEqual({ colour: "#010203", opacity: 0.5 });
    expect(paint("rgba(0, 0, 0, 0)")).toEqual({ colour: "none", opacity: 0 });
    expect(paint("none")).toEqual({ colour: "none", opacity: 1 });
  });

  test("a file has its title, keys and parts", () => {
    const mark = { width: 20, height: 12, content: "<path/>" };
    const part = { width: 400, height: 100, content: "<circle/>", above: ["y", ""], below: ["", "x"] };
    const found = file("a & b", [[mark, "one"], [mark, "o".repeat(60)]], [part, part], INKS);
    expect(found).toMatch(/^<\?xml [^]*<svg xmlns=[^]*<\/svg>\n$/);
    expect(found).toContain('width="432" height="376"');
    expect(found).toContain("<title>a &amp; b</title>");
    expect(found).toContain(">one</text>");
    expect(found.match(/<circle\/>/g)).toHaveLength(2);
    expect(found).toContain('<text x="416" y="208" text-anchor="end">x</text>');
  });

  test("of a matrix and of budgets have their cells", () => {
    const scores = [
      { label: "a", rows: "4", guesses: ["3", "1"] },
      { label: "b", rows: "0", guesses: ["0", "0"] },
    ];
    const matrix = matrixPicture(scores, INKS);
    expect(matrix.content).toContain('fill="#00f" fill-opacity="0.22"');
    expect(matrix.content).toContain(">3 75.0%</text>");
    expect(matrix.height).toBe(84);
    const use = { arm: "x", resource: "steps", used: 5, limit: 10, text: "5 of 10" };
    const budget = budgetPicture([use, { ...use, arm: "y", limit: 0, text: "7" }], INKS);
    expect(budget.content).toContain(">5 of 10</text>");
    expect(budget.content.match(/height="4"/g)).toHaveLength(2); // one without a limit has no bar
  });
});

describe("what is saved of other charts", () => {
  test("has a row for each thing drawn", () => {
    const point = { step: 1, stage: 0, x: 0.5, y: -1, loss: null, shade: null, words: "w", isRestart: true };
    const path = { points: [point], shares: [1, 0] as [number, number], isLog: false, lowest: null, highest: null, note: "" };
    expect(pathRows(path)[1]).toEqual([1, 0, null, 0.5, -1, "restart", "w"]);

    const node = { kind: "proposal" as const, stage: 0, words: "", loss: 0.5, outcome: "applied" };
    const edges = ["a", "b"].map((from) => ({ from, to: "c", kind: "parent" as const }));
    const nodes = ["a", "c"].map((id) => ({ id, ...node }));
    const graph = { nodes, edges, hiddenStages: 0, hiddenProposals: 0 };
    expect(lineageRows(graph)[2]).toEqual(["c", "proposal", 0, 0.5, "applied", "a; b", ""]);

    const axis = { name: "rate", isResult: false, texts: ["1", "2"], places: [0, 1], marks: [] };
    const runs = [{ id: "r", name: "one" }];
    expect(parallelRows(runs, [axis])).toEqual([["id", "run", "rate"], ["r", "one", "1"]]);

    const row = { label: "", other: "none", task: "", mean: -0.5, low: null, high: null };
    const said = { reading: "better", difference: "", winRate: "1 of 2", pairs: 2 };
    const forest = { figure: "loss", subject: "s", low: 0, high: 1, rows: [{ ...row, ...said }] };
    expect(forestRows(forest)[1]).toEqual(["none", "all, pooled", -0.5, null, null, "better", "1 of 2", 2]);

    const dot = { runId: "r", variation: "v", seed: 3, value: 0.5, lift: 0 };
    const strip = { arm: "x", isSubject: true, runs: 1, mean: 0.5, dots: [dot] };
    const strips = { figure: "loss", tasks: 1, panels: [{ task: "t", low: 0, high: 1, strips: [strip] }] };
    expect(stripRows(strips)[1]).toEqual(["t", "x", "v", 3, 0.5, "r"]);

    expect(matrixRows([{ label: "a", guesses: ["3"] }])).toEqual([["label", "predicted: a"], ["a", 3]]);
    const use = { arm: "x", resource: "steps", used: 5, limit: 0, text: "" };
    expect(budgetRows([use])[1]).toEqual(["x", "steps", 5, null]);
    const hour = { from: "2026-01-02T03:00:00Z", succeeded: 1, failed: 2, cancelled: 3 };
    expect(endedRows([hour])[1]).toEqual([hour.from, 1, 2, 3]);
  });
});
