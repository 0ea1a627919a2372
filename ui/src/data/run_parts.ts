/** What a run's log consists of, once folded. */

import type { Answer, Candidate, Decision, Payloads, RunEvent } from "./messages";

/** What an entry of the fold came from. */
export interface Origin {
  seq: number;
  attempt: number;
}

export interface StageMark extends Origin {
  stage: number;
  step: number;
  text: string;
  device: string;
  /** Whether the stage goes on from a proposal. */
  isRestart: boolean;
}

export interface ScoredCandidate extends Origin {
  stage: number;
  step: number;
  candidate: Candidate;
  loss: number;
  accuracy: number | undefined;
}

export interface Question extends Origin {
  stage: number;
  time: string;
  answer: Answer;
  isFallback: boolean;
  lagSteps: number;
}

export interface Decided extends Origin {
  stage: number;
  decision: Decision;
}

export interface Attempt {
  attempt: number;
  /** Time of its first event. */
  from: string;
  /** Time of its last event. */
  until: string;
  /** Why the attempt before it stopped; undefined for the first. */
  reason: string | undefined;
  /** Sequence number of the checkpoint that it went on from; 0: from the beginning. */
  checkpoint: number;
}

export type Kind = keyof Payloads;

/** An event of the log, or consecutive segments as one. */
export interface Entry extends Origin {
  time: string;
  kind: Kind;
  event: RunEvent;
  /** Whether a later attempt went on from before it. */
  isSuperseded: boolean;
}

/** What the run had cost after a step. */
export interface Spent extends Origin {
  step: number;
  forwardRows: number;
  evaluations: number;
  /** Of training. */
  seconds: number;
  /** Seconds by the clock since the run was started, with its pauses. */
  since: number;
}

/** The effective points of the trajectory, as columns. */
export interface Points {
  step: number[];
  loss: number[];
  learningRate: number[];
}
