import { describe, expect, test } from "vitest";
import { againCall, againPython, pythonText } from "../src/data/again";
import { againCommand, downloadCommand, plannedSteps, quoted, specFields } from "../src/data/spec";

const spec = {
  objective: {
    labelPrompt: { nTokens: "8", initialText: "8", projection: { metric: "METRIC_COSINE" } },
  },
  task: { labels: ["it's", "$HOME"] },
  mentor: { name: "default", options: { some_option: 3 } },
  acceptance: { policy: "POLICY_BEST_OF" },
  budget: {},
  seed: "1",
  checkpointInterval: "10s",
  labels: { "a.b": "c d" },
};

describe("a spec", () => {
  test("is listed by field", () => {
    const found = specFields(spec).map(({ path, value }) => [path, value]);
    expect(found).toEqual([
      ["objective.label_prompt.n_tokens", 8],
      ["objective.label_prompt.initial_text", "8"],
      ["objective.label_prompt.projection.metric", "cosine"],
      ["task.labels", ["it's", "$HOME"]],
      ["mentor.name", "default"],
      ["mentor.options", { some_option: 3 }],
      ["acceptance.policy", "best_of"],
      ["seed", 1],
      ["checkpoint_interval", "10s"],
      ["labels", { "a.b": "c d" }],
    ]);
  });

  test("is a command that a shell reads as it is", () => {
    const lines = againCommand(spec, "host:1").split(" \\\n  ");
    expect(lines.slice(0, 4)).toEqual([
      "mentorgrad run",
      "--server host:1",
      "--objective label_prompt",
      "--set objective.label_prompt.n_tokens=8",
    ]);
    expect(lines).toContain(`--set 'task.labels=["it'"'"'s","$HOME"]'`);
    expect(lines).toContain("--label 'a.b=c d'");
    expect(againCommand({}, "127.0.0.1:50551")).toBe("mentorgrad run");
    expect(downloadCommand("r", "")).toBe("mentorgrad runs download r --into r");
  });

  test("is a program of the SDK", () => {
    const lines = againPython(spec, "host:1").split("\n");
    expect(lines).toContain("spec = from_dict(RunSpec, {");
    expect(lines).toContain('            "n_tokens": 8,');
    expect(lines).toContain('                "metric": "cosine",');
    expect(lines).toContain('    "budget": {},');
    expect(lines).toContain('            "some_option": 3,');
    expect(lines).toContain('        "a.b": "c d",');
    expect(pythonText({ a: [true, null, 0.5, 'it"s'] })).toBe(
      '{\n    "a": [\n        True,\n        None,\n        0.5,\n        "it\\"s",\n    ],\n}',
    );
  });

  test("is a call of buf", () => {
    const call = againCall(spec, "host:1");
    expect(call).toContain("http://host:1/mentorgrad.v1.TrainerService/CreateRun");
    expect(call).toContain(`"it'"'"'s"`);
    expect(call).toContain('"policy": "POLICY_BEST_OF"');
  });

  test("says how many steps are planned", () => {
    expect(plannedSteps({ stages: { count: "4", steps: "30" } })).toBe(120);
    expect(plannedSteps({ stages: { count: "4", steps: "30", firstSteps: "0" } })).toBe(90);
    expect(
      plannedSteps({ budget: { gradientSteps: "7" }, stages: { count: "4", steps: "30" } }),
    ).toBe(7);
    expect(plannedSteps({})).toBe(0);
  });

  test("quotes words", () => {
    expect([quoted("a.b=1"), quoted("a b"), quoted("")]).toEqual(["a.b=1", "'a b'", "''"]);
  });
});
