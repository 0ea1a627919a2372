/** Where each stage began, and the words of the latest snapshot. */

import type { ComponentChildren } from "preact";
import { count, figure } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import type { StageMark } from "../../data/run_parts";
import { countBelow } from "../../data/sorted";
import { Section, Words } from "../../parts/basics";
import { type ColumnOf, Table } from "../../parts/table";

/** A stage, or the present. */
type Row = StageMark | "now";

export function StagesSection({ log }: { log: RunLog }) {
  if (log.stages.length === 0) return null;
  const rows: Row[] = [...log.stages];
  if (log.words) rows.push("now");
  const columns: ColumnOf<Row>[] = [
    { name: "stage", cell: (row) => (row === "now" ? nowName(log) : row.stage) },
    {
      name: "from step",
      isNumber: true,
      cell: (row) => count(row === "now" ? log.step : row.step),
    },
    {
      name: "train loss there",
      isNumber: true,
      cell: (row) => figure(row === "now" ? log.trainLoss : lossAt(log, row.step)),
    },
    { name: "began with", cell: (row) => (row === "now" ? "" : beginning(log, row)) },
    {
      name: "words",
      class: "wide",
      cell: (row) => <Words text={row === "now" ? log.words : row.text} />,
    },
  ];
  return (
    <Section title="Stages">
      <Table
        label="Stages"
        columns={columns}
        rows={rows}
        id={(row) => (row === "now" ? row : row.seq)}
      />
    </Section>
  );
}

const nowName = (log: RunLog) => (log.isEnded ? "end" : "now");

/** The train loss of a step; undefined if its snapshot was not captured. */
function lossAt(log: RunLog, step: number): number | undefined {
  const { step: steps, loss } = log.points;
  const at = countBelow(steps, step);
  return steps[at] === step ? loss[at] : undefined;
}

function beginning(log: RunLog, mark: StageMark): ComponentChildren {
  const decided = log.decisions.findLast((item) => item.seq < mark.seq)?.decision;
  if (decided === undefined && mark.stage === 0) return "the initial parameters";
  if (decided === undefined || !mark.isRestart) return "went on";
  return (
    <span class="applied">
      <span aria-hidden="true">▲ </span>restart from <code>{decided.chosenId}</code>
    </span>
  );
}
