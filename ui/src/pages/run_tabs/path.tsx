/** The path of the parameters in two dimensions. */

import { useMemo, useRef, useState } from "preact/hooks";
import * as api from "../../data/api";
import { fitted, moved, nearest, scale, ticks } from "../../data/axis";
import { between } from "../../data/colours";
import { thinned } from "../../data/curves";
import { useRead } from "../../data/hooks";
import { count, counted, figure, percent, tick } from "../../data/numbers";
import type { PathPoint, PathView } from "../../data/report";
import type { RunLog } from "../../data/run_log";
import { Empty, Problem, Section, Words } from "../../parts/basics";
import { Frame, type Key, useWidth } from "../../parts/frame";
import { colour, useScheme } from "../../parts/scheme";
import { Table } from "../../parts/table";

const LEFT = 56;
const TOP = 14;
const BOTTOM = 24;
const TABLE_ROWS = 200;
const STOPS = ["--loss-low", "--loss-middle", "--loss-high"];
const KEYS: Key[] = [
  { name: "start", sort: "ring", colour: "var(--ink)" },
  { name: "end", sort: "diamond", colour: "var(--ink)" },
  { name: "restart from a proposal", sort: "triangle", colour: "var(--restart)" },
];

export function PathTab({ log }: { log: RunLog }) {
  // Read again when a stage has begun or the run has ended: a path is dear.
  const key = `${log.runId} ${log.stages.length} ${log.isEnded}`;
  const found = useRead(key, (signal) => api.path(log.runId, signal));
  const known = useRef<PathView | undefined>(undefined);
  if (found.value !== undefined) known.current = found.value;
  const view = known.current;
  return (
    <Section title="Path of the parameters">
      {found.error && <Problem error={found.error} />}
      {view === undefined && !found.error && <Empty>Reading…</Empty>}
      {view && view.points.length === 0 && <Empty>{view.note}</Empty>}
      {view && view.points.length > 0 && <Path view={view} />}
    </Section>
  );
}

function Path({ view }: { view: PathView }) {
  return (
    <Frame
      keys={KEYS}
      controls={<Losses view={view} />}
      table={() => <PathTable points={view.points} />}
    >
      <Drawing view={view} />
      <p class="note">
        The two directions in which the parameters vary most, with{" "}
        {percent(view.shares[0] + view.shares[1])} of their variance. {view.note}.
      </p>
    </Frame>
  );
}

/** What the colours say. */
function Losses({ view }: { view: PathView }) {
  const stops = useStops();
  if (view.lowest === null || view.highest === null) return null;
  return (
    <span class="losses">
      train loss{view.isLog ? ", log scale" : ""} {figure(view.lowest)}
      <svg width="84" height="10" aria-hidden="true">
        {Array.from({ length: 12 }, (_, at) => (
          <rect key={at} x={at * 7} width={7} height={10} fill={between(stops, at / 11)} />
        ))}
      </svg>
      {figure(view.highest)}
    </span>
  );
}

function useStops(): string[] {
  const scheme = useScheme();
  return useMemo(() => STOPS.map(colour), [scheme]);
}

function Drawing({ view }: { view: PathView }) {
  const [place, width] = useWidth();
  const stops = useStops();
  const { points } = view;
  const [chosen, setChosen] = useState<number | undefined>(undefined);
  const at = Math.min(chosen ?? points.length - 1, points.length - 1);
  const height = Math.round(Math.min(520, Math.max(260, 0.62 * width)));
  const placed = useMemo(() => layout(points, width, height), [points, width, height]);
  const drawn = useMemo(
    () => width > 0 && <Picture view={view} placed={placed} stops={stops} />,
    [view, placed, stops],
  );
  const move = (event: KeyboardEvent) => {
    const to = event.key === "Escape" ? points.length - 1 : moved(event.key, at, points.length);
    if (to === undefined) return;
    event.preventDefault();
    setChosen(to);
  };
  const see = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    setChosen(nearest(placed.at, event.clientX - box.left, event.clientY - box.top));
  };
  const current = placed.at[at];
  return (
    <>
      <div class="chart-axis">
        <span>second direction, {percent(view.shares[1])}</span>
        <span>{read(points[at]!)}</span>
      </div>
      <div
        ref={place}
        class="drawing"
        role="img"
        tabIndex={0}
        aria-label={`Path of the parameters over ${counted(points.length, "snapshot")}. Left and right read them; the button “Table” lists them.`}
        onKeyDown={move}
        onPointerMove={see}
      >
        {width > 0 && (
          <svg width={width} height={height}>
            {drawn}
            {current && <circle cx={current.x} cy={current.y} r={8} class="path-current" />}
          </svg>
        )}
      </div>
      <div class="chart-axis below">
        <span class="path-words">
          <Words text={points[at]!.words} />
        </span>
        <span>first direction, {percent(view.shares[0])}</span>
      </div>
    </>
  );
}

interface Placed {
  at: { x: number; y: number }[];
  across: { at: number; text: string }[];
  up: { at: number; text: string }[];
  width: number;
  height: number;
}

