/** The spec, how to run it again, and the run's files. */

import type { ComponentChildren } from "preact";
import * as api from "../../data/api";
import { useRead } from "../../data/hooks";
import { bytes, clock, count, int } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import { againCommand, downloadCommand, shown, specFields } from "../../data/spec";
import { Command, Empty, Facts, Problem, Section, Words } from "../../parts/basics";
import { Table } from "../../parts/table";

export function SpecTab({ log, server }: { log: RunLog; server: string }) {
  return (
    <>
      <Section title="The same again">
        <Command text={againCommand(log.spec, server)} label="Copy the command" />
      </Section>
      <Files log={log} server={server} />
      <div class="columns">
        <Section title="Spec">
          <Table
            label="Spec"
            rows={specFields(log.spec)}
            id={(field) => field.path}
            columns={[
              { name: "field", cell: (field) => <code>{field.path}</code> },
              {
                name: "value",
                class: "wide",
                cell: (field) => <Words text={shown(field.value)} />,
              },
            ]}
          />
        </Section>
        <div>
          <Record log={log} />
          <Section title="Versions">
            <Facts rows={Object.entries(log.versions).sort()} />
          </Section>
        </div>
      </div>
    </>
  );
}

function Record({ log }: { log: RunLog }) {
  const found = useRead(log.runId, (signal) => api.run(log.runId, signal));
  const run = found.value?.run;
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
