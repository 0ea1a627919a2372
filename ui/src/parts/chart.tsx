/** A live chart over steps, with a table of the same figures. */

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { AXES } from "../data/along";
import { type ChartData, chartRows, type Key, type Line } from "../data/chart";
import { chartPicture } from "../data/chart_picture";
import { thinned, type Column } from "../data/curves";
import { count, DASH, figure } from "../data/numbers";
import type { StepRange } from "../data/zoom";
import { Canvas, seen } from "./chart_canvas";
import { Spoken } from "./drawing";
import { Frame } from "./frame";
import { Table } from "./table";

const TABLE_ROWS = 200;

interface ChartProps {
  /** Name for those who do not see it. */
  label: string;
  data: ChartData;
  keys: readonly Key[];
  /** What can be done with what a key names. */
  tools?: (key: number) => ComponentChildren;
  controls?: ComponentChildren;
  /** Said below, for example what is not drawn. */
  note?: string;
  height?: number;
  /** Called with the steps that are zoomed into; undefined: all are shown again. */
  onZoom?: (range: StepRange | undefined) => void;
}

export function Chart({ label, data, keys, tools, controls, note, height = 280, onZoom }: ChartProps) {
  const [index, setIndex] = useState<number | undefined>(undefined);
  const [isKeyed, setKeyed] = useState(false);
  const chart = useRef<uPlot | undefined>(undefined);
  return (
    <Frame
      name={data.title}
      keys={keys}
      tools={tools}
      controls={controls}
      table={() => <FiguresTable label={label} data={data} />}
      csv={() => chartRows(data)}
      svg={(inks) => chartPicture(data, seen(chart.current!), inks)}
    >
      <div class="chart-axis">
        <span class="axis-name">{data.title}</span>
        <span>{readout(data, index)}</span>
      </div>
      <Canvas
        chart={chart}
        label={label}
        data={data}
        height={height}
        onCursor={setIndex}
        onKeyed={setKeyed}
        onZoom={onZoom}
      />
      <div class="chart-axis below">
        <span>{note || "drag, or press plus, to zoom in; a double click, or Escape, shows all"}</span>
        <span class="axis-name">{data.along?.name ?? AXES.steps}</span>
      </div>
      <Spoken>{isKeyed && index !== undefined && readout(data, index)}</Spoken>
    </Frame>
  );
}

/** What stands at the cursor; the last step without one. */
function readout(data: ChartData, index: number | undefined): string {
  const at = index ?? data.steps.length - 1;
  const step = data.steps[at];
  if (step === undefined) return "";
  const figures = data.lines
    .filter((line) => line.values[at] != null && !line.isEdge)
    .slice(0, 4)
    .map((line) => `\u2068${line.name}\u2069 ${figure(line.values[at]!)}`);
  return [`step ${count(step)}`, ...figures].join(" · ");
}

function FiguresTable({ label, data }: { label: string; data: ChartData }) {
  const dots = (data.dots ?? []).flatMap(({ points }) => points);
  const rows = thinned(data.steps.length, TABLE_ROWS);
  const isThinned = rows.length < data.steps.length;
  const cell = (values: Column) => (row: number) => {
    const value = values[row];
    return value == null ? DASH : figure(value);
  };
  const { along } = data;
  const rules = new Map(data.rules?.map((rule) => [rule.step, rule.name]));
  return (
    <>
      <Table
        label={`${label}, as a table`}
        rows={rows}
        id={(row) => row}
        columns={[
          { name: "step", cell: (row) => count(data.steps[row]!), isNumber: true },
          ...(along === undefined
            ? []
            : [
                {
                  name: along.name,
                  cell: (row: number) => count(Math.round(along.place(data.steps[row]!) * 10) / 10),
                  isNumber: true,
                },
              ]),
          ...data.lines.map((line: Line) => ({
            name: line.name,
            cell: cell(line.values),
            isNumber: true,
          })),
          ...(rules.size > 0
            ? [{ name: "mark", cell: (row: number) => rules.get(data.steps[row]!) ?? "" }]
            : []),
        ]}
      />
      <p class="note">
        {isThinned && `${rows.length} of ${count(data.steps.length)} steps, evenly spaced. `}
        {dots.length > 0 && "Each candidate has a row in the tab “Candidates”."}
      </p>
    </>
  );
}
