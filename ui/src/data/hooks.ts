/** Data for components. */

import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import { LiveRuns, type LiveRun } from "./live_runs";

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
