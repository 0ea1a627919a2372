/** What the address of a comparison says beside its runs: which curves, grouped by what. */

import { changed, idsIn } from "./address";

/** Name → what is drawn. */
export const CURVES = {
  best: "best selection loss so far",
  train: "train loss",
} as const;

export type CurveName = keyof typeof CURVES;

/** Runs that are compared at most. */
export const MOST_COMPARED = 20;

const SMOOTHING = 0.8;

export interface CompareView {
  curve: CurveName;
  /** Name of the label that runs are grouped by; empty: each has its own curve. */
  group: string;
  isLog: boolean;
  /** Of the train losses of single runs. */
  smoothing: number;
  /** Ids of curves: a run's, or a group's, see `groupId`. */
  hidden: readonly string[];
  pinned: readonly string[];
}

/** The view of an address; what it does not say is as at first. */
export function compareView(query: URLSearchParams): CompareView {
  const smoothing = Number.parseFloat(query.get("smoothing") ?? "");
  return {
    curve: query.get("curve") === "train" ? "train" : "best",
    group: query.get("group") ?? "",
    isLog: query.get("log") === "1",
    smoothing: smoothing >= 0 && smoothing < 1 ? smoothing : SMOOTHING,
    hidden: idsIn(query, "hide"),
    pinned: idsIn(query, "pin"),
  };
}

/** The address of a comparison with some parameters changed; an empty value removes one. */
export function withView(query: URLSearchParams, values: { [name: string]: string }): string {
  return `/compare${changed(query, values)}`;
}

/** The id of a group in an address. It is none of a run, and has no comma, which separates ids. */
export function groupId(label: string, name: string): string {
  return `${encodeURIComponent(label)}=${encodeURIComponent(name)}`;
}

/** The names of the labels that any of the runs has, and the chosen one. */
export function labelNames(
  runs: readonly { labels?: { [name: string]: string } }[],
  chosen: string,
): string[] {
  const names = new Set(runs.flatMap(({ labels }) => Object.keys(labels ?? {})));
  if (chosen) names.add(chosen);
  return [...names].sort();
}
