/** The path of the parameters in two dimensions. */

import { useMemo, useRef } from "preact/hooks";
import * as api from "../../data/api";
import { fitted, nearest } from "../../data/axis";
import type { Key } from "../../data/chart";
import { pathRows } from "../../data/chart_files";
import { between } from "../../data/colours";
import { thinned } from "../../data/curves";
import { useRead } from "../../data/hooks";
import { count, counted, figure, percent } from "../../data/numbers";
import { layout } from "../../data/path_layout";
import type { PathPoint, PathView } from "../../data/report";
import type { RunLog } from "../../data/run_log";
import { Empty, Problem, Section, Words } from "../../parts/basics";
import { Drawing, type Reading, useReading } from "../../parts/drawing";
import { Frame } from "../../parts/frame";
import { colour, useScheme } from "../../parts/scheme";
import { Table } from "../../parts/table";
import { PathPicture } from "./path_picture";

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
      name="Path of the parameters"
      keys={KEYS}
      controls={<Losses view={view} />}
      table={() => <PathTable points={view.points} />}
      csv={() => pathRows(view)}
    >
      <Snapshots view={view} />
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

function Snapshots({ view }: { view: PathView }) {
  const reading = useReading(view.points.length);
  const point = view.points[reading.at]!;
  return (
    <Drawing
      label={`Path of the parameters over ${counted(view.points.length, "snapshot")}. Left and right read them; the button “Table” lists them.`}
      title={`second direction, ${percent(view.shares[1])}`}
      said={read(point)}
      below={[
        <span class="path-words">
          <Words text={point.words} />
        </span>,
        `first direction, ${percent(view.shares[0])}`,
      ]}
      reading={reading}
    >
      {(width) => <Placing view={view} width={width} reading={reading} />}
    </Drawing>
  );
}

interface PlacingProps {
  view: PathView;
  width: number;
  reading: Reading;
}

function Placing({ view, width, reading }: PlacingProps) {
  const stops = useStops();
  const { points } = view;
  const height = Math.round(Math.min(520, Math.max(260, 0.62 * width)));
  const placed = useMemo(() => layout(points, width, height), [points, width, height]);
  const drawn = useMemo(
    () => <PathPicture view={view} placed={placed} stops={stops} />,
    [view, placed, stops],
  );
  const see = (event: PointerEvent) => {
    const { left, top } = (event.currentTarget as Element).getBoundingClientRect();
    reading.read(nearest(placed.at, event.clientX - left, event.clientY - top) ?? 0);
  };
  const current = placed.at[reading.at];
  return (
    <svg width={width} height={height} onPointerMove={see}>
      {drawn}
      {current && <circle cx={current.x} cy={current.y} r={8} class="path-current" />}
    </svg>
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
