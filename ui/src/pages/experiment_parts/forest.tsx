/** Differences of the subject to the other arms, with their intervals. */

import { fitted, places, type Scale, scale, ticks } from "../../data/axis";
import type { Key } from "../../data/chart";
import { forestRows } from "../../data/chart_files";
import { counted, tick } from "../../data/numbers";
import type { ForestChart, ForestRow } from "../../data/report";
import { Words } from "../../parts/basics";
import { Drawing, type Reading as ReadRow, useReading } from "../../parts/drawing";
import { Frame } from "../../parts/frame";
import { Reading } from "../../parts/report_table";
import { Table } from "../../parts/table";

const ROW = 25;
const TOP = 24;
const COLOURS: { [reading: string]: string } = {
  better: "var(--accent)",
  worse: "var(--restart)",
  "not shown": "var(--muted)",
};

export function Forest({ chart }: { chart: ForestChart }) {
  const title = `difference of ${chart.figure}`;
  const keys: Key[] = [
    { name: `${chart.subject} is better`, sort: "diamond", colour: COLOURS.better! },
    { name: `${chart.subject} is worse`, sort: "diamond", colour: COLOURS.worse! },
    { name: "interval includes zero", sort: "diamond", colour: COLOURS["not shown"]! },
  ];
  return (
    <Frame
      name={title}
      keys={keys}
      table={() => <ForestTable chart={chart} title={title} />}
      csv={() => forestRows(chart)}
    >
      <Differences chart={chart} title={title} />
    </Frame>
  );
}

function Differences({ chart, title }: { chart: ForestChart; title: string }) {
  const reading = useReading(chart.rows.length, 0);
  return (
    <>
      <Drawing
        label={`${title}, with 95% intervals. Up and down read the rows; the button “Table” lists them.`}
        title={title}
        said={read(chart.rows[reading.at]!)}
        reading={reading}
      >
        {(width) => <Rows chart={chart} width={width} reading={reading} />}
      </Drawing>
      <p class="note">
        Paired by task, variation and seed, with 95% intervals. Diamonds are pooled over tasks, dots
        are single tasks; an open mark has no interval.
      </p>
    </>
  );
}

interface RowsProps {
  chart: ForestChart;
  width: number;
  reading: ReadRow;
}

function Rows({ chart, width, reading }: RowsProps) {
  const { rows } = chart;
  const isNarrow = width < 520;
  const left = isNarrow ? 0 : Math.min(200, 26 + 6.6 * longest(rows));
  const right = width >= 760 ? 236 : 8;
  const height = isNarrow ? 42 : ROW;
  const tops = places(rows).map((row) => TOP + row * height);
  const bottom = tops.at(-1)! + height + 4;
  const side = isNarrow ? 24 : 8; // half of a tick's text
  const x = scale(chart.low, chart.high, left + side, width - right - side);
  return (
    <svg width={width} height={bottom + 18}>
      <Axis x={x} chart={chart} bottom={bottom} most={isNarrow ? 4 : 9} />
      <text x={x(0) - 8} y={14} class="axis-text" text-anchor="end">
        ← {fitted(chart.subject, x(0) - left - 90)} better
      </text>
      <text x={x(0) + 8} y={14} class="axis-text">
        other arm better →
      </text>
      {rows.map((row, index) => (
        <g key={index} onPointerEnter={() => reading.read(index)}>
          <rect
            x={0}
            y={tops[index]! - 1}
            width={width}
            height={height}
            rx={3}
            class={index === reading.at ? "row-mark is-current" : "row-mark"}
          />
          <text
            x={isNarrow ? 2 : 4 + (row.task ? 14 : 0)}
            y={tops[index]! + 15}
            class={row.task ? "row-label" : "row-label is-pooled"}
          >
            {fitted(row.label, isNarrow ? width - 110 : left - 18)}
          </text>
          {(right > 100 || isNarrow) && (
            <text
              x={width - 6}
              y={tops[index]! + 15}
              class={row.task ? "row-label" : "row-label is-pooled"}
              text-anchor="end"
            >
              {isNarrow ? row.reading : row.difference}
            </text>
          )}
          <Interval row={row} x={x} y={tops[index]! + (isNarrow ? 28 : 11)} />
        </g>
      ))}
    </svg>
  );
}

function longest(rows: readonly ForestRow[]): number {
  return Math.max(...rows.map((row) => [...row.label].length));
}

function read(row: ForestRow): string {
  const where = row.task ? `vs. ${row.other} on ${row.task}` : row.label;
  const pairs = counted(row.pairs, "pair");
  return `${where}: ${row.difference} · better in ${row.winRate} of ${pairs} · ${row.reading}`;
}

function Axis(props: { x: Scale; chart: ForestChart; bottom: number; most: number }) {
  const { x, chart, bottom } = props;
  return (
    <>
      {ticks(chart.low, chart.high, props.most).map((value) => (
        <g key={value}>
          <path d={`M${x(value)} ${TOP - 4}V${bottom}`} class="grid-line" />
          <text x={x(value)} y={bottom + 13} class="axis-text" text-anchor="middle">
            {tick(value)}
          </text>
        </g>
      ))}
      <path d={`M${x(0)} ${TOP - 4}V${bottom}`} class="zero-line" />
    </>
  );
}

function Interval({ row, x, y }: { row: ForestRow; x: Scale; y: number }) {
  if (row.mean === null) return null;
  const colour = COLOURS[row.reading] ?? "var(--muted)";
  const isPooled = row.task === "";
  const isKnown = row.low !== null && row.high !== null;
  const size = isPooled ? 6 : 3.4;
  const at = x(row.mean);
  const mark = {
    stroke: colour,
    "stroke-width": 1.4,
    fill: isKnown ? colour : "var(--surface)",
  };
  return (
    <>
      {isKnown && (
        <path
          d={`M${x(row.low!)} ${y}H${x(row.high!)}${isPooled ? ends(x(row.low!), x(row.high!), y) : ""}`}
          stroke={colour}
          stroke-width={isPooled ? 2.6 : 1.4}
        />
      )}
      {isPooled ? (
        <path d={`M${at} ${y - size}L${at + size} ${y}L${at} ${y + size}L${at - size} ${y}Z`} {...mark} />
      ) : (
        <circle cx={at} cy={y} r={size} {...mark} />
      )}
    </>
  );
}

function ends(from: number, to: number, y: number): string {
  return `M${from} ${y - 5}V${y + 5}M${to} ${y - 5}V${y + 5}`;
}

function ForestTable({ chart, title }: { chart: ForestChart; title: string }) {
  return (
    <Table
      label={`${title}, as a table`}
      rows={chart.rows}
      id={(_, index) => index}
      columns={[
        { name: "other arm", class: "cell-name", cell: (row) => <Words text={row.other} /> },
        { name: "task", cell: (row) => <Words text={row.task || "all, pooled"} /> },
        { name: "difference (95% interval)", isNumber: true, cell: (row) => row.difference },
        { name: "result", cell: (row) => <Reading of={row.reading} /> },
        { name: "win rate", isNumber: true, cell: (row) => row.winRate },
        { name: "pairs", isNumber: true, cell: (row) => row.pairs },
      ]}
    />
  );
}
