/** A chart over steps as an SVG picture: what the page draws on a canvas. */

import { scale, type Scale, ticks } from "./axis";
import { type ChartData, type Dots, type Line, placeOf, range, type Rule, type Shape } from "./chart";
import { count, tick } from "./numbers";
import { element, type Inks, label, type Picture, short } from "./svg";

const LEFT = 56;
const RIGHT = 22;
const BOTTOM = 24;
const BAND = 0.18; // opacity
const SIZE = 3.2; // of a dot
const ROOM = 5; // dots on the border are drawn whole
const SMALL = { "font-size": 11 };

/** What is seen of a chart, in pixels and places of its horizontal axis. */
export interface Seen {
  width: number;
  height: number;
  from: number;
  to: number;
}

interface Plot {
  left: number;
  right: number;
  top: number;
  bottom: number;
  x: Scale;
  y: Scale;
}

/** The part of a chart that is seen. */
export function chartPicture(data: ChartData, seen: Seen, inks: Inks): Picture {
  const { width, height, from, to } = seen;
  const [low, high] = range(data, from, to);
  const plot = plotOf(data, seen, low, high);
  const { left, right, top, bottom } = plot;
  // A line goes on to the points beside what is seen, and is cut there.
  const clip = element(
    "clipPath",
    { id: "plot" },
    element("rect", { x: left, y: top, width: right - left, height: bottom - top }),
  );
  const lines = element(
    "g",
    { "clip-path": "url(#plot)", fill: "none", "stroke-linejoin": "round" },
    ...data.lines.map((line, at) => band(data, at, seen, plot) + stroke(data, line, seen, plot)),
  );
  const content = [
    clip,
    axes(plot, verticalTicks(data, low, high, height), horizontalTicks(seen), inks),
    rules(data, seen, plot),
    lines,
    dots(data, seen, plot),
  ];
  return { width, height, content: content.join("") };
}

function plotOf(data: ChartData, { width, height, from, to }: Seen, low: number, high: number): Plot {
  const top = data.rules?.some(({ name }) => name) ? 16 : 8;
  const [left, right, bottom] = [LEFT, width - RIGHT, height - BOTTOM];
  const of = data.isLog ? Math.log : (value: number) => value;
  const up = scale(of(low), of(high), bottom, top);
  return { left, right, top, bottom, x: scale(from, to, left, right), y: (value) => up(of(value)) };
}

/** Ticks of a log axis: powers of ten, and between them what is needed. */
export function logTicks(low: number, high: number): number[] {
  const first = Math.floor(Math.log10(low));
  const powers = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, at) => 10 ** (first + at));
  const every = Math.ceil(powers.length / 8);
  const within = (values: readonly number[]) => values.filter((value) => value >= low && value <= high);
  for (const times of [[1], [1, 2, 5]]) {
    const sparse = powers.filter((_, at) => at % every === 0);
    const found = within(sparse.flatMap((power) => times.map((one) => one * power)));
    if (found.length >= 3) return found;
  }
  return ticks(low, high, 5);
}

function verticalTicks({ isLog }: ChartData, low: number, high: number, height: number): number[] {
  return isLog ? logTicks(low, high) : ticks(low, high, height / 40);
}

function horizontalTicks({ width, from, to }: Seen): number[] {
  return ticks(from, to, width / 90).filter(Number.isInteger);
}

function axes(plot: Plot, up: readonly number[], along: readonly number[], inks: Inks): string {
  const { left, right, top, bottom, x, y } = plot;
  const line = (d: string) => element("path", { d, stroke: inks.grid });
  const text = (said: string, at: object) => label(said, { fill: inks.muted, ...SMALL, ...at });
  return [
    ...along.map((value) => line(`M${short(x(value))} ${top}V${bottom + 4}`)),
    ...up.map((value) => line(`M${left - 4} ${short(y(value))}H${right}`)),
    ...along.map((value) => text(count(value), { x: x(value), y: bottom + 17, "text-anchor": "middle" })),
    ...up.map((value) => text(tick(value), { x: left - 8, y: y(value) + 4, "text-anchor": "end" })),
  ].join("");
}

type Point = readonly [x: number, y: number];

/** The points of a line that are seen, and those next to them. */
function pointsOf(data: ChartData, { values }: Line, { from, to }: Seen, { x, y }: Plot): Point[] {
  const found: Point[] = [];
  let before: Point | undefined;
  for (let at = 0; at < values.length; at++) {
    const value = values[at];
    if (value == null || !Number.isFinite(value) || (data.isLog && value <= 0)) continue;
    const place = placeOf(data, data.steps[at]!);
    const point: Point = [x(place), y(value)];
    if (place < from) {
      before = point;
      continue;
    }
    if (before !== undefined) found.push(before);
    before = undefined;
    found.push(point);
    if (place > to) break;
  }
  return before === undefined ? found : [...found, before];
}

