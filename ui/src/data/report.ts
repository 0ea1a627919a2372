/**
 * The views of `mentorgrad.reports`, as the page's service sends them: texts, tables and coordinates.
 * A test compares the names of their fields with those of the dataclasses.
 */

import type { Int } from "./messages";

/** A part of a sentence. */
export interface TextPart {
  text: string;
  isName: boolean;
}

export interface ReportTable {
  title: string;
  columns: string[];
  rows: string[][];
  note: string;
}

export interface ForestRow {
  label: string;
  other: string;
  /** Empty: pooled over all tasks. */
  task: string;
  mean: number | null;
  low: number | null;
  high: number | null;
  reading: string;
  difference: string;
  winRate: string;
  pairs: number;
}

export interface ForestChart {
  figure: string;
  subject: string;
  rows: ForestRow[];
  low: number;
  high: number;
}

export interface Dot {
  runId: string;
  variation: string;
  seed: number;
  value: number;
  /** Across the strip, in rows from its middle. */
  lift: number;
}

export interface Strip {
  arm: string;
  isSubject: boolean;
  runs: number;
  mean: number | null;
  dots: Dot[];
}

export interface StripPanel {
  task: string;
  low: number;
  high: number;
  strips: Strip[];
}

export interface StripChart {
  figure: string;
  /** All of them; the first have a panel. */
  tasks: number;
  panels: StripPanel[];
}

export interface GridCell {
  task: string;
  mean: string;
  succeeded: number;
  failed: number;
  running: number;
  planned: number;
}

export interface GridRow {
  arm: string;
  isSubject: boolean;
  cells: GridCell[];
}

export interface SeedRun {
  /** Empty: there is no such run yet. */
  runId: string;
  state: string;
  figure: string;
}

export interface SeedRow {
  task: string;
  variation: string;
  seed: number;
  runs: SeedRun[];
}

export interface SeedTable {
  arms: string[];
  rows: SeedRow[];
  total: number;
}

export interface BudgetUse {
  arm: string;
  resource: string;
  used: number;
  /** 0: no limit. */
  limit: number;
  text: string;
}

export interface Failure {
  runId: string;
  arm: string;
  task: string;
  variation: string;
  seed: number;
  state: string;
  reason: string;
}

export interface ReportView {
  experimentId: string;
  title: string;
  description: string;
  isComplete: boolean;
  subject: string;
  figure: string;
  claim: TextPart[];
  grounds: TextPart[];
  forest: ForestChart | null;
  strips: StripChart | null;
  grid: GridRow[];
  seeds: SeedTable;
  budgets: BudgetUse[];
  failures: Failure[];
  failed: number;
  beside: ReportTable[];
  results: ReportTable[];
  conditions: ReportTable[];
}

export interface PathPoint {
  step: number;
  stage: number;
  x: number;
  y: number;
  loss: number | null;
  /** From 0, the lowest loss, to 1, the highest. */
  shade: number | null;
  words: string;
  isRestart: boolean;
}

export interface PathView {
  points: PathPoint[];
  shares: [number, number];
  isLog: boolean;
  lowest: number | null;
  highest: number | null;
  note: string;
}

/** The mean curve of a group of runs; its columns have one entry per step. */
export interface GroupCurve {
  /** Value of the label; empty: the runs without it. */
  name: string;
  runs: string[];
  /** Runs without any loss. */
  missing: number;
  steps: number[];
  means: (number | null)[];
  /** Ends of the 95 % interval; null: of one run there is none. */
  lows: (number | null)[];
  highs: (number | null)[];
}

export interface GroupsView {
  label: string;
  groups: GroupCurve[];
}

interface Named {
  name?: string;
}

/** The message `Experiment`; of its spec, names alone. */
export interface Experiment {
  experimentId: string;
  spec?: {
    name?: string;
    description?: string;
    tasks?: Named[];
    variations?: Named[];
    arms?: Named[];
    seeds?: Int[];
    subject?: string;
  };
  state?: string;
  createdAt?: string;
  finishedAt?: string;
  progress?: {
    total?: Int;
    waiting?: Int;
    running?: Int;
    succeeded?: Int;
    failed?: Int;
    tuning?: boolean;
    timeLeft?: string;
  };
  reason?: string;
  owner?: string;
}
