/** What stands in the charts of a run beside curves: stages, restarts, resumes and candidates. */

import type { Dots, Key, Rule, Shape } from "../../data/chart";
import { int } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import type { ScoredCandidate } from "../../data/run_parts";
import { source } from "../../data/words";
import { colour } from "../../parts/scheme";

const SHAPES: { [source: string]: Shape } = {
  snapshot: "disc",
  projection: "ring",
  proposal: "triangle",
};
const NAMES: { [source: string]: string } = {
  snapshot: "snapshot",
  projection: "in words",
  proposal: "proposal",
};

/** Stages, restarts and resumes. */
export function rules(log: RunLog): Rule[] {
  const marks = log.stages.map((mark) => ({
    step: mark.step,
    name: mark.isRestart ? `▲ restart ${mark.stage}` : mark.stage > 0 ? `stage ${mark.stage}` : "",
    colour: colour(mark.isRestart ? "--restart" : "--muted"),
    isStrong: mark.isRestart,
  }));
  const resumed = log.attempts.slice(1).map((attempt) => ({
    step: stepAt(log, attempt.checkpoint),
    name: `⚡ attempt ${attempt.attempt}`,
    colour: colour("--warn"),
    isStrong: false,
  }));
  return [...marks, ...resumed];
}

/** The step of a checkpoint, by its sequence number. */
function stepAt(log: RunLog, seq: number): number {
  const entry = log.entries.find((item) => item.seq === seq);
  return int(entry?.event.checkpointSaved?.step);
}

/** Candidates, by where they come from. */
export function dots(log: RunLog, value: (item: ScoredCandidate) => number | undefined): Dots[] {
  return Object.entries(SHAPES).map(([name, shape]) => ({
    name: NAMES[name]!,
    shape,
    colour: colour(`--${name}`),
    points: log.candidates.flatMap((item) => {
      const found = source(item.candidate.source) === name ? value(item) : undefined;
      return found === undefined ? [] : [{ step: item.step, value: found }];
    }),
  }));
}

export function dotKeys(log: RunLog): Key[] {
  const present = new Set(log.candidates.map((item) => source(item.candidate.source)));
  return Object.entries(SHAPES)
    .filter(([name]) => present.has(name))
    .map(([name, sort]) => ({ name: NAMES[name]!, sort, colour: colour(`--${name}`) }));
}

export function ruleKeys(log: RunLog): Key[] {
  const keys: Key[] = [];
  if (log.stages.length > 1)
    keys.push({ name: "stage", sort: "dashed", colour: colour("--muted") });
  if (log.restarts > 0) keys.push({ name: "restart", sort: "rule", colour: colour("--restart") });
  if (log.attempts.length > 1)
    keys.push({ name: "resumed", sort: "dashed", colour: colour("--warn") });
  return keys;
}
