/** Arms x tasks, and what the arms spent. */

import { budgetPicture, byArm } from "../../data/cells_picture";
import { budgetRows } from "../../data/chart_files";
import { counted } from "../../data/numbers";
import type { BudgetUse, GridCell, GridRow } from "../../data/report";
import { Meter, Words } from "../../parts/basics";
import { Frame } from "../../parts/frame";
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

export function Budgets({ uses }: { uses: readonly BudgetUse[] }) {
  const { arms, resources, of } = byArm(uses);
  const columns: ColumnOf<string>[] = [
    { name: "arm", class: "cell-name", cell: (arm) => <Words text={arm} /> },
    ...resources.map((resource) => ({
      name: resource,
      class: "cell-budget",
      cell: (arm: string) => <Used use={of(arm, resource)} />,
    })),
  ];
  return (
    <Frame
      name="Budget used"
      csv={() => budgetRows(uses)}
      svg={(inks) => budgetPicture(uses, inks)}
    >
      <Table label="Budget used" columns={columns} rows={arms} id={(arm) => arm} />
      <p class="note">Means per run, and the limits that hold for every run.</p>
    </Frame>
  );
}

function Used({ use }: { use: BudgetUse | undefined }) {
  if (use === undefined) return <>–</>;
  return <Meter name="" used={use.used} limit={use.limit} text={use.text} />;
}
