/** Where things are drawn: scales, ticks and labels of the charts that are not over steps. */

/** From values to places. */
export type Scale = (value: number) => number;

/** A scale from `low`..`high` to `from`..`to`. */
export function scale(low: number, high: number, from: number, to: number): Scale {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

/**
 * Round values between two ends.
 *
 * @param most About how many.
 */
export function ticks(low: number, high: number, most: number): number[] {
  const rough = (high - low) / Math.max(1, most);
  if (!(rough > 0) || !Number.isFinite(rough)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((first) => first * power).find((size) => size >= rough)!;
  const found: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++)
    found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** A text cut to a width, by the usual width of a letter. */
export function fitted(text: string, pixels: number, letter = 6.6): string {
  const most = Math.max(1, Math.floor(pixels / letter));
  const letters = [...text];
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join("")}…`;
}

/** Where each row of a forest stands, in rows from the top; a group begins with some room. */
export function places(rows: readonly { task: string }[], room = 0.45): number[] {
  let place = -1;
  return rows.map((row, at) => (place += row.task === "" && at > 0 ? 1 + room : 1));
}

/** The point nearest to a place; undefined without any. */
export function nearest(
  points: readonly { x: number; y: number }[],
  x: number,
  y: number,
): number | undefined {
  let best: number | undefined;
  let least = Infinity;
  points.forEach((point, at) => {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance < least) [best, least] = [at, distance];
  });
  return best;
}

/** The index after a key is pressed; undefined for a key that moves nothing. */
export function moved(key: string, at: number, count: number): number | undefined {
  const to = {
    ArrowLeft: at - 1,
    ArrowUp: at - 1,
    ArrowRight: at + 1,
    ArrowDown: at + 1,
    PageUp: at - 20,
    PageDown: at + 20,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? undefined : Math.min(count - 1, Math.max(0, to));
}
