/** Data for components. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import * as api from "./api";
import { ApiError } from "./api";
import { LiveRuns, LONG_POINTS, type LiveRun } from "./live_runs";
import type { Run } from "./messages";
import type { RunLog } from "./run_log";
import { isThinnedIn, NOT_ZOOMED, RangeReader, refined, type StepRange } from "./zoom";

/** What a read has brought so far. */
export interface Loaded<T> {
  value: T | undefined;
  /** Of the last attempt. */
  error: ApiError | undefined;
}

/**
 * Reads now, when `key` changes, and, if wanted, again and again while the tab is visible.
 *
 * @param key What is read; empty: nothing.
 * @param read Reads it.
 * @param intervalMs Pause between reads; 0: only until the first success.
 */
export function useRead<T>(
  key: string,
  read: (signal: AbortSignal) => Promise<T>,
  intervalMs = 0,
): Loaded<T> {
  const [found, setFound] = useState<Loaded<T> & { key: string }>({
    key,
    value: undefined,
    error: undefined,
  });
  useEffect(() => {
    if (key === "") return;
    const stopped = new AbortController();
    let timer: number | undefined;
    const next = (pause: number) => {
      clearTimeout(timer);
      timer = window.setTimeout(() => void attempt(), pause);
    };
    const attempt = async () => {
      if (document.hidden) return; // `seen` goes on
      try {
        const value = await read(stopped.signal);
        setFound({ key, value, error: undefined });
        if (intervalMs > 0) next(intervalMs);
      } catch (error) {
        if (stopped.signal.aborted) return;
        const failed = error instanceof ApiError ? error : new ApiError(0, "BUG", String(error));
        setFound((before) => ({
          key,
          value: before.key === key ? before.value : undefined,
          error: failed,
        }));
        if (failed.isTransient || intervalMs > 0) next(Math.max(intervalMs, 2_000));
      }
    };
    const seen = () => {
      if (!document.hidden) next(0);
    };
    document.addEventListener("visibilitychange", seen);
    void attempt();
    return () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [key, intervalMs]);
  return found.key === key ? found : { value: undefined, error: undefined };
}

/** Follows runs; the component is drawn again when they change. */
export function useLiveRuns(runIds: readonly string[]): LiveRun[] {
  const [, draw] = useState(0);
  const live = useRef<LiveRuns | undefined>(undefined);
  const key = runIds.join(",");
  useEffect(() => {
    const own = new LiveRuns(runIds, () => draw((times) => times + 1));
    live.current = own;
    draw((times) => times + 1);
    return () => own.stop();
  }, [key]);
  const runs = live.current?.runs;
  return runIds.flatMap((runId) => runs?.get(runId) ?? []);
}

/**
 * The steps of a run's curve that are zoomed into. Where the curve was read thinned, their points
 * are read.
 */
export function useZoom(log: RunLog) {
  const [range, set] = useState<StepRange | undefined>(undefined);
  const [found, setFound] = useState(NOT_ZOOMED);
  const attempts = log.attempts.length;
  // What a resume supersedes is not kept: each attempt is read anew.
  const reader = useMemo(() => {
    const read = async (wanted: StepRange, signal: AbortSignal) =>
      (await api.trajectory(log.runId, LONG_POINTS, signal, wanted)).points;
    return new RangeReader(read, setFound);
  }, [log.runId, attempts]);
  useEffect(() => {
    setFound(reader.found);
    return () => reader.stop();
  }, [reader]);
  useEffect(() => {
    if (range === undefined) reader.reset();
    else if (log.isThinned && isThinnedIn(refined(log.points, reader.found), range))
      void reader.want(range);
    else reader.keep();
  }, [reader, range?.first, range?.last]);
  return { range, set, found };
}

const PRODUCT = " · mentorgrad";

/** Names the tab. */
export function useTitle(name: string): void {
  useEffect(() => {
    document.title = name + PRODUCT;
  }, [name]);
}

/** What `useTitle` has named the tab: a run, an experiment or a view. */
export const tabTitle = () => document.title.replace(PRODUCT, "");

const RECORD_MS = 5_000;

/** How long an action's answer stands before what is read later: equal reads share an answer. */
const OWN_MS = 8_000;

/** The record of a run: what is not in its log, as its labels and note. */
export function useRecord(runId: string) {
  const found = useRead(runId, (signal) => api.run(runId, signal), RECORD_MS);
  const [own, setOwn] = useState<Run | undefined>(undefined);
  useEffect(() => {
    if (own === undefined) return;
    const timer = setTimeout(() => setOwn(undefined), OWN_MS);
    return () => clearTimeout(timer);
  }, [own]);
  return { run: own ?? found.value?.run, waits: found.value?.waits ?? "", set: setOwn };
}

/** The time, in milliseconds, again every second while `isTicking`. */
export function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!isTicking) return;
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [isTicking]);
  return now;
}
