/** Parallel coordinates: an axis for each field in which runs differ, and for what they reached. */

import { scale } from "./axis";
import type { Difference } from "./messages";
import { DASH, tick } from "./numbers";

/** Fields that are drawn at most. */
export const MOST_FIELDS = 8;

const WIDE = 20; // from this ratio of its ends on, an axis has a log scale

export interface ParallelAxis {
  name: string;
  /** Whether it is what the runs reached, not what they were given. */
  isResult: boolean;
  /** The value of each run, for readers. */
  texts: string[];
  /** The place of each run, from 0 at the bottom to 1; undefined without a value. */
  places: (number | undefined)[];
  /** What is written at the axis, by its place. */
  marks: { text: string; place: number }[];
}

/** The axes of the fields, without what only names a run. */
export function fieldAxes(differences: readonly Difference[]): ParallelAxis[] {
  return differences
    .filter(({ field = "" }) => field !== "name" && !field.startsWith("labels."))
    .map(({ field = "", values = [] }) => {
      const found = values.map(parsed);
      const numbers = found.filter((value) => typeof value === "number");
      const isNumeric = found.every((value) => value === null || typeof value === "number");
      return isNumeric && numbers.length > 1
        ? numericAxis(field, found as (number | null)[], tick)
        : namedAxis(field, found.map(shown));
    });
}

/** The axis of a figure that runs reached; undefined if no two have it. */
export function resultAxis(
  name: string,
  values: readonly (number | undefined)[],
  text: (value: number) => string,
): ParallelAxis | undefined {
  const found = values.map((value) =>
    value !== undefined && Number.isFinite(value) ? value : null,
  );
  if (found.filter((value) => value !== null).length < 2) return undefined;
  return { ...numericAxis(name, found, text), isResult: true };
}

function numericAxis(
  name: string,
  values: readonly (number | null)[],
  text: (value: number) => string,
): ParallelAxis {
  const numbers = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const isLog = low > 0 && high / low >= WIDE;
  const of = isLog ? Math.log : (value: number) => value / 2; // of halves, no range overflows
  const place = low === high ? () => 0.5 : scale(of(low), of(high), 0, 1);
  const ends = low === high ? [low] : [low, high];
  return {
    name: isLog ? `${name} (log)` : name,
    isResult: false,
    texts: values.map((value) => (value === null ? DASH : text(value))),
    places: values.map((value) => (value === null ? undefined : place(of(value)))),
    marks: ends.map((end) => ({ text: text(end), place: place(of(end)) })),
  };
}

function namedAxis(name: string, texts: string[]): ParallelAxis {
  const names = [...new Set(texts)].sort();
  const place = (text: string) =>
    names.length > 1 ? names.indexOf(text) / (names.length - 1) : 0.5;
  const marks = names.map((text) => ({ text, place: place(text) }));
  return { name, isResult: false, texts, places: texts.map(place), marks };
}

/** The strokes of a run: places on consecutive axes, a new one after each axis without a value. */
export function strokes(axes: readonly ParallelAxis[], run: number): [number, number][][] {
  const found: [number, number][][] = [[]];
  axes.forEach(({ places }, at) => {
    const place = places[run];
    if (place === undefined) found.push([]);
    else found.at(-1)!.push([at, place]);
  });
  return found.filter((stroke) => stroke.length > 0);
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

function shown(value: unknown): string {
  if (value === null || value === "") return DASH;
  return typeof value === "string" ? value : JSON.stringify(value);
}
