/** Attempts and interruptions, and the log of events in words. */

import { useState } from "preact/hooks";
import { bytes, clock, count, counted, figure, int, moment, real, span } from "../../data/numbers";
import type { Attempt, Entry, Kind, RunLog } from "../../data/run_log";
import { answerStatus, state } from "../../data/words";
import { Empty, Section, Words } from "../../parts/basics";
import { Table } from "../../parts/table";

const FIRST_ROWS = 200;
const FREQUENT: ReadonlySet<Kind> = new Set(["segment", "checkpointSaved"]);

export function LogTab({ log }: { log: RunLog }) {
  const [most, setMost] = useState(FIRST_ROWS);
  const [isAll, setAll] = useState(false);
  const entries = isAll ? log.entries : log.entries.filter((entry) => !FREQUENT.has(entry.kind));
  const latest = entries.slice(-most).reverse();
  return (
    <>
      <Section title="Attempts">
        {log.attempts.length === 0 ? (
          <Empty>No worker has started the run so far.</Empty>
        ) : (
          <Attempts log={log} />
        )}
      </Section>
      <Section
        title="Events, newest first"
        aside={
          <label class="check">
            <input
              type="checkbox"
              checked={isAll}
              onChange={(event) => setAll(event.currentTarget.checked)}
            />
            Steps and checkpoints, too
          </label>
        }
      >
        <Table
          label="Events"
          rows={latest}
          id={(entry) =>
            `${entry.attempt}/${entry.kind === "segment" ? entry.event.segment?.stepStart : entry.seq}`
          }
          rowClass={(entry) => (entry.isSuperseded ? "is-superseded" : "")}
          columns={[
            { name: "event", isNumber: true, cell: (entry) => entry.seq },
            { name: "time", class: "time", cell: (entry) => clock(entry.time) },
            { name: "attempt", isNumber: true, cell: (entry) => entry.attempt || "" },
            {
              name: "what",
              class: "wide",
              cell: (entry) => (
                <>
                  {entry.isSuperseded && <span class="muted">superseded: </span>}
                  <Words text={told(entry)} />
                </>
              ),
            },
          ]}
        />
        {entries.length > most && (
          <button type="button" class="button" onClick={() => setMost(most + 5 * FIRST_ROWS)}>
            Show older ones
          </button>
        )}
      </Section>
    </>
  );
}

function Attempts({ log }: { log: RunLog }) {
  const took = ({ from, until }: Attempt) =>
    span(((moment(until) ?? 0) - (moment(from) ?? 0)) / 1000);
  const begins = ({ checkpoint, reason }: Attempt) => {
    if (reason === undefined) return "the beginning";
    return checkpoint > 0 ? `the checkpoint of event ${checkpoint}` : "the beginning again";
  };
  return (
    <Table
      label="Attempts"
      rows={log.attempts}
      id={({ attempt }) => attempt}
      columns={[
        { name: "attempt", cell: ({ attempt }) => attempt },
        { name: "from", class: "time", cell: ({ from }) => clock(from) },
        { name: "took", class: "time", cell: took },
        { name: "began at", cell: begins },
        {
          name: "why the one before it stopped",
          class: "wide",
          cell: ({ reason }) => <Words text={reason} />,
        },
      ]}
    />
  );
}

/** An event in one line. */
export function told({ event }: Entry): string {
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
