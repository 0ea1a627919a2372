/** What a visitor may do with runs, and what became of it. */

import type { Failure, Run } from "./messages";
import { counted } from "./numbers";

/** An action that needs nothing but the runs. */
export type StateAction = "pause" | "resume" | "finish" | "cancel";

/** Changes of labels and note; absent fields stay as they are. */
export interface Edits {
  labels?: { [name: string]: string };
  remove_labels?: string[];
  note?: string;
}

export type ActionRequest =
  | { action: StateAction; run_ids: readonly string[] }
  | { action: "update"; run_ids: readonly string[]; update: Edits };

export interface ActionResult {
  runId: string;
  run?: Run;
  error?: Failure;
}

interface Said {
  /** On its button. */
  name: string;
  /** What happens to the runs, after their number. */
  becomes: string;
  /** What a visitor is asked, with the runs. */
  question: (runs: string) => string;
  /** The button that answers it. */
  sure: string;
  /** What a visitor has to confirm; empty: nothing. */
  warning: string;
}

export const ACTIONS: { [action in StateAction]: Said } = {
  pause: {
    name: "Pause",
    becomes: "will be paused",
    question: (runs) => `Pause ${runs}?`,
    sure: "Pause",
    warning: "",
  },
  resume: {
    name: "Resume",
    becomes: "will be resumed",
    question: (runs) => `Resume ${runs}?`,
    sure: "Resume",
    warning: "",
  },
  finish: {
    name: "End early",
    becomes: "will be ended with a result",
    question: (runs) => `End ${runs} early?`,
    sure: "End early",
    warning: "It takes no further step; its best candidate so far is tested. This cannot be undone.",
  },
  cancel: {
    name: "Cancel",
    becomes: "will be cancelled",
    question: (runs) => `Cancel ${runs}?`,
    sure: "Yes, cancel",
    warning: "It ends without a result, and cannot be resumed.",
  },
};

const ALLOWED: { [state: string]: StateAction[] } = {
  queued: ["pause", "cancel"],
  running: ["pause", "finish", "cancel"],
  paused: ["resume", "cancel"],
  interrupted: ["resume", "cancel"],
};

/** The actions that a run's state allows. */
export function allowed(state: string): StateAction[] {
  return ALLOWED[state] ?? [];
}

/** What became of an action: a line, and a line for each run that was not changed. */
export function outcomeOf(
  request: ActionRequest,
  results: readonly ActionResult[],
): { text: string; problems: string[] } {
  const refused = results.filter(({ error }) => error !== undefined);
  const done = results.length - refused.length;
  const becomes = request.action === "update" ? "edited" : ACTIONS[request.action].becomes;
  return {
    text: done > 0 ? `${counted(done, "run")} ${becomes}.` : "",
    problems: refused.map(({ runId, error }) => {
      const message = error?.message ?? "";
      return message.includes(runId) ? message : `${runId}: ${message}`;
    }),
  };
}

/** Labels as text, one a line. */
export function labelLines(labels: { [name: string]: string }): string {
  const lines = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return lines.sort().join("\n");
}

/**
 * Labels of a text with one a line.
 *
 * @throws Error A line is no label.
 */
export function labelsOf(text: string): { [name: string]: string } {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, value] = /^\s*([^=]*[^=\s])\s*=\s*(.*?)\s*$/.exec(line) ?? [];
      if (name === undefined || value === undefined)
        throw new Error(`“${line.trim()}” is no label; write name=value`);
      return [name, value];
    }),
  );
}

/** The edits from some labels and note to others; undefined: there is no difference. */
export function editsTo(
  before: { labels: { [name: string]: string }; note: string },
  after: { labels: { [name: string]: string }; note: string },
): Edits | undefined {
  const labels = Object.entries(after.labels).filter(([key, value]) => before.labels[key] !== value);
  const removed = Object.keys(before.labels).filter((key) => !(key in after.labels));
  const edits: Edits = {};
  if (labels.length > 0) edits.labels = Object.fromEntries(labels);
  if (removed.length > 0) edits.remove_labels = removed;
  if (after.note !== before.note) edits.note = after.note;
  return Object.keys(edits).length > 0 ? edits : undefined;
}

/** Names of a text with one a line or separated by commas. */
export function namesOf(text: string): string[] {
  return [...new Set(text.split(/[,\n]/).map((name) => name.trim()))].filter(Boolean);
}
