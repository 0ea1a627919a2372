/** A run as the page shows it: a fold of its events, like `mentorgrad.domain.fold`. */

import type { Int, LabelScore, Payloads, Point, Result, RunEvent, Spec, Usage } from "./messages";
import { int, moment, real, seconds } from "./numbers";
import type {
  Attempt,
  Decided,
  Entry,
  Kind,
  Origin,
  Points,
  Question,
  ScoredCandidate,
  Spent,
  StageMark,
} from "./run_parts";
import { isFinal, state } from "./words";

const KINDS: readonly Kind[] = [
  "segment",
  "candidatesScored",
  "stageStarted",
  "proposalsReceived",
  "restartDecided",
  "checkpointSaved",
  "stateChanged",
  "created",
  "finished",
  "resumed",
  "mentorLost",
  "mentorBack",
  "stepDivided",
];
const HISTORY: ReadonlySet<Kind> = new Set(["created", "stateChanged", "resumed"]);

/** The kind of an event; undefined for one that this page does not know. */
export function kindOf(event: RunEvent): Kind | undefined {
  return KINDS.find((kind) => event[kind] !== undefined);
}

/** The figures of `Usage` that grow along the trajectory. */
interface Costs {
  forwardRows?: Int | undefined;
  evaluations?: Int | undefined;
  trainTime?: string | undefined;
}

/** A run so far. `add` changes it in place. */
export class RunLog {
  lastSeq = 0;
  spec: Spec = {};
  versions: { [name: string]: string } = {};
  state = "unknown";
  reason = "";
  createdAt: string | undefined;
  startedAt: string | undefined;
  finishedAt: string | undefined;
  /** Time of the last event. */
  seenAt: string | undefined;
  result: Result | undefined;
  /** What is predicted for the test rows of each label; empty without classes. */
  labelScores: readonly LabelScore[] = [];
  points: Points = { step: [], loss: [], learningRate: [] };
  stages: StageMark[] = [];
  candidates: ScoredCandidate[] = [];
  questions: Question[] = [];
  decisions: Decided[] = [];
  attempts: Attempt[] = [];
  entries: Entry[] = [];
  /** In order of step; where more was spent at the same step, there are several. */
  spent: Spent[] = [];
  /** Whether the points are not those of every step. */
  isThinned = false;
  /** Words of the latest snapshot. */
  words = "";

  private usages: (Origin & { usage: Usage })[] = [];

  constructor(readonly runId: string) {}

  /** Adds the next event; one that the log already has changes nothing. */
  add(event: RunEvent): void {
    const seq = int(event.seq);
    if (seq <= this.lastSeq) return;
    this.lastSeq = seq;
    this.seenAt = event.time;
    const origin = { seq, attempt: int(event.attempt) };
    const kind = kindOf(event);
    this.addAttempt(origin.attempt, event.time ?? "");
    if (kind === undefined) return;
    this.addHistory(kind, event);
    if (event.resumed !== undefined) this.resume(origin.attempt, event.resumed);
    this.addFigures(origin, event);
    this.addEntry(origin, kind, event);
  }

  /**
   * Adds points of the trajectory instead of the segments that they are in.
   *
   * @param points In order of step, without what a resume superseded.
   */
  addCurve(points: readonly Point[]): void {
    this.isThinned = true;
    for (const { step, loss, learningRate, words } of points) {
      this.addPoint(step, real(loss) ?? 0, real(learningRate) ?? 0, words);
    }
  }

  /** Steps of the trajectory so far. */
  get step(): number {
    return Math.max(this.points.step.at(-1) ?? 0, this.stages.at(-1)?.step ?? 0);
  }

  get stage(): number {
    return this.stages.at(-1)?.stage ?? 0;
  }

  get trainLoss(): number | undefined {
    return this.points.loss.at(-1);
  }

  get usage(): Usage {
    return this.result?.usage ?? this.usages.at(-1)?.usage ?? {};
  }

  get restarts(): number {
    return this.decisions.filter(({ decision }) => decision.restarted).length;
  }

  get isWaiting(): boolean {
    return this.state === "queued" || this.state === "interrupted";
  }

  get isEnded(): boolean {
    return isFinal(this.state);
  }

  /** The candidate with the lowest loss on the selection split. */
  get best(): ScoredCandidate | undefined {
    let best: ScoredCandidate | undefined;
    for (const item of this.candidates) {
      if (Number.isFinite(item.loss) && (best === undefined || item.loss < best.loss)) best = item;
    }
    return best;
  }

  private addHistory(kind: Kind, event: RunEvent): void {
    const { created, stateChanged, finished } = event;
    if (created !== undefined) {
      this.spec = created.spec ?? {};
      this.versions = created.versions ?? {};
      this.createdAt = event.time;
      this.state = "queued";
    }
    if (stateChanged !== undefined) {
      this.state = state(stateChanged.state);
      this.reason = stateChanged.reason ?? "";
      if (this.state === "running") this.startedAt ??= event.time;
    }
    if (finished !== undefined) {
      this.state = state(finished.state);
      this.reason = finished.error ?? "";
      this.result = finished.result;
      this.labelScores = finished.labelScores ?? [];
    }
    if (kind !== "created" && this.isEnded) this.finishedAt = event.time;
  }

  private addAttempt(attempt: number, time: string): void {
    if (attempt === 0) return;
    const last = this.attempts.at(-1);
    if (last !== undefined && last.attempt >= attempt) last.until = time;
    else this.attempts.push({ attempt, from: time, until: time, reason: undefined, checkpoint: 0 });
  }

