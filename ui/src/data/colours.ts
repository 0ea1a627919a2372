/** Colours of runs (Okabe and Ito), distinct for colour-blind readers, on light and dark ground. */

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c"];
const DASHES: (number[] | undefined)[] = [undefined, [7, 4], [2, 3]];

export interface Look {
  colour: string;
  /** Tells runs of one colour apart. */
  dash: number[] | undefined;
}

/** A number of an id, the same in every tab. */
function hash(text: string): number {
  let found = 2166136261;
  for (const letter of text) found = Math.imul(found ^ letter.charCodeAt(0), 16777619);
  return found >>> 0;
}

/**
 * A look for each run, whatever the order of the ids. A run that is added or left out changes the
 * look of another one only if the two would have had the same.
 */
export function looks(runIds: readonly string[]): Map<string, Look> {
  const taken = new Set<number>();
  const most = COLOURS.length * DASHES.length;
  const found = new Map<string, Look>();
  for (const runId of [...new Set(runIds)].sort()) {
    let at = hash(runId) % COLOURS.length;
    for (let tries = 0; taken.has(at) && tries < most; tries++) at = next(at, tries);
    taken.add(at);
    found.set(runId, {
      colour: COLOURS[at % COLOURS.length]!,
      dash: DASHES[Math.floor(at / COLOURS.length)],
    });
  }
  return found;
}

/** All colours first, then all of them with the next dash. */
function next(at: number, tries: number): number {
  const row = Math.floor((tries + 1) / COLOURS.length) % DASHES.length;
  return row * COLOURS.length + ((at + 1) % COLOURS.length);
}

/**
 * A colour between others.
 *
 * @param stops Colours as `#rrggbb`, at least two, evenly spaced.
 * @param share From 0, the first, to 1, the last.
 */
export function between(stops: readonly string[], share: number): string {
  const place = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const at = Math.min(stops.length - 2, Math.floor(place));
  const [one, other] = [parts(stops[at]!), parts(stops[at + 1]!)];
  const mixed = one.map((part, n) => Math.round(part + (place - at) * (other[n]! - part)));
  return `#${mixed.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

function parts(colour: string): number[] {
  return [1, 3, 5].map((from) => Number.parseInt(colour.slice(from, from + 2), 16));
}
