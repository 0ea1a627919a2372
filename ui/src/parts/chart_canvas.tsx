/** The canvas of a chart over steps: drawn by uPlot, zoomed and read by pointer and keyboard. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { type ChartData, isLone, placeOf } from "../data/chart";
import type { Seen } from "../data/chart_picture";
import { type StepRange, stepsWithin } from "../data/zoom";
import { options } from "./chart_options";
import { useScheme } from "./scheme";

interface CanvasProps {
  /** Gets what is drawn. */
  chart: { current: uPlot | undefined };
  label: string;
  data: ChartData;
  height: number;
  onCursor: (index: number | undefined) => void;
  /** Called with whether the keyboard reads the figures. */
  onKeyed: (isKeyed: boolean) => void;
  onZoom: ((range: StepRange | undefined) => void) | undefined;
}

export function Canvas({ chart, label, data, height, onCursor, onKeyed, onZoom }: CanvasProps) {
  const place = useRef<HTMLDivElement>(null);
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
  const press = (event: KeyboardEvent) => {
    const drawn = chart.current;
    const [by, share] = [MOVES[event.key], ZOOMS[event.key]];
    if (drawn === undefined || event.ctrlKey || event.metaKey || (by ?? share) === undefined) return;
    event.preventDefault();
    onKeyed(event.key !== "Escape");
    if (share !== undefined) zoom(drawn, share);
    if (by !== undefined) onCursor(moved(drawn, by));
  };
  return (
    <div
      class="chart-canvas"
      ref={place}
      role="img"
      tabIndex={0}
      aria-label={`${label}. Left and right read the figures, plus and minus zoom; the button “Table” lists them.`}
      onKeyDown={press}
      onBlur={() => onKeyed(false)}
    />
  );
}

/** What is seen of a chart. */
export function seen({ width, height, scales }: uPlot): Seen {
  return { width, height, from: scales.x!.min ?? 0, to: scales.x!.max ?? 1 };
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

/** By how many points the keys move the cursor. */
const MOVES: { [key: string]: number } = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 };

/** How much of what is seen of the horizontal axis the keys show then. */
const ZOOMS: { [key: string]: number } = { "+": 0.5, "=": 0.5, "-": 2, Escape: Infinity };

/** Shows a share of what is seen, around the cursor or the middle: a part of it, or more, at most all. */
function zoom(chart: uPlot, share: number): void {
  const places = chart.data[0];
  const { min, max } = chart.scales.x!;
  const all = [places[0]!, places.at(-1)!] as const;
  const now = [min ?? all[0], max ?? all[1]] as const;
  const seen = places.filter((place) => place >= now[0] && place <= now[1]);
  if (!(now[1] > now[0]) || (share < 1 && seen.length < 3)) return;
  const [low, high] = share < 1 ? now : all;
  const width = (now[1] - now[0]) * share;
  if (width >= high - low) return chart.setScale("x", { min: low, max: high });
  const middle = places[chart.cursor.idx ?? -1] ?? (now[0] + now[1]) / 2;
  const from = Math.min(high - width, Math.max(low, middle - width / 2));
  chart.setScale("x", { min: from, max: from + width });
}

/** Moves the cursor by some points, within what is seen; returns the index of its point. */
function moved(chart: uPlot, by: number): number {
  const places = chart.data[0];
  const { min = null, max = null } = chart.scales.x!;
  const first = Math.max(0, places.findIndex((place) => place >= (min ?? -Infinity)));
  const last = places.findLastIndex((place) => place <= (max ?? Infinity));
  const from = chart.cursor.idx ?? last + 1;
  const at = Math.min(last, Math.max(first, from + by));
  chart.setCursor({ left: chart.valToPos(places[at]!, "x"), top: 10 });
  return at;
}