/** A path through points; on stairs, a value holds until the next one. */
function pathOf(points: readonly Point[], isStepped: boolean | undefined): string {
  return points
    .map(([x, y], at) => {
      if (at === 0) return `M${short(x)} ${short(y)}`;
      return isStepped ? `H${short(x)}V${short(y)}` : `L${short(x)} ${short(y)}`;
    })
    .join("");
}

function stroke(data: ChartData, line: Line, seen: Seen, plot: Plot): string {
  const points = pointsOf(data, line, seen, plot);
  const [first] = points;
  if (first === undefined) return "";
  if (points.length === 1)
    return element("circle", { cx: first[0], cy: first[1], r: 2.5, fill: line.colour });
  return element("path", {
    d: pathOf(points, line.isStepped),
    stroke: line.colour,
    "stroke-width": line.width ?? 1.5,
    "stroke-dasharray": line.dash?.join(" "),
  });
}

/** The band between the low and the high end of an interval; empty for another line. */
function band(data: ChartData, at: number, seen: Seen, plot: Plot): string {
  const [low, high] = [data.lines[at]!, data.lines[at + 1]];
  if (!low.isEdge || at % 2 > 0 || high === undefined) return "";
  const there = pathOf(pointsOf(data, low, seen, plot), low.isStepped);
  // Backwards, stairs reach the height of the point before, and then its place.
  const back = pointsOf(data, high, seen, plot)
    .toReversed()
    .map(([x, y], row) =>
      row > 0 && high.isStepped ? `V${short(y)}H${short(x)}` : `L${short(x)} ${short(y)}`,
    );
  return there && element("path", { d: `${there}${back.join("")}Z`, fill: low.colour, "fill-opacity": BAND });
}

const isWithin = (data: ChartData, step: number, { from, to }: Seen) => {
  const place = placeOf(data, step);
  return place >= from && place <= to;
};

function rules(data: ChartData, seen: Seen, plot: Plot): string {
  const taken: [number, number][] = [];
  return [...(data.rules ?? [])]
    .filter(({ step }) => isWithin(data, step, seen))
    .sort((one, other) => Number(other.isStrong) - Number(one.isStrong))
    .map((rule) => {
      const x = plot.x(placeOf(data, rule.step));
      const line = element("path", {
        d: `M${short(x)} ${plot.top}V${plot.bottom}`,
        stroke: rule.colour,
        "stroke-width": rule.isStrong ? 1.25 : 1,
        "stroke-dasharray": rule.isStrong ? undefined : "3 3",
      });
      return line + ruleName(rule, x, plot, taken);
    })
    .join("");
}

/** A name above the plot, where nothing is written yet. */
function ruleName(rule: Rule, x: number, { right, top }: Plot, taken: [number, number][]): string {
  const width = 6 * [...rule.name].length;
  const from = Math.min(x, right - width);
  if (rule.name === "" || taken.some(([start, end]) => from - 4 < end && start < from + width + 4))
    return "";
  taken.push([from - 4, from + width + 4]);
  return label(rule.name, { x: from, y: top - 4, fill: rule.colour, "font-size": 10 });
}

function dots(data: ChartData, seen: Seen, { top, bottom, x, y }: Plot): string {
  const isInside = (place: number) => place > top - ROOM && place < bottom + ROOM;
  const drawn = ({ points, shape, colour }: Dots) =>
    points
      .filter(({ step, value }) => isWithin(data, step, seen) && isInside(y(value)))
      .map(({ step, value }) => mark(shape, colour, x(placeOf(data, step)), y(value)));
  return (data.dots ?? []).flatMap(drawn).join("");
}



function mark(shape: Shape, colour: string, x: number, y: number): string {
  if (shape === "triangle") {
    const [width, down] = [SIZE * 1.1, short(y + SIZE * 0.8)];
    const d = `M${short(x)} ${short(y - SIZE * 1.2)}L${short(x + width)} ${down}H${short(x - width)}Z`;
    return element("path", { d, fill: colour });
  }
  const look = shape === "ring" ? { fill: "none", stroke: colour, "stroke-width": 1.25 } : { fill: colour };
  return element("circle", { cx: x, cy: y, r: SIZE, ...look });
}
