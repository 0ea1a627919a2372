/** The list of runs itself: of any length, renewed while it is looked at. */

import { useState } from "preact/hooks";
import * as api from "../data/api";
import { changed, patternOf, runsQuery } from "../data/address";
import { type Chunk, idsOf, total, unread, withPage } from "../data/chunks";
import { useNow } from "../data/hooks";
import type { Run } from "../data/messages";
import { count, counted } from "../data/numbers";
import { isFinal, state } from "../data/words";
import { Empty, Problem } from "../parts/basics";
import { LongTable, type PageOf } from "../parts/long_table";
import { Link } from "../parts/router";
import { type Choice, columnsOf, hiddenIn } from "./run_columns";

const PAGE_SIZE = 50;
const POLL_MS = 2_000;
/** With a pattern: a page may look at many names, and have no run. */
const SEARCH_POLL_MS = 10_000;

/** The runs of a filter, in chunks. */
export function RunList({ query, chosen, choose }: Choice & { query: URLSearchParams }) {
  const [chunks, setChunks] = useState<readonly Chunk[]>(() => unread(query.get("page") ?? ""));
  const [error, setError] = useState<api.ApiError | undefined>(undefined);
  const [isLive, setLive] = useState(false);
  const now = useNow(isLive);
  const read = async (token: string, signal: AbortSignal) => {
    const found = await api.runs(runsQuery(query, PAGE_SIZE, token), signal);
    return { rows: found.runs, next: found.nextPageToken };
  };
  const took = (at: number, token: string, { rows, next }: PageOf<Run>) => {
    const ids = rows.map((run) => run.runId);
    setChunks((before) => withPage(before, at, token, ids, next));
    setLive((before) => before || rows.some((run) => !isFinal(state(run.state))));
  };
  const ids = idsOf(chunks);
  const all = total(chunks);
  return (
    <>
      {error && <Problem error={error} />}
      {all === 0 && (
        <Empty>
          {changed(query, { hide: "" })
            ? "No run matches."
            : "There are no runs yet. Create one with `mentorgrad run`."}
        </Empty>
      )}
      {chunks[0]!.ids === undefined && error === undefined && <Empty>Reading…</Empty>}
      <div class="runs" hidden={ids.length === 0 && chunks.length === 1}>
        <LongTable
          label="Runs"
          columns={columnsOf({ chosen, choose }, ids, now, hiddenIn(query))}
          chunks={chunks}
          id={(run) => run.runId}
          read={read}
          pollMs={patternOf(query.get("text")) === undefined ? POLL_MS : SEARCH_POLL_MS}
          onPage={took}
          onError={setError}
        />
      </div>
      <nav class="pages" aria-label="Pages">
        {query.get("page") && <Link to={`/${changed(query, { page: "" })}`}>« First page</Link>}
        {(ids.length > 0 || all === undefined) && chunks[0]!.ids !== undefined && (
          <span class="muted">
            {all === undefined ? `${count(ids.length)} runs so far` : counted(all, "run")}
          </span>
        )}
      </nav>
    </>
  );
}
