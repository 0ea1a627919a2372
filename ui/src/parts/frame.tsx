/** The frame of a chart: what is drawn how, its controls, and a table of the same figures. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { toCsv } from "../data/csv";
import type { Shape } from "./chart_options";

export interface Key {
  name: string;
  colour: string;
  /** What is drawn so: a line, a vertical rule, or the shape of dots. */
  sort: "line" | "stairs" | "faint" | "rule" | "dashed" | "diamond" | "bar" | Shape;
  dash?: number[];
}

/** A row of a file. */
export type Cells = (string | number | null | undefined)[];

interface FrameProps {
  keys: readonly Key[];
  /** What can be done with what a key names. */
  tools?: ((key: number) => ComponentChildren) | undefined;
  controls?: ComponentChildren;
  /** The same figures, for those who cannot or would not look at the chart. */
  table: () => ComponentChildren;
  /** All figures, with a row of names, and what their file is called. */
  csv?: { name: string; rows: () => Cells[] };
  children: ComponentChildren;
}

export function Frame({ keys, tools, controls, table, csv, children }: FrameProps) {
  const [isTable, setTable] = useState(false);
  return (
    <figure class="chart">
      <div class="chart-head">
        <Keys keys={keys} tools={tools} />
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
          {csv && (
            <button
              type="button"
              class="button small"
              onClick={() => save(`${csv.name}.csv`, toCsv(csv.rows()))}
            >
              CSV
            </button>
          )}
        </div>
      </div>
      {isTable ? table() : children}
    </figure>
  );
}

/** Has the browser save a text as a file. */
function save(name: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** An element, and its width in pixels; 0 before it is measured. */
export function useWidth() {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const host = place.current!;
    const measure = () => setWidth(host.clientWidth);
    const watcher = new ResizeObserver(measure);
    watcher.observe(host);
    measure();
    return () => watcher.disconnect();
  }, []);
  return [place, width] as const;
}

function Keys({ keys, tools }: Pick<FrameProps, "keys" | "tools">) {
  return (
    <ul class="keys">
      {keys.map((key, at) => (
        <li key={key.name}>
          <KeyMark mark={key} />
          <bdi>{key.name}</bdi>
          {tools?.(at)}
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
      {mark.sort === "diamond" && <path d="M10 1L15 6L10 11L5 6Z" fill={mark.colour} />}
      {mark.sort === "bar" && <path d="M10 1V11" {...stroke} stroke-width="3" />}
    </svg>
  );
}

