/** How far the page has read its runs. */

/** Run id → sequence number of the last event that the page has. */
export type Positions = ReadonlyMap<string, number>;

/** The address of a stream that begins after these positions. */
export function streamAddress(positions: Positions): string {
  const query = new URLSearchParams();
  for (const [runId, seq] of positions) query.append("run", `${runId}:${seq}`);
  return `/api/v1/stream?${query}`;
}
