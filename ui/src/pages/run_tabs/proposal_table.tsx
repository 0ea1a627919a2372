/** Every proposal, what it came of, and what became of it. */

import type { ProposalRow } from "../../data/lineage";
import { counted, figure } from "../../data/numbers";
import { Empty, Words } from "../../parts/basics";
import { type ColumnOf, Table } from "../../parts/table";
import { proposalText } from "./mentor";

const TABLE_ROWS = 500;

export function ProposalTable({ rows }: { rows: readonly ProposalRow[] }) {
  if (rows.length === 0) return <Empty>Nothing has been proposed so far.</Empty>;
  const columns: ColumnOf<ProposalRow>[] = [
    { name: "proposal", cell: ({ proposal }) => <code>{proposal.proposalId}</code> },
    { name: "after stage", isNumber: true, cell: ({ stage }) => stage },
    { name: "came of", class: "wide", cell: ({ origins }) => <Origins of={origins} /> },
    { name: "outcome", cell: (row) => row.outcome || <span class="muted">–</span> },
    { name: "loss", isNumber: true, cell: ({ loss }) => figure(loss) },
    {
      name: "became",
      cell: ({ begun }) =>
        begun === undefined ? "" : <span class="applied">▲ start of stage {begun}</span>,
    },
    { name: "words", class: "wide", cell: ({ proposal }) => <Words text={proposalText(proposal)} /> },
  ];
  return (
    <>
      <Table
        label="Proposals and what they came of"
        columns={columns}
        rows={rows.slice(-TABLE_ROWS)}
        id={({ proposal, stage }, at) => `${stage}/${proposal.proposalId ?? at}`}
        rowClass={({ begun }) => (begun === undefined ? "" : "is-chosen")}
      />
      {rows.length > TABLE_ROWS && (
        <p class="note">
          The latest {TABLE_ROWS} of {counted(rows.length, "proposal")}.
        </p>
      )}
    </>
  );
}

const SHOWN_ORIGINS = 20;

function Origins({ of }: { of: readonly string[] }) {
  const more = of.length - SHOWN_ORIGINS;
  return (
    <>
      {of.slice(0, SHOWN_ORIGINS).map((id, at) => (
        <span key={id}>
          {at > 0 && ", "}
          <code>{id}</code>
        </span>
      ))}
      {more > 0 && ` and ${more} more`}
      {of.length === 0 && "–"}
    </>
  );
}
