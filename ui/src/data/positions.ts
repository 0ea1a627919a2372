/** How far the page has read its runs: `ID:SEQ`, joined by commas, as in the stream's event ids. */

/** Run id → sequence number of the last event that the page has. */
export type Positions = ReadonlyMap<string, number>;

/** The event id that says all positions. */
export function joined(positions: Positions): string {
  return [...positions].map(([runId, seq]) => `${runId}:${seq}`).join(",");
}

/** The positions of an event id; undefined if it is none. */
export function parsed(text: string): Map<string, number> | undefined {
  const found = new Map<string, number>();
  for (const item of text.split(",")) {
    const match = /^([A-Za-z0-9_-]{1,100}):(\d{1,15})$/.exec(item);
    if (match === null || found.has(match[1]!)) return undefined;
    found.set(match[1]!, Number(match[2]));
  }
  return found;
}

/** The address of a stream that begins after these positions. */
export function streamAddress(positions: Positions): string {
  const query = new URLSearchParams();
  for (const [runId, seq] of positions) query.append("run", `${runId}:${seq}`);
  return `/api/v1/stream?${query}`;
}
