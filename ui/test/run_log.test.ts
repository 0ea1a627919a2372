import { describe, expect, test } from "vitest";
import type { RunEvent } from "../src/data/messages";
import { RunLog } from "../src/data/run_log";

/** Numbers the events from 1; each stands for one second. */
function folded(events: readonly RunEvent[]): RunLog {
  const log = new RunLog("r");
  events.forEach((event, at) => {
    log.add({
      seq: String(at + 1),
      time: `2026-01-01T00:00:${String(at).padStart(2, "0")}Z`,
      ...event,
    });
  });
  return log;
}

const created: RunEvent = { created: { spec: { name: "a run" } } };
const running: RunEvent = { attempt: "1", stateChanged: { state: "RUN_STATE_RUNNING" } };

function segment(from: number, losses: readonly (number | "NaN")[], attempt = "1"): RunEvent {
  const snapshots = losses.map((trainLoss, at) => ({ step: String(from + at), trainLoss }));
  const stepEnd = String(from + losses.length - 1);
  return { attempt, segment: { stepStart: String(from), stepEnd, snapshots } };
}

function scored(candidateId: string, loss: number | "NaN", attempt = "1"): RunEvent {
  const candidates = [{ candidateId, score: { loss } }];
  return { attempt, candidatesScored: { candidates, usage: { evaluations: "1" } } };
}

describe("a run's log", () => {
  test("follows state and times", () => {
    const log = folded([
      created,
      running,
      { attempt: "1", finished: { state: "RUN_STATE_FAILED", error: "no memory" } },
    ]);
    expect(log.state).toBe("failed");
    expect(log.reason).toBe("no memory");
    expect(log.isEnded).toBe(true);
    expect(log.createdAt).toBe("2026-01-01T00:00:00Z");
    expect(log.startedAt).toBe("2026-01-01T00:00:01Z");
    expect(log.finishedAt).toBe("2026-01-01T00:00:02Z");
  });

  test("keeps losses that are not finite, and counts none of them as the best", () => {
    const log = folded([created, segment(1, [2, "NaN", 1]), scored("a", "NaN"), scored("b", 3)]);
    expect(log.points.step).toEqual([1, 2, 3]);
    expect(log.points.loss).toEqual([2, Number.NaN, 1]);
    expect(log.best?.candidate.candidateId).toBe("b");
    expect(log.step).toBe(3);
  });

  test("takes each event once", () => {
    const log = folded([created, segment(1, [2])]);
    log.add({ seq: "2", ...segment(1, [2]) });
    expect(log.points.step).toEqual([1]);
    expect(log.lastSeq).toBe(2);
  });

  test("leaves out what a resume superseded", () => {
    const log = folded([
      created,
      running,
      segment(1, [5, 4]),
      { attempt: "1", checkpointSaved: { step: "2" } },
      segment(3, [3, 2]),
      scored("lost", 0.1),
      { attempt: "2", resumed: { checkpointSeq: "4", reason: "the worker died" } },
      segment(3, [3.5], "2"),
      scored("kept", 1, "2"),
    ]);
    expect(log.points.step).toEqual([1, 2, 3]);
    expect(log.points.loss).toEqual([5, 4, 3.5]);
    expect(log.candidates.map((item) => item.candidate.candidateId)).toEqual(["kept"]);
    expect(log.attempts.map(({ attempt, reason }) => [attempt, reason])).toEqual([
      [1, undefined],
      [2, "the worker died"],
    ]);
    expect(log.entries.filter((entry) => entry.isSuperseded).map((entry) => entry.seq)).toEqual([
      5, 6,
    ]);
  });

  test("leaves out steps of a thinned curve that a resume superseded", () => {
    const log = folded([created, running, { attempt: "1", checkpointSaved: { step: "20" } }]);
    const point = (step: number) => ({ step, loss: 1, learningRate: 1, words: "" });
    log.addCurve([1, 10, 20, 30].map(point));
    log.add({ seq: "9", attempt: "2", resumed: { checkpointSeq: "3" } });
    log.add({ seq: "10", ...segment(21, [2], "2") });
    expect(log.points.step).toEqual([1, 10, 20, 21]);
  });

  test("starts again from the beginning without a checkpoint", () => {
    const log = folded([created, running, segment(1, [5]), { attempt: "2", resumed: {} }]);
    expect(log.points.step).toEqual([]);
    expect(log.spec.name).toBe("a run");
    expect(log.state).toBe("running");
  });

  test("marks a stage that goes on from a proposal", () => {
    const log = folded([
      created,
      { attempt: "1", stageStarted: {} },
      { attempt: "1", restartDecided: { restarted: true, chosenId: "s0/p1" } },
      { attempt: "1", stageStarted: { stage: "1", step: "10" } },
      { attempt: "1", restartDecided: { stage: "1", chosenId: "s1/step20" } },
      { attempt: "1", stageStarted: { stage: "2", step: "20" } },
    ]);
    expect(log.stages.map((mark) => mark.isRestart)).toEqual([false, true, false]);
    expect(log.restarts).toBe(1);
  });

  test("writes consecutive segments as one entry", () => {
    const log = folded([
      created,
      segment(1, [3, 2]),
      segment(3, [1]),
      scored("a", 1),
      segment(4, [0]),
    ]);
    const kinds = log.entries.map((entry) => entry.kind);
    expect(kinds).toEqual(["created", "segment", "candidatesScored", "segment"]);
    expect(log.entries[1]!.event.segment).toMatchObject({ stepStart: "1", stepEnd: "3" });
  });

  test("goes on over events that it does not know", () => {
    const log = folded([created, { attempt: "1", somethingNew: {} } as RunEvent, segment(1, [2])]);
    expect(log.lastSeq).toBe(3);
    expect(log.trainLoss).toBe(2);
  });
});
