/** The frame of a chart: what is drawn how, its controls, a table of the same figures, and files. */

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import type { Key } from "../data/chart";
import { type Cells, toCsv } from "../data/csv";
import { tabTitle } from "../data/hooks";
import type { Inks, Picture } from "../data/svg";
import { pictureOf, save } from "./saving";

interface FrameProps {
  /** What its files are called, after what the tab shows. */
  name: string;
  keys?: readonly Key[];
  /** What can be done with what a key names. */
  tools?: ((key: number) => ComponentChildren) | undefined;
  controls?: ComponentChildren;
  /** The same figures, for those who cannot or would not look at the chart; a table needs none. */
  table?: () => ComponentChildren;
  /** All figures, with a row of names. */
  csv: () => Cells[];
  /** Draws what is not drawn as SVG on the page. */
  svg?: (inks: Inks) => Picture;
  children: ComponentChildren;
}

export function Frame({ name, keys = [], tools, controls, table, csv, svg, children }: FrameProps) {
  const [isTable, setTable] = useState(false);
  const place = useRef<HTMLElement>(null);
  const title = () => `${tabTitle()}, ${name}`;
  const saveCsv = () => save(title(), "csv", toCsv(csv()));
  const saveSvg = () => save(title(), "svg", pictureOf(place.current!, title(), svg));
  return (
    <figure class="chart" aria-label={name} ref={place}>
      <div class="chart-head">
        {keys.length > 0 && <Keys keys={keys} tools={tools} />}
        <div class="chart-controls">
          {controls}
          {table && (
            <button
              type="button"
              class="button small"
              aria-pressed={isTable}
              onClick={() => setTable(!isTable)}
            >
              Table
            </button>
          )}
          <button type="button" class="button small" onClick={saveCsv}>
            CSV
          </button>
          <button
            type="button"
            class="button small"
            disabled={isTable}
            title={isTable ? "of the chart, not of its table" : undefined}
            onClick={saveSvg}
          >
            SVG
          </button>
        </div>
      </div>
      {isTable && table ? table() : children}
    </figure>
  );
}

function Keys({ keys, tools }: { keys: readonly Key[]; tools: FrameProps["tools"] }) {
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

