/** Options of uPlot for the page's charts. */

import uPlot from "uplot";
import { type ChartData, isLone, placeOf, range, type Shape } from "../data/chart";
import { count, tick } from "../data/numbers";
import { colour } from "./scheme";

/** Distances of ticks on the axis of steps. */
const WHOLE = [1, 2, 5]
  .flatMap((first) => Array.from({ length: 10 }, (_, power) => first * 10 ** power))
  .sort((a, b) => a - b);

/** The options for a size, reading the data at every draw. */
export function options(
  size: { width: number; height: number },
  data: () => ChartData,
  onCursor: (index: number | undefined) => void,
  onScale: (chart: uPlot) => void,
): uPlot.Options {
  const { isLog, lines } = data();
  const axis = {
    stroke: colour("--muted"),
    grid: { stroke: colour("--grid"), width: 1 },
    ticks: { stroke: colour("--grid"), width: 1, size: 4 },
    font: "11px system-ui, sans-serif",
  };
  const ratio = devicePixelRatio;
  return {
    ...size,
    padding: [data().rules?.some((rule) => rule.name) ? 16 : 8, 22, 0, 0],
    legend: { show: false },
    cursor: { points: { size: 6 }, drag: { x: true, y: false, uni: 8 } },
    scales: {
      x: { time: false },
      y: {
        distr: isLog ? 3 : 1,
        range: (chart) => range(data(), chart.scales.x!.min ?? 0, chart.scales.x!.max ?? Infinity),
      },
    },
    axes: [
      { ...axis, size: 30, incrs: WHOLE, values: (_, ticks) => ticks.map(count) },
      {
        ...axis,
        size: 56,
        values: (_, ticks) => ticks.map((value) => (value === null ? "" : tick(value))),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.name,
        stroke: line.colour,
        width: line.width ?? 1.5,
        spanGaps: true,
        points: { show: isLone(line.values), size: 5, fill: line.colour },
        ...(line.dash ? { dash: line.dash } : {}),
        ...(line.isStepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
      })),
    ],
    bands: lines.flatMap(({ isEdge, colour: paint }, at) =>
      isEdge && at % 2 === 0 ? [{ series: [at + 2, at + 1] as [number, number], fill: `${paint}2e` }] : [],
    ),
    hooks: {
      drawAxes: [(chart) => drawRules(chart, data(), ratio)],
      draw: [(chart) => drawDots(chart, data(), ratio)],
      setScale: [(chart, key) => key === "x" && onScale(chart)],
      setCursor: [(chart) => onCursor(chart.cursor.idx ?? undefined)],
    },
  };
}

function drawRules(chart: uPlot, data: ChartData, ratio: number): void {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.font = `${10 * ratio}px system-ui, sans-serif`;
  const taken: [number, number][] = [];
  // Where names would lie on each other, those of strong rules win.
  for (const rule of [...(data.rules ?? [])].sort((a, b) => Number(b.isStrong) - Number(a.isStrong))) {
    const x = Math.round(chart.valToPos(placeOf(data, rule.step), "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = rule.colour;
    ctx.lineWidth = ratio * (rule.isStrong ? 1.25 : 1);
    ctx.setLineDash(rule.isStrong ? [] : [3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    drawName(chart, rule.name, x, ratio, taken);
  }
  ctx.restore();
}

/** Writes a name above the plot, where nothing is written yet. */
function drawName(
  { ctx, bbox }: uPlot,
  name: string,
  x: number,
  ratio: number,
  taken: [number, number][],
): void {
  const width = ctx.measureText(name).width;
  const from = Math.min(x, bbox.left + bbox.width - width);
  const place: [number, number] = [from - 4 * ratio, from + width + 4 * ratio];
  if (name === "" || taken.some(([start, end]) => place[0] < end && start < place[1])) return;
  taken.push(place);
  ctx.textAlign = "left";
  ctx.fillText(name, from, bbox.top - 4 * ratio);
}

function drawDots(chart: uPlot, data: ChartData, ratio: number): void {
  const { ctx, bbox } = chart;
  const room = 5 * ratio; // dots on the border are drawn whole
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - room, bbox.top - room, bbox.width + 2 * room, bbox.height + 2 * room);
  ctx.clip();
  ctx.lineWidth = 1.25 * ratio;
  for (const { shape, colour: paint, points } of data.dots ?? []) {
    ctx.strokeStyle = ctx.fillStyle = paint;
    for (const { step, value } of points) {
      if (!Number.isFinite(value)) continue;
      const x = chart.valToPos(placeOf(data, step), "x", true);
      const y = chart.valToPos(value, "y", true);
      drawShape(ctx, shape, x, y, ratio);
    }
  }
  ctx.restore();
}

function drawShape(
  ctx: CanvasRenderingContext2D,
  shape: Shape,
  x: number,
  y: number,
  ratio: number,
): void {
  const size = 3.2 * ratio;
  ctx.beginPath();
  if (shape === "triangle") {
    ctx.moveTo(x, y - size * 1.2);
    ctx.lineTo(x + size * 1.1, y + size * 0.8);
    ctx.lineTo(x - size * 1.1, y + size * 0.8);
    ctx.closePath();
  } else {
    ctx.arc(x, y, size, 0, 2 * Math.PI);
  }
  if (shape === "ring") ctx.stroke();
  else ctx.fill();
}
