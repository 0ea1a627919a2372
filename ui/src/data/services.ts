/** The services, and what they are busy with: messages of the contract, and of the page’s own API. */

import type { Failure, Int, LabelScore, Real, Run } from "./messages";

/** What a trainer offers. */
export interface Trainer {
  version?: string;
  devices?: string[];
  objectives?: string[];
  functions?: string[];
  tasks?: string[];
  optimizers?: string[];
  mentors?: MentorEntry[];
  workerSlots?: Int;
  queuedRuns?: Int;
  queueLimit?: Int;
  tunedModels?: string[];
  uploadLimitBytes?: Int;
}

export interface MentorEntry {
  name?: string;
  available?: boolean;
  model?: string;
}

export interface Services {
  server: string;
  answers: boolean;
  login: boolean;
  version: string;
  trainer: Trainer | null;
  error?: Failure;
}

export interface Agent {
  name?: string;
  service?: string;
  host?: string;
  version?: string;
  devices?: string[];
  slots?: Int;
  labels?: { [name: string]: string };
  mentors?: string[];
  runIds?: string[];
  isDraining?: boolean;
  startedAt?: string;
  seenAt?: string;
  /** Whether it has reported lately; of the page's own API. */
  isAlive: boolean;
}

/** What the services are busy with, in the page's own API. */
export interface ServicesWork {
  /** Null: the trainer is of a version that lists none. */
  agents: Agent[] | null;
  running: Run[];
  /** With why nobody executes a run; empty: it has to wait for its turn. */
  waiting: (Run & { waits: string })[];
  ended: { hours: EndedHour[]; isPartial: boolean };
}

export interface PredictorInfo {
  labels?: string[];
  paired?: boolean;
  use?: string;
  objective?: string;
  model?: string;
  runId?: string;
  version?: string;
  /** Columns of the run's own files, by their use. */
  columns?: { [use: string]: string };
}

export interface Prediction {
  label?: string;
  probabilities?: Real[];
  isCut?: boolean;
}

/** Texts whose labels are known. */
export interface LabelledRows {
  texts: string[];
  labels: string[];
  pairs?: string[];
}

/** Predictions for such texts: the scores of each label, and the most confident errors. */
export interface Compared {
  labelScores: LabelScore[];
  rows: number;
  wrong: number;
  errors: { row: number; label: string; predicted: string; probability: number }[];
}

/** How many runs ended in an hour. */
export interface EndedHour {
  from: string;
  succeeded: number;
  failed: number;
  cancelled: number;
}
