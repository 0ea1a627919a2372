/** The pool: every scored candidate, by stage, and what became of it. */

import { useState } from "preact/hooks";
import { count, counted, DASH, figure, int, percent, real } from "../../data/numbers";
import type { Outcome } from "../../data/messages";
import type { RunLog } from "../../data/run_log";
import type { ScoredCandidate } from "../../data/run_parts";
import { source } from "../../data/words";
import { Empty, Section, Words } from "../../parts/basics";
import { Select } from "../../parts/controls";
import { type ColumnOf, Table } from "../../parts/table";
import { OutcomeText } from "./mentor";

const SOURCES = ["", "snapshot", "projection", "proposal"] as const;
const ORDERS = [
  ["stage", "by stage"],
  ["best", "lowest loss first"],
] as const;
const FIRST_ROWS = 200;

export function CandidatesTab({ log }: { log: RunLog }) {
  const [wanted, setWanted] = useState("");
  const [order, setOrder] = useState("stage");
  const isBestFirst = order === "best";
  const [most, setMost] = useState(FIRST_ROWS);
  if (log.candidates.length === 0) return <Empty>No candidate has been scored so far.</Empty>;
  const found = log.candidates.filter(
    (item) => wanted === "" || source(item.candidate.source) === wanted,
  );
  const sorted = isBestFirst ? [...found].sort(byLoss) : found;
  const shown = sorted.slice(0, most);
  const groups = isBestFirst
    ? [["Lowest loss first", shown] as const]
    : [...Map.groupBy(shown, (item) => item.stage)].map(
        ([stage, items]) => [`Stage ${stage}`, items] as const,
      );
  return (
    <>
      <form class="filter" onSubmit={(event) => event.preventDefault()}>
        <Select
          name="Source"
          value={wanted}
          options={SOURCES.map((name) => [name, name || "any"])}
          onChoose={setWanted}
        />
        <Select
          name="Order"
          value={order}
          options={ORDERS}
          onChoose={setOrder}
        />
        <span class="muted">{counted(found.length, "candidate")}</span>
      </form>
      {groups.map(([title, items]) => (
        <Section title={title} key={title}>
          <CandidateTable log={log} items={items} title={title} />
        </Section>
      ))}
      {sorted.length > most && (
        <button type="button" class="button" onClick={() => setMost(most + 5 * FIRST_ROWS)}>
          Show more of {count(sorted.length)}
        </button>
      )}
    </>
  );
}

function byLoss(one: ScoredCandidate, other: ScoredCandidate): number {
  const rank = (item: ScoredCandidate) => (Number.isNaN(item.loss) ? Infinity : item.loss);
  return rank(one) - rank(other) || one.seq - other.seq;
}

interface CandidateTableProps {
  log: RunLog;
  items: readonly ScoredCandidate[];
  title: string;
}

function CandidateTable({ log, items, title }: CandidateTableProps) {
  const best = log.best?.candidate.candidateId;
  const outcomes = outcomesOf(log);
  const columns: ColumnOf<ScoredCandidate>[] = [
    {
      name: "candidate",
      cell: ({ candidate }) => (
        <>
          <code>{candidate.candidateId}</code>
          {candidate.candidateId === best && <span class="best">★ best</span>}
        </>
      ),
    },
    { name: "source", cell: ({ candidate }) => source(candidate.source) },
    { name: "step", isNumber: true, cell: ({ step }) => count(step) },
    { name: "loss", isNumber: true, cell: ({ loss }) => figure(loss) },
    { name: "words", class: "wide", cell: ({ candidate }) => <CandidateWords of={candidate} /> },
    { name: "outcome", cell: ({ candidate }) => outcomeOf(outcomes, candidate.candidateId ?? "") },
  ];
  if (items.some((item) => item.accuracy !== undefined)) {
    columns.splice(
      4,
      0,
      { name: "accuracy", isNumber: true, cell: ({ accuracy }) => percent(accuracy) },
      {
        name: "macro F1",
        isNumber: true,
        cell: ({ candidate }) => figure(real(candidate.score?.macroF1), 3),
      },
    );
  }
  return (
    <Table
      label={`Candidates, ${title}`}
      columns={columns}
      rows={items}
      id={({ seq, candidate }) => `${seq}/${candidate.candidateId}`}
      rowClass={({ candidate }) => (candidate.candidateId === best ? "is-best" : "")}
    />
  );
}

function CandidateWords({ of }: { of: ScoredCandidate["candidate"] }) {
  const moved = int(of.positionsChanged);
  const text = of.text || (of.settings ? JSON.stringify(of.settings) : "");
  return (
    <>
      <Words text={text} />
      {moved > 0 && of.towardText && of.towardText !== of.text && (
        <div class="sub">
          towards <Words text={of.towardText} />
        </div>
      )}
    </>
  );
}

type Outcomes = ReadonlyMap<string, Outcome | "continued">;

function outcomesOf(log: RunLog): Outcomes {
  const found = new Map<string, Outcome | "continued">();
  for (const { decision } of log.decisions) {
    if (!decision.restarted && decision.incumbentId) found.set(decision.incumbentId, "continued");
    for (const item of decision.outcomes ?? []) found.set(item.proposalId ?? "", item);
  }
  return found;
}

function outcomeOf(outcomes: Outcomes, id: string) {
  const found = outcomes.get(id);
  if (found === "continued") return "went on from here";
  return found === undefined ? DASH : <OutcomeText outcome={found} />;
}
