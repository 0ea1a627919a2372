/** A live chart over steps, with a table of the same figures. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { thinned, type Column } from "../data/curves";
import { count, DASH, figure } from "../data/numbers";
import { type ChartData, type Line, options, type Shape } from "./chart_options";
import { useScheme } from "./scheme";
import { Table } from "./table";

const TABLE_ROWS = 200;

export interface Key {
  name: string;
  colour: string;
  /** What is drawn so: a line, a vertical rule, or the shape of dots. */
  sort: "line" | "stairs" | "faint" | "rule" | "dashed" | Shape;
  dash?: number[];
}

interface ChartProps {
  /** Name for those who do not see it. */
  label: string;
  data: ChartData;
  keys: readonly Key[];
  controls?: ComponentChildren;
  /** Said below, for example what is not drawn. */
  note?: string;
  height?: number;
}

export function Chart({ label, data, keys, controls, note, height = 280 }: ChartProps) {
  const [isTable, setTable] = useState(false);
  const [index, setIndex] = useState<number | undefined>(undefined);
  return (
    <figure class="chart">
      <div class="chart-head">
        <Keys keys={keys} />
        <div class="chart-controls">
          {controls}
          <button
            type="button"
            class="button small"
            aria-pressed={isTable}
            onClick={() => setTable(!isTable)}
          >
            Table
          </button>
        </div>
      </div>
      {isTable ? (
        <FiguresTable label={label} data={data} />
      ) : (
        <>
          <div class="chart-axis">
            <span>{data.title}</span>
            <span>{readout(data, index)}</span>
          </div>
          <Canvas label={label} data={data} height={height} onCursor={setIndex} />
          <div class="chart-axis below">
            <span>{note || "drag to zoom in; a double click, or Escape, shows all"}</span>
            <span>steps of the trajectory</span>
          </div>
        </>
      )}
    </figure>
  );
}

/** What stands at the cursor; the last step without one. */
function readout(data: ChartData, index: number | undefined): string {
  const at = index ?? data.steps.length - 1;
  const step = data.steps[at];
  if (step === undefined) return "";
  const figures = data.lines
    .filter((line) => line.values[at] != null)
    .slice(0, 4)
    .map((line) => `${line.name} ${figure(line.values[at]!)}`);
  return [`step ${count(step)}`, ...figures].join(" · ");
}

function Keys({ keys }: { keys: readonly Key[] }) {
  return (
    <ul class="keys">
      {keys.map((key) => (
        <li key={key.name}>
          <KeyMark mark={key} />
          <bdi>{key.name}</bdi>
        </li>
      ))}
    </ul>
  );
}

export function KeyMark({ mark }: { mark: Key }) {
  const stroke = { stroke: mark.colour, fill: "none", "stroke-width": 2 };
  return (
    <svg width="20" height="12" aria-hidden="true" class="key-mark">
      {mark.sort === "line" && (
        <path d="M1 6H19" {...stroke} stroke-dasharray={mark.dash?.join(" ")} />
      )}
      {mark.sort === "faint" && <path d="M1 6H19" {...stroke} stroke-width="1" opacity="0.7" />}
      {mark.sort === "stairs" && <path d="M1 3H10V9H19" {...stroke} />}
      {mark.sort === "rule" && <path d="M10 0V12" {...stroke} stroke-width="1.5" />}
      {mark.sort === "dashed" && (
        <path d="M10 0V12" {...stroke} stroke-width="1.5" stroke-dasharray="2.5 2.5" />
      )}
      {mark.sort === "disc" && <circle cx="10" cy="6" r="3.4" fill={mark.colour} />}
      {mark.sort === "ring" && <circle cx="10" cy="6" r="3.2" {...stroke} stroke-width="1.4" />}
      {mark.sort === "triangle" && <path d="M10 1.8L14.2 9.6H5.8Z" fill={mark.colour} />}
    </svg>
  );
}

interface CanvasProps {
  label: string;
  data: ChartData;
  height: number;
  onCursor: (index: number | undefined) => void;
}

function Canvas({ label, data, height, onCursor }: CanvasProps) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | undefined>(undefined);
  const current = useRef(data);
  current.current = data;
  const scheme = useScheme();
  const form = JSON.stringify([
    scheme,
    data.isLog,
    data.lines.map((line) => [line.name, line.colour, line.width, line.dash, line.isStepped]),
  ]);
  useEffect(() => {
    const host = place.current!;
    const size = () => ({ width: Math.max(200, host.clientWidth), height });
    const made = new uPlot(
      options(size(), () => current.current, onCursor),
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
    const steps = made.data[0];
    const { min, max } = made.scales.x!;
    // Before the chart is drawn for the first time, both are null.
    const isZoomed = min != null && max != null && (min > steps[0]! || max < steps.at(-1)!);
    made.setData(columns(data), !isZoomed);
    if (isZoomed) made.setScale("x", { min, max });
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

function columns(data: ChartData): uPlot.AlignedData {
  return [data.steps, ...data.lines.map((line) => line.values)];
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
  const rules = new Map(data.rules?.map((rule) => [rule.step, rule.name]));
  return (
    <>
      <Table
        label={`${label}, as a table`}
        rows={rows}
        id={(row) => row}
        columns={[
          { name: "step", cell: (row) => count(data.steps[row]!), isNumber: true },
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
