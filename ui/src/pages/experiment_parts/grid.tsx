/** Arms x tasks, and what the arms spent. */

import { counted } from "../../data/numbers";
import type { BudgetUse, GridCell, GridRow } from "../../data/report";
import { Meter, Words } from "../../parts/basics";
import { type ColumnOf, Table } from "../../parts/table";

export function Grid({ rows, figure }: { rows: readonly GridRow[]; figure: string }) {
  const tasks = rows[0]?.cells.map((cell) => cell.task) ?? [];
  const columns: ColumnOf<GridRow>[] = [
    { name: "arm", class: "cell-name", cell: (row) => <Arm row={row} /> },
    ...tasks.map((task, at) => ({
      name: task,
      class: "cell-grid",
      cell: (row: GridRow) => <Done cell={row.cells[at]!} arm={row.arm} />,
    })),
  ];
  return (
    <>
      <Table
        label={`Arms and tasks: mean ${figure}, and runs`}
        columns={columns}
        rows={rows}
        id={(row) => row.arm}
        rowClass={(row) => (row.isSubject ? "is-subject" : "")}
      />
      <p class="note">Mean {figure} of the runs so far, and how many of them have ended.</p>
    </>
  );
}

function Arm({ row }: { row: GridRow }) {
  return (
    <>
      <Words text={row.arm} />
      {row.isSubject && <div class="sub">the subject</div>}
    </>
  );
}

function Done({ cell, arm }: { cell: GridCell; arm: string }) {
  const ended = cell.succeeded + cell.failed;
  const more = [
    cell.running > 0 ? `${cell.running} running` : "",
    cell.failed > 0 ? `${cell.failed} without a result` : "",
  ].filter(Boolean);
  return (
    <>
      <span class="grid-mean">{cell.mean}</span>
      <div class="sub">
        {ended < cell.planned ? `${ended} of ${cell.planned}` : counted(ended, "run")}
        {more.length > 0 && ` · ${more.join(", ")}`}
      </div>
      {ended < cell.planned && (
        <meter
          min={0}
          max={cell.planned}
          value={ended}
          aria-label={`${arm} on ${cell.task}: ${ended} of ${cell.planned} runs`}
        />
      )}
    </>
  );
}

interface ArmBudgets {
  arm: string;
  uses: BudgetUse[];
}

export function Budgets({ uses }: { uses: readonly BudgetUse[] }) {
  const arms = [...new Set(uses.map((use) => use.arm))].map((arm) => ({
    arm,
    uses: uses.filter((use) => use.arm === arm),
  }));
  const resources = arms[0]?.uses.map((use) => use.resource) ?? [];
  const columns: ColumnOf<ArmBudgets>[] = [
    { name: "arm", class: "cell-name", cell: ({ arm }) => <Words text={arm} /> },
    ...resources.map((resource, at) => ({
      name: resource,
      class: "cell-budget",
      cell: (row: ArmBudgets) => <Used use={row.uses[at]} />,
    })),
  ];
  return (
    <>
      <Table label="Budget used" columns={columns} rows={arms} id={({ arm }) => arm} />
      <p class="note">Means per run, and the limits that hold for every run.</p>
    </>
  );
}

function Used({ use }: { use: BudgetUse | undefined }) {
  if (use === undefined) return <>–</>;
  return <Meter name="" used={use.used} limit={use.limit} text={use.text} />;
}