  /** Leaves out what older attempts did after the checkpoint. */
  private resume(attempt: number, resumed: Payloads["resumed"]): void {
    const checkpoint = int(resumed.checkpointSeq);
    const isKept = (item: Origin) => item.seq <= checkpoint || item.attempt >= attempt;
    const saved = this.entries.find((entry) => entry.seq === checkpoint)?.event.checkpointSaved;
    const after = this.points.step.findIndex((step) => step > int(saved?.step));
    if (after >= 0) for (const column of Object.values(this.points)) column.length = after;
    this.stages = this.stages.filter(isKept);
    this.candidates = this.candidates.filter(isKept);
    this.questions = this.questions.filter(isKept);
    this.decisions = this.decisions.filter(isKept);
    this.usages = this.usages.filter(isKept);
    this.spent = this.spent.filter(isKept);
    for (const entry of this.entries) {
      if (!isKept(entry) && !HISTORY.has(entry.kind)) entry.isSuperseded = true;
    }
    const own = this.attempts.at(-1);
    if (own !== undefined) Object.assign(own, { reason: resumed.reason ?? "", checkpoint });
  }

  private addFigures(origin: Origin, event: RunEvent): void {
    const { stageStarted, segment, candidatesScored, proposalsReceived, restartDecided } = event;
    if (stageStarted !== undefined) this.addStage(origin, stageStarted);
    if (segment !== undefined) {
      this.addSegment(segment);
      const { stepEnd, forwardRows, trainTime } = segment;
      this.addSpent(origin, event.time, int(stepEnd), { forwardRows, trainTime });
    }
    for (const candidate of candidatesScored?.candidates ?? []) {
      this.candidates.push({
        ...origin,
        stage: int(candidate.stage),
        step: int(candidate.step),
        candidate,
        loss: real(candidate.score?.loss) ?? 0,
        accuracy: real(candidate.score?.accuracy),
      });
    }
    if (proposalsReceived !== undefined) {
      this.questions.push({
        ...origin,
        stage: int(proposalsReceived.stage),
        time: event.time ?? "",
        answer: proposalsReceived.answer ?? {},
        isFallback: proposalsReceived.isFallback ?? false,
        lagSteps: int(proposalsReceived.lagSteps),
      });
    }
    if (restartDecided !== undefined) {
      const stage = int(restartDecided.stage);
      this.decisions.push({ ...origin, stage, decision: restartDecided });
    }
    const usage = (candidatesScored ?? proposalsReceived ?? restartDecided)?.usage;
    if (usage !== undefined) {
      this.usages.push({ ...origin, usage });
      const steps = candidatesScored?.candidates?.map((candidate) => int(candidate.step)) ?? [];
      const step = Math.max(this.spent.at(-1)?.step ?? 0, ...steps);
      this.addSpent(origin, event.time, step, { evaluations: 0, ...usage });
    }
  }

  /** Adds what was spent up to a step; without evaluations, there were none since the last record. */
  private addSpent(origin: Origin, time: string | undefined, step: number, usage: Costs): void {
    const before = this.spent.at(-1);
    // Without a time it is of an earlier version.
    if (usage.trainTime === undefined || step < (before?.step ?? 0)) return;
    const evaluations =
      usage.evaluations === undefined ? (before?.evaluations ?? 0) : int(usage.evaluations);
    const started = moment(this.startedAt);
    const since = started === undefined ? 0 : ((moment(time) ?? started) - started) / 1000;
    this.spent.push({
      ...origin,
      step,
      forwardRows: int(usage.forwardRows),
      evaluations,
      seconds: seconds(usage.trainTime),
      since: Math.max(since, before?.since ?? 0), // clocks of two machines may differ
    });
  }

  private addStage(origin: Origin, started: Payloads["stageStarted"]): void {
    const stage = int(started.stage);
    const before = this.decisions.at(-1);
    this.stages.push({
      ...origin,
      stage,
      step: int(started.step),
      text: started.text ?? "",
      device: started.device ?? "",
      isRestart: before?.decision.restarted === true && before.stage + 1 === stage,
    });
  }

  private addSegment(segment: Payloads["segment"]): void {
    for (const { step, trainLoss, learningRate, text } of segment.snapshots ?? []) {
      this.addPoint(int(step), real(trainLoss) ?? 0, real(learningRate) ?? 0, text ?? "");
    }
  }

  private addPoint(step: number, loss: number, learningRate: number, words: string): void {
    if (step <= (this.points.step.at(-1) ?? 0)) return; // in a curve, and in an event after it
    this.points.step.push(step);
    this.points.loss.push(loss);
    this.points.learningRate.push(learningRate);
    this.words = words;
  }

  private addEntry(origin: Origin, kind: Kind, event: RunEvent): void {
    const time = event.time ?? "";
    const before = this.entries.at(-1);
    if (event.segment === undefined) {
      this.entries.push({ ...origin, time, kind, event, isSuperseded: false });
      return;
    }
    const snapshots = event.segment.snapshots?.slice(-1) ?? [];
    const isNext = before?.kind === "segment" && before.attempt === origin.attempt;
    const stepStart = (isNext ? before.event.segment?.stepStart : event.segment.stepStart) ?? 0;
    const slim = { segment: { ...event.segment, stepStart, snapshots } };
    // A superseded entry never grows: a `resumed` lies between.
    if (isNext) Object.assign(before, { ...origin, time, event: slim });
    else this.entries.push({ ...origin, time, kind, event: slim, isSuperseded: false });
  }
}
