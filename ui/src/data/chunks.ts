/** A long list in chunks, each a page of the service; only those near the reader are kept. */

/** A page of the list that has been read or will be. */
export interface Chunk {
  /** Page token; empty: the first page. */
  token: string;
  /** Ids of its rows when it was read last; undefined: it has not been read. */
  ids: readonly string[] | undefined;
  /** Whether rows came in front since then, so that it begins elsewhere. */
  isStale: boolean;
}

/** A list of which nothing has been read. */
export function unread(token: string): Chunk[] {
  return [{ token, ids: undefined, isStale: false }];
}

/**
 * The chunks after one has been read. The next one begins where it ends, and is the last one
 * if there was none; without a next page, it is itself the last one. The same chunks if nothing
 * has changed.
 *
 * @param at Which one has been read.
 * @param token With which token; another one than the chunk's present one changes nothing.
 */
export function withPage(
  chunks: readonly Chunk[],
  at: number,
  token: string,
  ids: readonly string[],
  next: string,
): readonly Chunk[] {
  const known = chunks[at];
  if (known === undefined || known.token !== token) return chunks;
  const after = chunks[at + 1];
  const isSame =
    !known.isStale &&
    known.ids?.length === ids.length &&
    ids.every((id, index) => id === known.ids![index]) &&
    (after?.token ?? "") === next;
  if (isSame) return chunks;
  const found = [...chunks.slice(0, at), { token, ids, isStale: false }];
  if (next === "") return found;
  if (after?.token === next) return [...found, ...chunks.slice(at + 1)];
  return [...found, { token: next, ids: after?.ids, isStale: true }, ...chunks.slice(at + 2)];
}

/** Number of rows before a chunk, as far as is known. */
export function offset(chunks: readonly Chunk[], at: number): number {
  return chunks.slice(0, at).reduce((sum, { ids }) => sum + (ids?.length ?? 0), 0);
}

/** Number of all rows; undefined: not all have been read. */
export function total(chunks: readonly Chunk[]): number | undefined {
  const isWhole = chunks.every(({ ids, isStale }) => ids !== undefined && !isStale);
  return isWhole ? offset(chunks, chunks.length) : undefined;
}

/** Ids of all rows that have been read. */
export function idsOf(chunks: readonly Chunk[]): string[] {
  return chunks.flatMap(({ ids }) => ids ?? []);
}
