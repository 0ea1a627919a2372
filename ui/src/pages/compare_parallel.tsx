/** What runs were given and what they reached, each run a line across parallel axes. */

import { fitted } from "../data/axis";
import type { Key } from "../data/chart";
import { parallelRows } from "../data/chart_files";
import type { LiveRun } from "../data/live_runs";
import type { Difference } from "../data/messages";
import { DASH, figure, percent, real } from "../data/numbers";
import { fieldAxes, MOST_FIELDS, type ParallelAxis, resultAxis, strokes } from "../data/parallel";
import { Section, Words } from "../parts/basics";
import { Drawing, type Reading, useReading } from "../parts/drawing";
import { Frame } from "../parts/frame";
import { Table } from "../parts/table";
import { keyOf } from "./compare_curves";

const HEIGHT = 260;
const TOP = 14;
const BOTTOM = 34;
const SIDE = 56;
const ROOM = 110; // for an axis and its marks
const NAME_ROOM = ROOM - 8;
const MOST_MARKS = 8;

interface ParallelProps {
  runs: readonly LiveRun[];
  differences: readonly Difference[];
}

export function Parallel({ runs, differences }: ParallelProps) {
  const fields = fieldAxes(differences);
  const results = [
    resultAxis("best loss", runs.map(({ log }) => log.best?.loss), figure),
    resultAxis("test loss", runs.map(({ log }) => real(log.result?.test?.loss)), figure),
    resultAxis("test accuracy", runs.map(({ log }) => real(log.result?.test?.accuracy)), percent),
  ].filter((axis) => axis !== undefined);
  const axes = [...fields.slice(0, MOST_FIELDS), ...results];
  const key = keyOf(runs);
  const keys = runs.map(({ log }) => key(log));
  if (axes.length < 2) return null;
  return (
    <Section title="Fields and results">
      <Frame
        name="Fields and results"
        keys={keys}
        table={() => <Values runs={runs} axes={axes} />}
        csv={() => parallelRows(runs.map(({ log }) => ({ id: log.runId, ...key(log) })), axes)}
      >
        <Axes axes={axes} keys={keys} />
        {fields.length > MOST_FIELDS && (
          <p class="note">
            The first {MOST_FIELDS} of {fields.length} fields; the table of differences has all.
          </p>
        )}
      </Frame>
    </Section>
  );
}

interface AxesProps {
  axes: readonly ParallelAxis[];
  keys: readonly Key[];
}

function Axes({ axes, keys }: AxesProps) {
  const reading = useReading(axes.length);
  const axis = axes[reading.at]!;
  return (
    <Drawing
      class="parallel"
      label={`${keys.length} runs across ${axes.map(({ name }) => name).join(", ")}. Left and right read an axis; the button “Table” lists them.`}
      said={
        <span class="parallel-read">
          <b>{axis.name}</b>
          {keys.map((key, run) => (
            <span key={run}>
              {" · "}
              <Words text={key.name} /> <Words text={axis.texts[run]} />
            </span>
          ))}
        </span>
      }
      reading={reading}
    >
      {(wide) => <Lines axes={axes} keys={keys} wide={wide} reading={reading} />}
    </Drawing>
  );
}

interface LinesProps extends AxesProps {
  /** Width of the room for them. */
  wide: number;
  reading: Reading;
}

function Lines({ axes, keys, wide, reading }: LinesProps) {
  const last = axes.length - 1;
  const width = Math.max(wide, ROOM * axes.length);
  const x = (index: number) => SIDE + (index * (width - 2 * SIDE)) / last;
  const y = (share: number) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  return (
    <svg width={width} height={HEIGHT}>
      {axes.map((one, index) => (
        <g key={one.name} onPointerEnter={() => reading.read(index)}>
          <rect x={x(index) - ROOM / 2} width={ROOM} height={HEIGHT} class="row-mark" />
          <path
            d={`M${x(index)} ${y(1)}V${y(0)}`}
            class={index === reading.at ? "parallel-axis is-read" : "parallel-axis"}
          />
          <text
            x={x(index)}
            y={HEIGHT - 6}
            class={one.isResult ? "row-label is-pooled" : "row-label"}
            text-anchor="middle"
          >
            {fitted(shortName(one), NAME_ROOM)}
          </text>
        </g>
      ))}
      {keys.map((key, run) =>
        strokes(axes, run).map((stroke, part) => (
          <g key={`${run} ${part}`} class="parallel-run">
            <path
              d={`M${stroke.map(([index, share]) => `${x(index)} ${y(share)}`).join("L")}`}
              stroke={key.colour}
              stroke-dasharray={key.dash?.join(" ")}
            />
            {stroke.map(([index, share]) => (
              <circle key={index} cx={x(index)} cy={y(share)} r={3} fill={key.colour} />
            ))}
          </g>
        )),
      )}
      {axes.map((one, index) =>
        marksOf(one).map((mark) => (
          <text
            key={`${index} ${mark.place}`}
            x={x(index) + (index === last ? -6 : 6)}
            text-anchor={index === last ? "end" : "start"}
            y={y(mark.place) + (mark.place > 0.5 ? -4 : 13)}
            class="axis-text parallel-mark"
          >
            {fitted(mark.text, ROOM - 16)}
          </text>
        )),
      )}
    </svg>
  );
}

/** Of very many names, the first and the last one. */
function marksOf({ marks }: ParallelAxis) {
  return marks.length <= MOST_MARKS ? marks : [marks[0]!, marks.at(-1)!];
}

/** Where there is no room, the end of a path has to do. */
function shortName({ name }: ParallelAxis): string {
  return fitted(name, NAME_ROOM) === name ? name : name.slice(name.lastIndexOf(".") + 1);
}

function Values({ runs, axes }: { runs: readonly LiveRun[]; axes: readonly ParallelAxis[] }) {
  const key = keyOf(runs);
  return (
    <Table
      label="Fields and results"
      rows={runs.map(({ log }, run) => ({ log, run }))}
      id={({ log }) => log.runId}
      columns={[
        { name: "run", class: "cell-name", cell: ({ log }) => <Words text={key(log).name} /> },
        ...axes.map((axis) => ({
          name: axis.name,
          cell: ({ run }: { run: number }) => <Words text={axis.texts[run] ?? DASH} />,
        })),
      ]}
    />
  );
}
