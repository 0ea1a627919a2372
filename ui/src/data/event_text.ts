/** Events as lines of text. */

import type { RunEvent } from "./messages";
import { bytes, count, counted, figure, int, real } from "./numbers";
import { answerStatus, state } from "./words";

/** An event in one line. */
export function told(event: RunEvent): string {
  const because = (reason: string | undefined) => (reason ? `: ${reason}` : "");
  if (event.created) return "created";
  if (event.stateChanged) {
    return `state: ${state(event.stateChanged.state)}${because(event.stateChanged.reason)}`;
  }
  if (event.stageStarted) {
    const { stage, text, device } = event.stageStarted;
    const on = device ? ` on ${device}` : "";
    return `stage ${int(stage)} began${text ? ` from “${text}”` : ""}${on}`;
  }
  if (event.segment) {
    const { stepStart, stepEnd, snapshots } = event.segment;
    const loss = figure(real(snapshots?.[0]?.trainLoss) ?? 0);
    return `steps ${count(int(stepStart))} to ${count(int(stepEnd))}, train loss ${loss}`;
  }
  if (event.candidatesScored) {
    return `${counted(event.candidatesScored.candidates?.length ?? 0, "candidate")} scored`;
  }
  if (event.proposalsReceived) {
    const { answer, isFallback } = event.proposalsReceived;
    const who = isFallback ? "fallback" : (answer?.records?.[0]?.mentor ?? "mentor");
    const number = counted(answer?.proposals?.length ?? 0, "proposal");
    return `${who}: ${answerStatus(answer?.status)}, ${number}${because(answer?.detail)}`;
  }
  if (event.restartDecided) {
    const { restarted, chosenId, reason } = event.restartDecided;
    return (restarted ? `restart from ${chosenId}` : "no restart") + because(reason);
  }
  if (event.checkpointSaved) {
    const { step, sizeBytes } = event.checkpointSaved;
    return `checkpoint at step ${count(int(step))}, ${bytes(int(sizeBytes))}`;
  }
  if (event.stepDivided) {
    return `a step lacked memory: ${counted(int(event.stepDivided.rowsAtOnce), "row")} at a time`;
  }
  if (event.mentorLost) {
    return `mentor ${event.mentorLost.mentor} does not answer${because(event.mentorLost.reason)}`;
  }
  if (event.mentorBack) return `mentor ${event.mentorBack.mentor} answers again`;
  if (event.resumed) {
    return `resumed from event ${int(event.resumed.checkpointSeq)}${because(event.resumed.reason)}`;
  }
  if (event.finished)
    return `finished: ${state(event.finished.state)}${because(event.finished.error)}`;
  return "";
}
