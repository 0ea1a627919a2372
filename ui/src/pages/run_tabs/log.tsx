/** Attempts and interruptions, and the log of events in words. */

import { useState } from "preact/hooks";
import { clock, moment, span } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import type { Attempt, Kind } from "../../data/run_parts";
import { told } from "../../data/event_text";
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
                  <Words text={told(entry.event)} />
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
