/** The figure of every run, by task and arm. */

import { useState } from "preact/hooks";
import { compareAddress, runAddress } from "../../data/address";
import { fitted, scale, ticks } from "../../data/axis";
import type { Key } from "../../data/chart";
import { stripRows } from "../../data/chart_files";
import { MOST_COMPARED } from "../../data/compare_view";
import { count, figure, tick } from "../../data/numbers";
import type { Dot, SeedRow, SeedTable, Strip, StripChart, StripPanel } from "../../data/report";
import { StateBadge, Words } from "../../parts/basics";
import { Drawing } from "../../parts/drawing";
import { Frame } from "../../parts/frame";
import { go, Link } from "../../parts/router";
import { type ColumnOf, Table } from "../../parts/table";

const ROW = 26;

interface StripsProps {
  chart: StripChart;
  seeds: SeedTable;
  subject: string;
}

export function Strips({ chart, seeds, subject }: StripsProps) {
  const keys: Key[] = [
    { name: `run of ${subject}`, sort: "disc", colour: "var(--accent)" },
    { name: "run of another arm", sort: "disc", colour: "var(--muted)" },
    { name: "mean of an arm", sort: "bar", colour: "var(--ink)" },
  ];
  const left = chart.tasks - chart.panels.length;
  return (
    <Frame
      name={`${chart.figure} of every run`}
      keys={keys}
      table={() => <Seeds seeds={seeds} />}
      csv={() => stripRows(chart)}
    >
      <div class="columns panels">
        {chart.panels.map((panel) => (
          <Panel key={panel.task} panel={panel} title={chart.figure} />
        ))}
      </div>
      <p class="note">
        Each dot is a run, and leads to it; the button “Table” lists them. Lower is better.
        {left > 0 && ` The first ${chart.panels.length} of ${chart.tasks} tasks.`}
      </p>
    </Frame>
  );
}

function Panel({ panel, title }: { panel: StripPanel; title: string }) {
  const [said, setSaid] = useState("");
  return (
    <div class="panel">
      <Drawing
        label={`${title} of every run on ${panel.task}: ${panel.strips.map(means).join(", ")}`}
        title={
          <b>
            <Words text={panel.task} />
          </b>
        }
        said={said}
        onLeave={() => setSaid("")}
      >
        {(width) => <Dots panel={panel} width={width} onRead={setSaid} />}
      </Drawing>
    </div>
  );
}

interface DotsProps {
  panel: StripPanel;
  width: number;
  onRead: (text: string) => void;
}

function Dots({ panel, width, onRead }: DotsProps) {
  const isNarrow = width < 380;
  const height = isNarrow ? 40 : ROW;
  const letters = Math.max(...panel.strips.map((strip) => [...strip.arm].length));
  const left = isNarrow ? 0 : Math.min(0.38 * width, 14 + 6.8 * letters);
  const right = isNarrow ? 6 : 58;
  const x = scale(panel.low, panel.high, left + 6, width - right - 6);
  const bottom = panel.strips.length * height + 4;
  return (
    <svg width={width} height={bottom + 18}>
      {ticks(panel.low, panel.high, isNarrow ? 4 : 7).map((value) => (
        <g key={value}>
          <path d={`M${x(value)} 0V${bottom}`} class="grid-line" />
          <text x={x(value)} y={bottom + 13} class="axis-text" text-anchor="middle">
            {tick(value)}
          </text>
        </g>
      ))}
      {panel.strips.map((strip, row) => {
        const top = row * height;
        const middle = top + (isNarrow ? 27 : height / 2);
        const baseline = isNarrow ? top + 13 : middle + 4;
        const colour = strip.isSubject ? "var(--accent)" : "var(--muted)";
        return (
          <g key={strip.arm}>
            <text x={2} y={baseline} class={strip.isSubject ? "row-label is-pooled" : "row-label"}>
              {fitted(strip.arm, isNarrow ? width - 80 : left - 6)}
            </text>
            <text x={width - 4} y={baseline} class="row-label" text-anchor="end">
              {figure(strip.mean ?? undefined)}
            </text>
            {strip.dots.map((dot) => (
              <circle
                key={dot.runId}
                cx={x(dot.value)}
                cy={middle + dot.lift * ROW}
                r={3.4}
                fill={colour}
                class="run-dot"
                onPointerEnter={() => onRead(read(strip, dot))}
                onClick={() => go(runAddress(dot.runId))}
              />
            ))}
            {strip.mean !== null && (
              <path d={`M${x(strip.mean)} ${middle - 9}V${middle + 9}`} class="mean-mark" />
            )}
          </g>
        );
      })}
    </svg>
  );
}

function means(strip: Strip): string {
  return `${strip.arm} ${figure(strip.mean ?? undefined)} on average`;
}

function read(strip: Strip, dot: Dot): string {
  return `${strip.arm}, ${dot.variation}, seed ${dot.seed}: ${figure(dot.value)}`;
}

function Seeds({ seeds }: { seeds: SeedTable }) {
  const hasVariations = new Set(seeds.rows.map((row) => row.variation)).size > 1;
  const compared = (row: SeedRow) =>
    row.runs.flatMap((run) => run.runId || []).slice(0, MOST_COMPARED);
  const columns: ColumnOf<SeedRow>[] = [
    { name: "task", class: "cell-name", cell: (row) => <Words text={row.task} /> },
    ...(hasVariations
      ? [{ name: "variation", cell: (row: SeedRow) => <Words text={row.variation} /> }]
      : []),
    { name: "seed", isNumber: true, cell: (row) => row.seed },
    ...seeds.arms.map((arm, at) => ({
      name: arm,
      isNumber: true,
      cell: (row: SeedRow) => <SeedCell run={row.runs[at]} />,
    })),
    {
      name: "compare",
      isNameUnseen: true,
      cell: (row) =>
        compared(row).length > 1 && (
          <Link
            to={compareAddress(compared(row))}
            label={`Compare the runs of ${row.task} with seed ${row.seed}`}
          >
            compare
          </Link>
        ),
    },
  ];
  return (
    <>
      <Table
        label="Every run, by seed"
        columns={columns}
        rows={seeds.rows}
        id={(row) => `${row.task} ${row.variation} ${row.seed}`}
      />
      {seeds.total > seeds.rows.length && (
        <p class="note">
          The first {count(seeds.rows.length)} of {count(seeds.total)} rows.
        </p>
      )}
    </>
  );
}

function SeedCell({ run }: { run: SeedRow["runs"][number] | undefined }) {
  if (!run?.runId) return <>–</>;
  return (
    <Link to={runAddress(run.runId)}>
      {run.state === "succeeded" ? run.figure : <StateBadge state={run.state} />}
    </Link>
  );
}
