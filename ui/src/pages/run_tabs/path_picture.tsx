/** What is drawn of a path: its axes, legs, snapshots and restarts. */

import { between } from "../../data/colours";
import { BOTTOM, LEFT, legs, type Placed, TOP } from "../../data/path_layout";
import type { PathView } from "../../data/report";

interface PictureProps {
  view: PathView;
  placed: Placed;
  stops: readonly string[];
}

export function PathPicture({ view: { points }, placed, stops }: PictureProps) {
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
