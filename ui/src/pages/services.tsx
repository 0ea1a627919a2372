/** The services: the trainer and its mentors, who executes runs, which runs wait and why. */

import type { ComponentChildren } from "preact";
import * as api from "../data/api";
import { useRead, useTitle } from "../data/hooks";
import type { Services, ServicesWork, MentorEntry, Trainer } from "../data/services";
import { bytes, count, int } from "../data/numbers";
import { Empty, Facts, Problem, Section, Tile, Words } from "../parts/basics";
import { Table } from "../parts/table";
import { AgentsSection } from "./services_parts/agents";
import { EndedSection } from "./services_parts/ended";
import { RunningSection, WaitingSection } from "./services_parts/queue";

const POLL_MS = 2_000;

/** Runs that the service lists. */
const SHOWN_RUNS = 50;

export function ServicesPage({ services }: { services: Services | undefined }) {
  const found = useRead("services work", api.servicesWork, POLL_MS);
  useTitle("Services");
  const trainer = services?.trainer ?? undefined;
  const work = found.value;
  return (
    <>
      <div class="page-head">
        <h1>Services</h1>
      </div>
      {services && <p class="lead">The trainer at {services.server}, its mentors and workers</p>}
      {found.error && <Problem error={found.error} />}
      {trainer && <Tiles trainer={trainer} work={work} />}
      {work === undefined && found.error === undefined && <Empty>Reading…</Empty>}
      {work?.agents && <AgentsSection agents={work.agents} running={work.running} />}
      {work && !work.agents && <RunningSection runs={work.running} />}
      {work && <WaitingSection runs={work.waiting} />}
      {work && <EndedSection ended={work.ended} />}
      {trainer && (
        <div class="columns">
          <MentorsSection mentors={trainer.mentors ?? []} />
          <Offers trainer={trainer} page={services?.version ?? ""} />
        </div>
      )}
    </>
  );
}

function Tiles({ trainer, work }: { trainer: Trainer; work: ServicesWork | undefined }) {
  const queued = int(trainer.queuedRuns);
  const limit = int(trainer.queueLimit);
  const alive = work?.agents?.filter((agent) => agent.isAlive);
  const slots = alive
    ? alive.reduce((sum, agent) => sum + int(agent.slots), 0)
    : int(trainer.workerSlots);
  const last = work?.ended.hours.at(-1);
  return (
    <div class="tiles">
      <Tile name="running" note={`of ${count(slots)} at once`}>
        {work ? running(work) : "–"}
      </Tile>
      <Tile name="waiting" note={limit > 0 ? `of ${count(limit)} at most` : "runs of all owners"}>
        {count(queued)}
      </Tile>
      {alive && (
        <Tile name="trainers and workers" note={silent(work?.agents?.length ?? 0, alive.length)}>
          {count(alive.length)}
        </Tile>
      )}
      <Tile name="ended in this hour" note="since it began">
        {last ? count(last.succeeded + last.failed + last.cancelled) : "–"}
      </Tile>
    </div>
  );
}

/** How many runs are executed; a long list is not read to its end. */
function running(work: ServicesWork): string {
  const known = (work.agents ?? []).reduce((sum, agent) => sum + (agent.runIds?.length ?? 0), 0);
  const listed = work.running.length;
  return count(Math.max(listed, known)) + (listed >= SHOWN_RUNS && known <= listed ? "+" : "");
}

function silent(all: number, alive: number): string {
  return all > alive ? `${count(all - alive)} more silent` : "all report";
}

function MentorsSection({ mentors }: { mentors: readonly MentorEntry[] }) {
  const isControl = ({ model }: MentorEntry) => model === "control";
  return (
    <Section title="Mentors and controls">
      {mentors.length === 0 && <Empty>The trainer knows no mentor.</Empty>}
      {mentors.length > 0 && (
        <Table
          label="Mentors and controls"
          rows={mentors}
          id={(mentor) => mentor.name ?? ""}
          columns={[
            { name: "name", class: "cell-name", cell: ({ name }) => <Words text={name} /> },
            {
              name: "kind",
              cell: (mentor) => (isControl(mentor) ? "control" : "mentor"),
            },
            { name: "answers", cell: ({ available }) => <Answers is={available === true} /> },
            {
              name: "model",
              class: "cell-text",
              cell: (mentor) => <Words text={isControl(mentor) ? "" : mentor.model} />,
            },
          ]}
        />
      )}
    </Section>
  );
}

function Answers({ is }: { is: boolean }) {
  return (
    <span class={is ? "answer-usable" : "answer-not"}>
      <span aria-hidden="true">{is ? "✓" : "✕"}</span> {is ? "yes" : "no"}
    </span>
  );
}

function Offers({ trainer, page }: { trainer: Trainer; page: string }) {
  const names = (list: readonly string[] | undefined) => <Words text={(list ?? []).join(", ")} />;
  const limit = int(trainer.uploadLimitBytes);
  const rows: [string, ComponentChildren][] = [
    ["version", trainer.version],
    ["version of the page", page],
    ["devices", names(trainer.devices)],
    ["runs at once", count(int(trainer.workerSlots))],
    ["runs in the queue, at most", count(int(trainer.queueLimit))],
    ["size of an upload, at most", limit > 0 ? bytes(limit) : "–"],
    ["objectives", names(trainer.objectives)],
    ["optimizers", names(trainer.optimizers)],
    ["tasks", names(trainer.tasks)],
    ["models of served prompts", names(trainer.tunedModels)],
  ];
  return (
    <Section title="Trainer">
      <Facts rows={rows} />
    </Section>
  );
}