function layout(points: readonly PathPoint[], width: number, height: number): Placed {
  const [left, right] = ends(points.map((point) => point.x));
  const [low, high] = ends(points.map((point) => point.y));
  const x = scale(left, right, LEFT + 12, Math.max(LEFT + 13, width - 16));
  const y = scale(low, high, height - BOTTOM - 10, TOP + 8);
  const marks = (from: number, to: number, most: number, place: (value: number) => number) =>
    ticks(from, to, most).map((value) => ({ at: place(value), text: tick(value) }));
  return {
    at: points.map((point) => ({ x: x(point.x), y: y(point.y) })),
    across: marks(left, right, width / 110, x),
    up: marks(low, high, height / 70, y),
    width,
    height,
  };
}

function ends(values: readonly number[]): [number, number] {
  const low = values.reduce((one, other) => Math.min(one, other), Infinity);
  const high = values.reduce((one, other) => Math.max(one, other), -Infinity);
  return low === high ? [low - 1, high + 1] : [low, high];
}

interface PictureProps {
  view: PathView;
  placed: Placed;
  stops: readonly string[];
}

function Picture({ view: { points }, placed, stops }: PictureProps) {
  const { at, width, height } = placed;
  const restarts = points.flatMap((point, index) => (point.isRestart ? index : []));
  const dot = (index: number) => points[index]!.shade;
  const first = at[0]!;
  const last = at.at(-1)!;
  return (
    <>
      {placed.across.map((mark) => (
        <g key={mark.text}>
          <path d={`M${mark.at} ${TOP}V${height - BOTTOM}`} class="grid-line" />
          <text x={mark.at} y={height - 8} class="axis-text" text-anchor="middle">
            {mark.text}
          </text>
        </g>
      ))}
      {placed.up.map((mark) => (
        <g key={mark.text}>
          <path d={`M${LEFT} ${mark.at}H${width}`} class="grid-line" />
          <text x={LEFT - 6} y={mark.at + 4} class="axis-text" text-anchor="end">
            {mark.text}
          </text>
        </g>
      ))}
      {legs(points, at).map(({ line, isJump }, index) => (
        <path key={index} d={line} class={isJump ? "path-jump" : "path-line"} />
      ))}
      {at.map(({ x, y }, index) => (
        <circle
          key={index}
          cx={x}
          cy={y}
          r={points.length > 400 ? 2.4 : 3.4}
          fill={dot(index) === null ? "none" : between(stops, dot(index)!)}
          stroke={dot(index) === null ? "var(--muted)" : undefined}
        />
      ))}
      {restarts.map((index) => (
        <Restart key={index} place={at[index]!} stage={points[index]!.stage} width={width} />
      ))}
      <circle cx={first.x} cy={first.y} r={6} class="path-start" />
      <path
        d={`M${last.x} ${last.y - 7}L${last.x + 7} ${last.y}L${last.x} ${last.y + 7}L${last.x - 7} ${last.y}Z`}
        class="path-end"
      />
    </>
  );
}

/** Lines from each snapshot to the next; a jump is a line of its own. */
function legs(
  points: readonly PathPoint[],
  at: readonly { x: number; y: number }[],
): { line: string; isJump: boolean }[] {
  const found = [{ line: "", isJump: false }];
  at.forEach(({ x, y }, index) => {
    const before = at[index - 1];
    if (before && points[index]!.isRestart) {
      found.push({ line: `M${before.x} ${before.y}L${x} ${y}`, isJump: true });
      found.push({ line: "", isJump: false });
    }
    const leg = found.at(-1)!;
    leg.line += `${leg.line ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return found;
}

function Restart(props: { place: { x: number; y: number }; stage: number; width: number }) {
  const { x, y } = props.place;
  const isRight = x > props.width - 40;
  return (
    <>
      <path d={`M${x} ${y - 7}L${x + 6.4} ${y + 5}H${x - 6.4}Z`} class="path-restart" />
      <text
        x={isRight ? x - 9 : x + 9}
        y={y + 4}
        class="path-label"
        text-anchor={isRight ? "end" : "start"}
      >
        {props.stage}
      </text>
    </>
  );
}

function read(point: PathPoint): string {
  const loss = point.loss === null ? "loss not finite" : `loss ${figure(point.loss)}`;
  return `step ${count(point.step)} · stage ${point.stage}${point.isRestart ? ", restart" : ""} · ${loss}`;
}

function PathTable({ points }: { points: readonly PathPoint[] }) {
  const rows = thinned(points.length, TABLE_ROWS).map((at) => points[at]!);
  return (
    <>
      <Table
        label="Path of the parameters, as a table"
        rows={rows}
        id={(point) => point.step}
        columns={[
          { name: "step", isNumber: true, cell: (point) => count(point.step) },
          { name: "stage", isNumber: true, cell: (point) => point.stage },
          { name: "train loss", isNumber: true, cell: (point) => figure(point.loss ?? undefined) },
          { name: "first direction", isNumber: true, cell: (point) => figure(point.x) },
          { name: "second direction", isNumber: true, cell: (point) => figure(point.y) },
          { name: "words", class: "wide", cell: (point) => <Words text={fitted(point.words, 1_300)} /> },
        ]}
      />
      {rows.length < points.length && (
        <p class="note">
          {rows.length} of {counted(points.length, "snapshot")}, evenly spaced.
        </p>
      )}
    </>
  );
}
