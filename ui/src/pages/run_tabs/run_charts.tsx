/** The charts of a run. */

import { useMemo, useState } from "preact/hooks";
import { AXES, axesOf, type Axis, placing } from "../../data/along";
import {
  aligned,
  bestSoFar,
  higher,
  lower,
  MOST_POINTS,
  trainCurve,
  union,
} from "../../data/curves";
import { useZoom } from "../../data/hooks";
import { counted, int } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import type { ScoredCandidate } from "../../data/run_parts";
import { source } from "../../data/words";
import { countBelow, type Curve, refined, type StepRange, type Zoomed } from "../../data/zoom";
import { Chart } from "../../parts/chart";
import type { ChartData, Dots, Rule, Shape } from "../../parts/chart_options";
import type { Key } from "../../parts/frame";
import { colour, useScheme } from "../../parts/scheme";

const SHAPES: { [source: string]: Shape } = {
  snapshot: "disc",
  projection: "ring",
  proposal: "triangle",
};
const NAMES: { [source: string]: string } = {
  snapshot: "snapshot",
  projection: "in words",
  proposal: "proposal",
};

function rules(log: RunLog): Rule[] {
  const marks = log.stages.map((mark) => ({
    step: mark.step,
    name: mark.isRestart ? `▲ restart ${mark.stage}` : mark.stage > 0 ? `stage ${mark.stage}` : "",
    colour: colour(mark.isRestart ? "--restart" : "--muted"),
    isStrong: mark.isRestart,
  }));
  const resumed = log.attempts.slice(1).map((attempt) => ({
    step: stepAt(log, attempt.checkpoint),
    name: `⚡ attempt ${attempt.attempt}`,
    colour: colour("--warn"),
    isStrong: false,
  }));
  return [...marks, ...resumed];
}

/** The step of a checkpoint, by its sequence number. */
function stepAt(log: RunLog, seq: number): number {
  const entry = log.entries.find((item) => item.seq === seq);
  return int(entry?.event.checkpointSaved?.step);
}

function dots(log: RunLog, value: (item: ScoredCandidate) => number | undefined): Dots[] {
  return Object.entries(SHAPES).map(([name, shape]) => ({
    shape,
    colour: colour(`--${name}`),
    points: log.candidates.flatMap((item) => {
      const found = source(item.candidate.source) === name ? value(item) : undefined;
      return found === undefined ? [] : [{ step: item.step, value: found }];
    }),
  }));
}

function dotKeys(log: RunLog): Key[] {
  const present = new Set(log.candidates.map((item) => source(item.candidate.source)));
  return Object.entries(SHAPES)
    .filter(([name]) => present.has(name))
    .map(([name, sort]) => ({ name: NAMES[name]!, sort, colour: colour(`--${name}`) }));
}

function ruleKeys(log: RunLog): Key[] {
  const keys: Key[] = [];
  if (log.stages.length > 1)
    keys.push({ name: "stage", sort: "dashed", colour: colour("--muted") });
  if (log.restarts > 0) keys.push({ name: "restart", sort: "rule", colour: colour("--restart") });
  if (log.attempts.length > 1)
    keys.push({ name: "resumed", sort: "dashed", colour: colour("--warn") });
  return keys;
}

