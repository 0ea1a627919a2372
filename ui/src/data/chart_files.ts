/** What is saved of charts that are not over steps: a row of names, then one for each thing drawn. */

import type { Cells } from "./csv";
import { ENDS } from "./ended";
import type { Lineage } from "./lineage";
import type { LabelScore } from "./messages";
import { int } from "./numbers";
import type { ParallelAxis } from "./parallel";
import type { BudgetUse, ForestChart, PathView, StripChart } from "./report";
import type { EndedHour } from "./services";

/** Every snapshot of a path. */
export function pathRows({ points }: PathView): Cells[] {
  const rows = points.map(({ step, stage, loss, x, y, isRestart, words }) =>
    [step, stage, loss, x, y, isRestart ? "restart" : "", words],
  );
  const directions = ["first direction", "second direction"];
  return [["step", "stage", "train loss", ...directions, "begins with", "words"], ...rows];
}

/** Every stage, candidate and proposal of a lineage, and the ids of what it came of. */
export function lineageRows({ nodes, edges }: Lineage): Cells[] {
  const origins = Map.groupBy(edges, ({ to }) => to);
  const rows = nodes.map(({ id, kind, stage, loss, outcome, words }) => {
    const from = origins.get(id)?.map((edge) => edge.from);
    return [id, kind, stage, loss, outcome, from?.join("; "), words];
  });
  return [["id", "kind", "stage", "loss", "outcome", "came of", "words"], ...rows];
}

/** Runs across parallel axes. */
export function parallelRows(
  runs: readonly { id: string; name: string }[],
  axes: readonly ParallelAxis[],
): Cells[] {
  const rows = runs.map(({ id, name }, run) => [id, name, ...axes.map(({ texts }) => texts[run])]);
  return [["id", "run", ...axes.map(({ name }) => name)], ...rows];
}

/** Differences of an experiment's subject to the other arms. */
export function forestRows({ figure, rows }: ForestChart): Cells[] {
  const names = ["other arm", "task", `difference of ${figure}`, "low end of 95%", "high end of 95%"];
  return [
    [...names, "result", "win rate", "pairs"],
    ...rows.map(({ other, task, mean, low, high, reading, winRate, pairs }) =>
      [other, task || "all, pooled", mean, low, high, reading, winRate, pairs],
    ),
  ];
}

/** Every run of an experiment that is drawn. */
export function stripRows({ figure, panels }: StripChart): Cells[] {
  const rows = panels.flatMap(({ task, strips }) =>
    strips.flatMap(({ arm, dots }) =>
      dots.map(({ runId, variation, seed, value }) => [task, arm, variation, seed, value, runId]),
    ),
  );
  return [["task", "arm", "variation", "seed", figure, "run"], ...rows];
}

/** Rows of each label, by what is predicted for them. */
export function matrixRows(scores: readonly LabelScore[]): Cells[] {
  const rows = scores.map(({ label, guesses }) => [label, ...(guesses ?? []).map(int)]);
  return [["label", ...scores.map(({ label }) => `predicted: ${label ?? ""}`)], ...rows];
}

/** What the arms spent. */
export function budgetRows(uses: readonly BudgetUse[]): Cells[] {
  const rows = uses.map(({ arm, resource, used, limit }) => [arm, resource, used, limit || null]);
  return [["arm", "resource", "used, mean of a run", "limit of a run"], ...rows];
}

/** Runs that ended in each hour. */
export function endedRows(hours: readonly EndedHour[]): Cells[] {
  const rows = hours.map((hour) => [hour.from, ...ENDS.map((end) => hour[end])]);
  return [["hour from", ...ENDS], ...rows];
}
