/** A table of any length: rows are read and drawn only near what the reader sees. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { ApiError } from "../data/api";
import { type Chunk, offset, total } from "../data/chunks";
import { useRead } from "../data/hooks";
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

export function LongTable<Row>(props: LongTableProps<Row>) {
  const { label, columns, chunks } = props;
  const rows = total(chunks);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label={label}>
      <table aria-rowcount={rows === undefined ? -1 : rows + 1}>
        <Head columns={columns} />
        {chunks.map((_, at) => (
          <ChunkBody key={at} table={props} at={at} />
        ))}
      </table>
    </div>
  );
}

interface ChunkProps<Row> {
  table: LongTableProps<Row>;
  at: number;
}

/** The rows of a chunk, or as much empty room as they took; what has the focus stays. */
function ChunkBody<Row>({ table, at }: ChunkProps<Row>) {
  const place = useRef<HTMLTableSectionElement>(null);
  const [isNear, setNear] = useState(at === 0);
  const [hasFocus, setFocus] = useState(false);
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
  const isDrawn = isNear || hasFocus || isEmpty; // an empty list is hidden, and read all the same
  useLayoutEffect(() => {
    if (isDrawn) height.current = place.current!.offsetHeight;
  });
  return (
    <tbody ref={place} onFocusIn={() => setFocus(true)} onFocusOut={() => setFocus(false)}>
      {isDrawn ? (
        <ChunkRows table={table} at={at} height={height.current} />
      ) : (
        <Room columns={table.columns.length} height={height.current} />
      )}
    </tbody>
  );
}

function ChunkRows<Row>({ table, at, height }: ChunkProps<Row> & { height: number }) {
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
    if (at === 0) table.onError(found.error);
  }, [found.error]);
  if (latest.current === undefined) return <Room columns={table.columns.length} height={height} />;
  const before = offset(table.chunks, at);
  return (
    <>
      {latest.current.rows.map((row, index) => (
        <tr key={table.id(row)} aria-rowindex={before + index + 2}>
          <Cells columns={table.columns} row={row} index={before + index} />
        </tr>
      ))}
    </>
  );
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
