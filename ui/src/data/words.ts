/** Names of the contract as words: enums, field names, titles of runs. */

import type { Run, Spec } from "./messages";

/** `RUN_STATE_RUNNING` → `running`; unspecified or absent: empty. */
export function member(value: string | undefined, prefix: string): string {
  if (value === undefined || value.endsWith("_UNSPECIFIED")) return "";
  return value.replace(prefix, "").toLowerCase().replaceAll("_", " ");
}

export const state = (value: string | undefined) => member(value, "RUN_STATE_") || "unknown";
export const experimentState = (value: string | undefined) =>
  member(value, "EXPERIMENT_STATE_") || "unknown";
export const source = (value: string | undefined) => member(value, "CANDIDATE_SOURCE_");
export const answerStatus = (value: string | undefined) => member(value, "ANSWER_STATUS_");
export const outcome = (value: string | undefined) => member(value, "PROPOSAL_STATUS_");
export const policy = (value: string | undefined) => member(value, "POLICY_");

export const STATES = [
  "queued",
  "running",
  "paused",
  "succeeded",
  "failed",
  "cancelled",
  "interrupted",
] as const;

const FINAL: ReadonlySet<string> = new Set(["succeeded", "failed", "cancelled"]);

/** Whether a run in this state has no further events. */
export function isFinal(name: string): boolean {
  return FINAL.has(name);
}

/** `labelPrompt` → `label_prompt`. */
export function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** What is optimised: `label_prompt on tickets`, or `rastrigin, 4 dimensions`. */
export function subject(spec: Spec | undefined): string {
  const [kind, fields] = Object.entries(spec?.objective ?? {})[0] ?? ["", {}];
  if (kind === "function") return `${fields.name}, ${fields.dimensions} dimensions`;
  if (kind === "external") return String(fields.name ?? "external");
  const task = spec?.task?.name;
  return task ? `${snake(kind)} on ${task}` : snake(kind);
}

/** A name that somebody has given; empty if nothing of it can be seen, such as spaces. */
export function visible(name: string | undefined): string {
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(name ?? "") ? name! : "";
}

/** The run's display name; without one, what it optimises. */
export function title(run: Pick<Run, "spec">): string {
  return visible(run.spec?.name) || subject(run.spec) || "run";
}

/** The end of an id, which tells runs of one day apart. */
export function shortId(runId: string): string {
  return runId.length > 10 ? `…${runId.slice(-8)}` : runId;
}