export function LossChart({ log }: { log: RunLog }) {
  const [smoothing, setSmoothing] = useState(0.8);
  const [isLog, setLog] = useState(false);
  const [isClipped, setClipped] = useState(false);
  const [wanted, setAxis] = useState<Axis>("steps");
  const axes = axesOf(log.spent);
  const axis = axes.includes(wanted) ? wanted : "steps";
  const scheme = useScheme();
  const zoom = useZoom(log);
  const { range, found } = zoom;
  const isLong = log.isThinned || log.points.step.length > MOST_POINTS;
  const { length } = log.points.step;
  const points = useMemo(() => refined(log.points, found), [log.lastSeq, length, found]);
  const data = useMemo((): ChartData => {
    const train = trainCurve(points, smoothing, MOST_POINTS, range);
    const marks = log.candidates.map((item) => ({ step: item.step, value: item.loss }));
    const steps = union(
      train.steps,
      marks.map((mark) => mark.step),
    );
    return {
      steps,
      ...(axis === "steps"
        ? {}
        : { along: { name: AXES[axis], place: placing(log.spent, axis) } }),
      title: isLog ? "loss, log scale" : "loss",
      isLog,
      isClipped,
      rules: rules(log),
      dots: dots(log, (item) => item.loss),
      lines: [
        {
          name: "train",
          values: aligned(steps, train.steps, train.raw),
          colour: colour("--train-faint"),
          width: 1,
        },
        {
          name: "smoothed",
          values: aligned(steps, train.steps, train.smooth),
          colour: colour("--train"),
        },
        {
          name: "best selection",
          values: bestSoFar(steps, marks, lower),
          colour: colour("--accent"),
          width: 2,
          isStepped: true,
        },
      ],
    };
  }, [points, log.lastSeq, length, range, smoothing, isLog, isClipped, axis, scheme]);
  const keys: Key[] = [
    { name: "train", sort: "faint", colour: colour("--train") },
    { name: "train, smoothed", sort: "line", colour: colour("--train") },
    { name: "best selection loss so far", sort: "stairs", colour: colour("--accent") },
    ...dotKeys(log),
    ...ruleKeys(log),
  ];
  const controls = (
    <>
      {axes.length > 1 && (
        <label class="slider">
          Over
          <select
            value={axis}
            onChange={(event) => setAxis(event.currentTarget.value as Axis)}
          >
            {axes.map((name) => (
              <option key={name} value={name}>
                {AXES[name]}
              </option>
            ))}
          </select>
        </label>
      )}
      <label class="slider">
        Smoothing
        <input
          type="range"
          min="0"
          max="0.98"
          step="0.02"
          value={smoothing}
          onInput={(event) => setSmoothing(Number(event.currentTarget.value))}
        />
      </label>
      <button
        type="button"
        class="button small"
        aria-pressed={isLog}
        onClick={() => setLog(!isLog)}
      >
        Log axis
      </button>
      <button
        type="button"
        class="button small"
        aria-pressed={isClipped}
        onClick={() => setClipped(!isClipped)}
      >
        Without outliers
      </button>
    </>
  );
  return (
    <Chart
      label={`Train loss and best selection loss over ${AXES[axis]}`}
      data={data}
      keys={keys}
      controls={controls}
      note={range && isLong ? inView(points, range, found) : notDrawn(log)}
      onZoom={zoom.set}
    />
  );
}

/** What the chart leaves out. */
function notDrawn({ points: { loss: losses }, isThinned, step }: RunLog): string {
  const odd = losses.reduce((sum, loss) => sum + (Number.isFinite(loss) ? 0 : 1), 0);
  const notes: string[] = [];
  if (odd > 0) notes.push(`${counted(odd, "loss", "losses")} not finite, not drawn`);
  if (isThinned) notes.push(`${counted(losses.length, "point")} of ${counted(step, "step")}`);
  else if (losses.length > MOST_POINTS)
    notes.push(`the peaks of ${counted(losses.length, "step")}, not every step`);
  return notes.join("; ");
}

/** What is drawn of a range of steps. */
function inView({ step }: Curve, range: StepRange, { isReading, problem }: Zoomed): string {
  if (isReading) return "reading the steps in view…";
  if (problem) return `the steps in view could not be read: ${problem}`;
  const last = Math.min(range.last, step.at(-1) ?? 0);
  const inside = countBelow(step, last + 1) - countBelow(step, range.first);
  const drawn = Math.min(inside, MOST_POINTS);
  const steps = last - Math.max(range.first, 1) + 1;
  return drawn < steps
    ? `${counted(drawn, "point")} of ${counted(steps, "step")} in view`
    : "every step in view; a double click, or Escape, shows all";
}

export function AccuracyChart({ log }: { log: RunLog }) {
  const scheme = useScheme();
  const data = useMemo((): ChartData => {
    const marks = log.candidates.flatMap((item) =>
      item.accuracy === undefined ? [] : [{ step: item.step, value: item.accuracy }],
    );
    const steps = union(
      marks.map((mark) => mark.step),
      [log.step],
    );
    return {
      steps,
      title: "accuracy",
      isLog: false,
      rules: rules(log).map((rule) => ({ ...rule, name: "" })),
      dots: dots(log, (item) => item.accuracy),
      lines: [
        {
          name: "best",
          values: bestSoFar(steps, marks, higher),
          colour: colour("--accent"),
          width: 2,
          isStepped: true,
        },
      ],
    };
  }, [log.lastSeq, scheme]);
  const keys: Key[] = [
    { name: "highest so far", sort: "stairs", colour: colour("--accent") },
    ...dotKeys(log),
    ...ruleKeys(log),
  ];
  return (
    <Chart
      label="Accuracy of candidates on selection over gradient steps"
      data={data}
      keys={keys}
      height={190}
    />
  );
}
