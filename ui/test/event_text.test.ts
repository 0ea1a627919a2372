import { expect, test } from "vitest";
import { told } from "../src/data/event_text";
import type { RunEvent } from "../src/data/messages";

const LINES: [RunEvent, string][] = [
  [{ created: {} }, "created"],
  [
    { stateChanged: { state: "RUN_STATE_INTERRUPTED", reason: "the worker died" } },
    "state: interrupted: the worker died",
  ],
  [{ stageStarted: { text: "a b", device: "cpu" } }, "stage 0 began from “a b” on cpu"],
  [
    { segment: { stepStart: "1", stepEnd: "1200", snapshots: [{ trainLoss: "NaN" }] } },
    "steps 1 to 1,200, train loss NaN",
  ],
  [{ candidatesScored: { candidates: [{}] } }, "1 candidate scored"],
  [
    {
      proposalsReceived: {
        answer: { status: "ANSWER_STATUS_TIMED_OUT", detail: "60 s" },
        isFallback: true,
      },
    },
    "fallback: timed out, 0 proposals: 60 s",
  ],
  [{ restartDecided: { restarted: true, chosenId: "s0/p1" } }, "restart from s0/p1"],
  [{ restartDecided: { reason: "no proposal" } }, "no restart: no proposal"],
  [{ checkpointSaved: { step: "9", sizeBytes: "105304" } }, "checkpoint at step 9, 105 KB"],
  [{ stepDivided: { rowsAtOnce: "1" } }, "a step lacked memory: 1 row at a time"],
  [{ mentorLost: { mentor: "small", reason: "away" } }, "mentor small does not answer: away"],
  [{ mentorBack: { mentor: "small" } }, "mentor small answers again"],
  [{ resumed: { reason: "the worker died" } }, "resumed from event 0: the worker died"],
  [{ finished: { state: "RUN_STATE_SUCCEEDED" } }, "finished: succeeded"],
  [{}, ""],
];

test.each(LINES)("%j is told", (event, line) => expect(told(event)).toBe(line));
