/** A table of any length: rows are read and drawn only near what the reader sees. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../data/api";
import { type Chunk, offset, total } from "../data/chunks";
import { useRead } from "../data/hooks";
import { Scroll } from "./scroll";
import { Cells, type ColumnOf, Head } from "./table";

/** How far beyond the window rows are drawn, in pixels. */
const BEYOND = 800;

export interface PageOf<Row> {
  rows: readonly Row[];
  next: string;
}

interface LongTableProps<Row> {
  label: string;
  columns: readonly ColumnOf<Row>[];
  chunks: readonly Chunk[];
  id: (row: Row) => string;
  read: (token: string, signal: AbortSignal) => Promise<PageOf<Row>>;
  /** Pause between reads of what is drawn, in milliseconds. */
  pollMs: number;
  onPage: (at: number, token: string, page: PageOf<Row>) => void;
  /** Called with what the latest read of the first page has failed by. */
  onError: (error: ApiError | undefined) => void;
}

/** A row that has the focus. It stays where it is, whatever is read meanwhile, until it loses it. */
interface Held<Row> {
  /** The chunk that draws it. */
  at: number;
  id: string;
  row: Row;
  /** Whether it lay in the lower half of its chunk: there it is drawn when it has left the chunk. */
  isLow: boolean;
}

export function LongTable<Row>(props: LongTableProps<Row>) {
  const { label, columns, chunks } = props;
  const [held, hold] = useState<Held<Row> | undefined>(undefined);
  const rows = total(chunks);
  return (
    <Scroll label={label}>
      <table aria-rowcount={rows === undefined ? -1 : rows + 1}>
        <Head columns={columns} />
        {chunks.map((_, at) => (
          <ChunkBody key={at} table={props} at={at} held={held} hold={hold} />
        ))}
      </table>
    </Scroll>
  );
}

interface ChunkProps<Row> {
  table: LongTableProps<Row>;
  at: number;
  held: Held<Row> | undefined;
  hold: (held: Held<Row> | undefined) => void;
}

/** The rows of a chunk, or as much empty room as they took; what has the focus stays. */
function ChunkBody<Row>({ table, at, held, hold }: ChunkProps<Row>) {
  const place = useRef<HTMLTableSectionElement>(null);
  const [isNear, setNear] = useState(at === 0);
  const height = useRef(0);
  useEffect(() => {
    const watcher = new IntersectionObserver(
      (seen) => setNear(seen.at(-1)!.isIntersecting),
      { rootMargin: `${BEYOND}px 0px` },
    );
    watcher.observe(place.current!);
    return () => watcher.disconnect();
  }, []);
  const isEmpty = table.chunks.length === 1 && !table.chunks[0]!.ids?.length;
  const isDrawn = isNear || held?.at === at || isEmpty; // an empty list is hidden, and read all the same
  useLayoutEffect(() => {
    if (isDrawn) height.current = place.current!.offsetHeight;
  });
  return (
    <tbody ref={place} onFocusOut={() => hold(undefined)}>
      {isDrawn ? (
        <ChunkRows table={table} at={at} held={held} hold={hold} height={height.current} />
      ) : (
        <Room columns={table.columns.length} height={height.current} />
      )}
    </tbody>
  );
}

function ChunkRows<Row>(props: ChunkProps<Row> & { height: number }) {
  const { table, at, held, hold, height } = props;
  const { token } = table.chunks[at]!;
  const found = useRead(
    `page ${token}`,
    (signal) => table.read(token, signal).then((page) => ({ token, page })),
    table.pollMs,
  );
  const latest = useRef<PageOf<Row> | undefined>(undefined);
  if (found.value !== undefined) latest.current = found.value.page;
  useEffect(() => {
    if (found.value !== undefined) table.onPage(at, found.value.token, found.value.page);
  }, [found.value]);
  useEffect(() => {
    const newer = found.value?.page.rows.find((row) => table.id(row) === held?.id);
    if (held !== undefined && newer !== undefined) hold({ ...held, row: newer });
  }, [found.value]);
  useEffect(() => {
    if (at === 0) table.onError(found.error);
  }, [found.error]);
  if (latest.current === undefined) return <Room columns={table.columns.length} height={height} />;
  const before = offset(table.chunks, at);
  const { rows } = latest.current;
  return (
    <>
      {shown(rows, at, held, table.id).map(({ row, index }) => {
        const id = table.id(row);
        const isLow = index >= rows.length / 2;
        const take = () => hold({ at, id, row, isLow });
        return (
          <tr key={id} aria-rowindex={before + index + 2} onFocusIn={take}>
            <Cells columns={table.columns} row={row} index={before + index} />
          </tr>
        );
      })}
    </>
  );
}

/** The rows that a chunk draws, with their places in it. */
function shown<Row>(
  rows: readonly Row[],
  at: number,
  held: Held<Row> | undefined,
  id: (row: Row) => string,
): { row: Row; index: number }[] {
  const all = rows.map((row, index) => ({ row, index }));
  if (held === undefined) return all;
  const others = all.filter(({ row }) => id(row) !== held.id);
  if (held.at !== at) return others;
  if (others.length < all.length) return all;
  const { row } = held; // it has left the chunk
  return held.isLow ? [...all, { row, index: rows.length }] : [{ row, index: -1 }, ...all];
}

/** Empty room where rows were, or will be. */
function Room({ columns, height }: { columns: number; height: number }) {
  return (
    <tr class="room">
      <td colSpan={columns} style={{ height: `${Math.max(1, height)}px` }}>
        <span class="unseen">Further rows are read when they come into view.</span>
      </td>
    </tr>
  );
}
