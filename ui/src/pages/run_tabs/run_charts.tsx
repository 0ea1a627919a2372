/** The charts of a run. */

import { useMemo, useState } from "preact/hooks";
import { AXES, axesOf, type Axis, placing } from "../../data/along";
import type { ChartData, Key } from "../../data/chart";
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
import { counted } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import { countBelow } from "../../data/sorted";
import { type Curve, refined, type StepRange, type Zoomed } from "../../data/zoom";
import { Chart } from "../../parts/chart";
import { Select, Smoothing, Switch } from "../../parts/controls";
import { colour, useScheme } from "../../parts/scheme";
import { dotKeys, dots, ruleKeys, rules } from "./run_marks";

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
  return (
    <Chart
      label={`Train loss and best selection loss over ${AXES[axis]}`}
      data={data}
      keys={keys}
      controls={
        <>
          {axes.length > 1 && (
            <Select
              class="slider"
              name="Over"
              value={axis}
              options={axes.map((name) => [name, AXES[name]])}
              onChoose={(name) => setAxis(name as Axis)}
            />
          )}
          <Smoothing share={smoothing} onMove={setSmoothing} />
          <Switch name="Log axis" isOn={isLog} onTurn={setLog} />
          <Switch name="Without outliers" isOn={isClipped} onTurn={setClipped} />
        </>
      }
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
