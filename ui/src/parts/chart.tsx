/** A live chart over steps, with a table of the same figures. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { AXES } from "../data/along";
import { thinned, type Column } from "../data/curves";
import { count, DASH, figure } from "../data/numbers";
import { type StepRange, stepsWithin } from "../data/zoom";
import { type ChartData, isLone, type Line, options, placeOf } from "./chart_options";
import { type Cells, Frame, type Key } from "./frame";
import { useScheme } from "./scheme";
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
  return (
    <Frame
      keys={keys}
      tools={tools}
      controls={controls}
      table={() => <FiguresTable label={label} data={data} />}
      csv={{ name: data.title, rows: () => figures(data) }}
    >
      <div class="chart-axis">
        <span>{data.title}</span>
        <span>{readout(data, index)}</span>
      </div>
      <Canvas label={label} data={data} height={height} onCursor={setIndex} onZoom={onZoom} />
      <div class="chart-axis below">
        <span>{note || "drag to zoom in; a double click, or Escape, shows all"}</span>
        <span>{data.along?.name ?? AXES.steps}</span>
      </div>
    </Frame>
  );
}

/** Every point that is drawn of the lines, as rows with their step. */
function figures({ steps, along, lines }: ChartData): Cells[] {
  const place = along === undefined ? [] : [along];
  return [
    ["step", ...place.map(({ name }) => name), ...lines.map(({ name }) => name)],
    ...steps.map((step, at) => [
      step,
      ...place.map((axis) => axis.place(step)),
      ...lines.map(({ values }) => values[at]),
    ]),
  ];
}

/** What stands at the cursor; the last step without one. */
function readout(data: ChartData, index: number | undefined): string {
  const at = index ?? data.steps.length - 1;
  const step = data.steps[at];
  if (step === undefined) return "";
  const figures = data.lines
    .filter((line) => line.values[at] != null && !line.isEdge)
    .slice(0, 4)
    .map((line) => `${line.name} ${figure(line.values[at]!)}`);
  return [`step ${count(step)}`, ...figures].join(" · ");
}

interface CanvasProps {
  label: string;
  data: ChartData;
  height: number;
  onCursor: (index: number | undefined) => void;
  onZoom: ((range: StepRange | undefined) => void) | undefined;
}

function Canvas({ label, data, height, onCursor, onZoom }: CanvasProps) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const current = useRef(data);
  current.current = data;
  const zooming = useRef(onZoom);
  zooming.current = onZoom;
  const scheme = useScheme();
  const form = JSON.stringify([
    scheme,
    data.isLog,
    data.lines.map((line) => [line.name, line.colour, line.width, line.dash, line.isStepped, line.isEdge]),
    data.lines.map((line) => isLone(line.values)),
  ]);
  useEffect(() => {
    const host = place.current!;
    const size = () => ({ width: Math.max(200, host.clientWidth), height });
    const made = new uPlot(
      options(size(), () => current.current, onCursor, zoomed(current, zooming)),
      columns(data),
      host,
    );
    chart.current = made;
    const watcher = new ResizeObserver(() => {
      if (made.width !== size().width) made.setSize(size());
    });
    watcher.observe(host);
    return () => {
      watcher.disconnect();
      made.destroy();
      chart.current = undefined;
    };
  }, [form, height]);
  useEffect(() => {
    const made = chart.current;
    if (made === undefined) return;
    const zoom = zoomOf(made);
    made.setData(columns(data), zoom === undefined);
    if (zoom !== undefined) made.setScale("x", zoom);
  }, [data]);
  const move = (event: KeyboardEvent) => moved(chart.current, event, onCursor);
  return (
    <div
      class="chart-canvas"
      ref={place}
      role="img"
      tabIndex={0}
      aria-label={`${label}. Left and right read the figures; the button “Table” lists them.`}
      onKeyDown={move}
    />
  );
}

/** The part of the horizontal axis that is shown; undefined: all. */
function zoomOf({ data, scales }: uPlot): { min: number; max: number } | undefined {
  const places = data[0];
  const { min, max } = scales.x!;
  // Before the chart is drawn for the first time, both are null.
  if (min == null || max == null) return undefined;
  return min > places[0]! || max < places.at(-1)! ? { min, max } : undefined;
}

/** Tells of a zoom, once: where it stays, further points do not change it. */
function zoomed(
  data: { readonly current: ChartData },
  onZoom: { readonly current: CanvasProps["onZoom"] },
): (chart: uPlot) => void {
  let told: string | undefined; // a new chart shows all
  return (chart) => {
    const zoom = zoomOf(chart);
    const now = zoom === undefined ? "" : `${zoom.min} ${zoom.max}`;
    if (now === told) return;
    told = now;
    const { steps } = data.current;
    const places = steps.map((step) => placeOf(data.current, step));
    onZoom.current?.(zoom && stepsWithin(steps, places, zoom.min, zoom.max));
  };
}

function columns(data: ChartData): uPlot.AlignedData {
  return [data.steps.map((step) => placeOf(data, step)), ...data.lines.map((line) => line.values)];
}

function moved(
  chart: uPlot | undefined,
  event: KeyboardEvent,
  onCursor: (index: number | undefined) => void,
): void {
  const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
  if (chart === undefined) return;
  const steps = chart.data[0];
  if (event.key === "Escape") {
    chart.setScale("x", { min: steps[0]!, max: steps.at(-1)! });
    return;
  }
  if (by === undefined) return;
  event.preventDefault();
  const at = Math.min(steps.length - 1, Math.max(0, (chart.cursor.idx ?? steps.length - 1) + by));
  chart.setCursor({ left: chart.valToPos(steps[at]!, "x"), top: 10 });
  onCursor(at);
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
