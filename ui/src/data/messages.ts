/**
 * The messages of the gRPC contract that the page reads, in protobuf's JSON mapping: 64-bit
 * integers are strings, numbers that are not finite are "NaN", "Infinity" and "-Infinity", and
 * fields with their default are absent. `protos/mentorgrad/v1` says what each field means.
 */

export type Int = string | number;
export type Real = number | "NaN" | "Infinity" | "-Infinity";
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Fields = { [name: string]: Json };

export interface Spec {
  objective?: { [kind: string]: Fields };
  task?: Fields;
  optimizer?: Fields;
  stages?: { count?: Int; steps?: Int; firstSteps?: Int };
  mentor?: { name?: string; strategy?: string };
  budget?: { gradientSteps?: Int; evaluations?: Int; forwardRows?: Int };
  seed?: Int;
  name?: string;
  labels?: { [name: string]: string };
}

export interface Score {
  loss?: Real;
  accuracy?: Real;
  rows?: Int;
  macroF1?: Real;
  matthews?: Real;
}

export interface Candidate {
  candidateId?: string;
  source?: string;
  stage?: Int;
  step?: Int;
  text?: string;
  towardText?: string;
  positionsChanged?: Int;
  projectionDistance?: Real;
  parents?: string[];
  score?: Score;
  settings?: Fields;
  probeLoss?: Real;
}

export interface Usage {
  gradientSteps?: Int;
  probeSteps?: Int;
  evaluations?: Int;
  mentorCalls?: Int;
  usableAnswers?: Int;
  fallbacks?: Int;
  promptTokens?: Int;
  replyTokens?: Int;
  mentorTime?: string;
  trainTime?: string;
  forwardRows?: Int;
}

export interface Baseline {
  name?: string;
  test?: Score;
  labelledRows?: Int;
  detail?: string;
}

export interface Result {
  returned?: Candidate;
  test?: Score;
  zeroShot?: Score;
  majorityAccuracy?: Real;
  restartsApplied?: Int;
  usage?: Usage;
  baselines?: Baseline[];
}

export interface LabelScore {
  label?: string;
  rows?: Int;
  predicted?: Int;
  precision?: Real;
  recall?: Real;
  f1?: Real;
  guesses?: Int[];
}

export interface LossLine {
  steps?: Int[];
  losses?: Real[];
}

export interface Run {
  runId: string;
  spec?: Spec;
  state?: string;
  createdAt?: string;
  startedAt?: string;
  finishedAt?: string;
  attempt?: Int;
  lastSeq?: Int;
  stage?: Int;
  step?: Int;
  trainLoss?: Real;
  bestSelectionLoss?: Real;
  restartsApplied?: Int;
  usage?: Usage;
  versions?: { [name: string]: string };
  result?: Result;
  reason?: string;
  owner?: string;
  project?: string;
  labels?: { [name: string]: string };
  note?: string;
  lossLine?: LossLine;
}

export interface Snapshot {
  step?: Int;
  trainLoss?: Real;
  learningRate?: Real;
  text?: string;
}

export interface Proposal {
  proposalId?: string;
  text?: string;
  values?: Real[];
  rationale?: string;
  parents?: string[];
  baseId?: string;
  settings?: Fields;
}

export interface AnswerRecord {
  mentor?: string;
  strategy?: string;
  model?: string;
  profile?: string;
  seed?: Int;
  question?: string;
  rawReplies?: string[];
  promptTokens?: Int;
  replyTokens?: Int;
  duration?: string;
}

export interface Answer {
  requestId?: string;
  status?: string;
  proposals?: Proposal[];
  records?: AnswerRecord[];
  detail?: string;
}

export interface Outcome {
  proposalId?: string;
  status?: string;
  score?: Score;
  probeLoss?: Real;
  detail?: string;
}

export interface Branch {
  candidateId?: string;
  lossBefore?: Real;
  lossAfter?: Real;
}

export interface Decision {
  stage?: Int;
  policy?: string;
  restarted?: boolean;
  chosenId?: string;
  incumbentId?: string;
  branches?: Branch[];
  outcomes?: Outcome[];
  reason?: string;
  usage?: Usage;
}

export interface Payloads {
  created: { spec?: Spec; versions?: { [name: string]: string } };
  stateChanged: { state?: string; reason?: string };
  stageStarted: { stage?: Int; step?: Int; text?: string; device?: string };
  segment: {
    stage?: Int;
    stepStart?: Int;
    stepEnd?: Int;
    snapshots?: Snapshot[];
    forwardRows?: Int;
    trainTime?: string;
  };
  candidatesScored: { stage?: Int; candidates?: Candidate[]; usage?: Usage };
  proposalsReceived: {
    stage?: Int;
    answer?: Answer;
    isFallback?: boolean;
    usage?: Usage;
    lagSteps?: Int;
  };
  restartDecided: Decision;
  checkpointSaved: { step?: Int; sizeBytes?: Int };
  stepDivided: { rowsAtOnce?: Int };
  mentorLost: { mentor?: string; reason?: string };
  mentorBack: { mentor?: string };
  resumed: { checkpointSeq?: Int; reason?: string };
  finished: { state?: string; result?: Result; error?: string; labelScores?: LabelScore[] };
}

export type RunEvent = {
  runId?: string;
  seq?: Int;
  attempt?: Int;
  time?: string;
} & Partial<Payloads>;

/** A point of a loss curve, in the page's own API. */
export interface Point {
  step: number;
  loss: Real;
  learningRate: Real;
  words: string;
}

export interface Failure {
  reason: string;
  message: string;
  field: string;
}

export interface Artifact {
  name?: string;
  sizeBytes?: Int;
  sha256?: string;
}

export interface Difference {
  field?: string;
  values?: string[];
}
