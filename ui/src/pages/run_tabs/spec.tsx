/** The spec, how to run it again, and the run's files. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { againCall, againPython } from "../../data/again";
import * as api from "../../data/api";
import { useRead } from "../../data/hooks";
import { bytes, clock, count, int } from "../../data/numbers";
import type { Run, Spec } from "../../data/messages";
import type { RunLog } from "../../data/run_log";
import { againCommand, downloadCommand, shown, specFields } from "../../data/spec";
import { Command, Empty, Facts, Problem, Section, Words } from "../../parts/basics";
import { Table } from "../../parts/table";

interface SpecTabProps {
  log: RunLog;
  /** Undefined until it has been read. */
  record: Run | undefined;
  server: string;
}

export function SpecTab({ log, record, server }: SpecTabProps) {
  return (
    <>
      <Again spec={log.spec} server={server} />
      <Files log={log} server={server} />
      <div class="columns">
        <Record log={log} run={record} />
        <Section title="Versions">
          <Facts rows={Object.entries(log.versions).sort()} />
        </Section>
      </div>
      <Section title="Spec">
        <Table
          label="Spec"
          rows={specFields(log.spec)}
          id={(field) => field.path}
          columns={[
            { name: "field", class: "cell-field", cell: (field) => <code>{field.path}</code> },
            { name: "value", class: "wide", cell: (field) => <Words text={shown(field.value)} /> },
          ]}
        />
      </Section>
    </>
  );
}

/** Ways to create the same run again. */
const WAYS: readonly (readonly [string, (spec: Spec, server: string) => string])[] = [
  ["Command line", againCommand],
  ["Python", againPython],
  ["buf curl", againCall],
];

function Again({ spec, server }: { spec: Spec; server: string }) {
  const [chosen, setChosen] = useState(0);
  const [name, written] = WAYS[chosen]!;
  return (
    <Section
      title="The same again"
      aside={
        <div role="group" aria-label="Ways to create the same run again" class="chart-controls">
          {WAYS.map(([way], at) => (
            <button
              type="button"
              key={way}
              class="button small"
              aria-pressed={at === chosen}
              onClick={() => setChosen(at)}
            >
              {way}
            </button>
          ))}
        </div>
      }
    >
      <Command text={written(spec, server)} label={`Copy: ${name}`} />
      {name === "buf curl" && (
        <p class="note">
          A trainer with TLS also needs <code>https</code> and <code>--cacert</code>; one with
          tokens <code>--header</code> and <code>--reflect-header</code>.
        </p>
      )}
    </Section>
  );
}

function Record({ log, run }: { log: RunLog; run: Run | undefined }) {
  const rows: [string, ComponentChildren][] = [
    ["id", <code>{log.runId}</code>],
    ["owner", <Words text={run?.owner} />],
    ["project", <Words text={run?.project} />],
    ["created", clock(log.createdAt)],
    ["started", clock(log.startedAt)],
    ["ended", clock(log.finishedAt)],
    ["events", count(log.lastSeq)],
  ];
  return (
    <Section title="Record">
      <Facts rows={rows} />
    </Section>
  );
}

function Files({ log, server }: { log: RunLog; server: string }) {
  // Read again when the run ends: that is when its files are written.
  const found = useRead(`${log.runId} ${log.state}`, (signal) => api.artifacts(log.runId, signal));
  const files = found.value?.artifacts ?? [];
  return (
    <Section title="Files">
      {found.error && <Problem error={found.error} />}
      {found.value && files.length === 0 && <Empty>The run has no files so far.</Empty>}
      {files.length > 0 && (
        <>
          <Table
            label="Files"
            rows={files}
            id={(file) => file.name ?? ""}
            columns={[
              { name: "name", cell: (file) => <code>{file.name}</code> },
              { name: "size", isNumber: true, cell: (file) => bytes(int(file.sizeBytes)) },
              {
                name: "SHA-256",
                class: "wide",
                cell: (file) => <code class="digest">{file.sha256}</code>,
              },
            ]}
          />
          <Command text={downloadCommand(log.runId, server)} label="Copy the command" />
        </>
      )}
    </Section>
  );
}
