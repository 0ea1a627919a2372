/** Runs of one tab: their recorded events first, then the news by one stream. */

import * as api from "./api";
import { ApiError } from "./api";
import type { RunEvent } from "./messages";
import { int } from "./numbers";
import { streamAddress } from "./positions";
import { RunLog } from "./run_log";
import { takePlace, type Release } from "./stream_places";

const TELL_MS = 250;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/** Pause between reads of a tab that has no stream, because others have all places. */
const WITHOUT_STREAM_MS = 3_000;

/** Steps, or events, from which on a run's curve is read thinned, and points of it. */
const LONG_STEPS = 50_000;
const LONG_EVENTS = 10_000;
export const LONG_POINTS = 5_000;

/** What the page knows of a run. */
export interface LiveRun {
  log: RunLog;
  /** Whether the recorded events have been read. */
  isLoaded: boolean;
  /** Whether they are read without those of single steps. */
  isLong: boolean;
  /** Why there is no such run; empty: there is one. */
  gone: string;
  /** Why there are no news at present; empty: they come. */
  away: string;
}

/**
 * Follows runs until each has ended. A hidden tab has no stream, and neither has one for which
 * there is no place: it reads what is new now and then.
 */
export class LiveRuns {
  readonly runs: ReadonlyMap<string, LiveRun>;

  private source: EventSource | undefined;
  private release: Release | undefined;
  private isOpening = false;
  private readonly stopped = new AbortController();
  private telling: number | undefined;
  private told = -TELL_MS;
  private retrying: number | undefined;
  private pause = FIRST_PAUSE_MS;

  /**
   * @param runIds The runs.
   * @param onChange Called after changes, at most four times a second.
   */
  constructor(
    runIds: readonly string[],
    private readonly onChange: () => void,
  ) {
    this.runs = new Map(
      runIds.map((runId) => [
        runId,
        { log: new RunLog(runId), isLoaded: false, isLong: false, gone: "", away: "" },
      ]),
    );
    document.addEventListener("visibilitychange", this.seen);
    addEventListener("pagehide", this.close);
    addEventListener("pageshow", this.seen);
    void this.begin();
  }

  /** Ends the stream and all reads. */
  stop(): void {
    this.stopped.abort();
    this.close();
    clearTimeout(this.telling);
    document.removeEventListener("visibilitychange", this.seen);
    removeEventListener("pagehide", this.close);
    removeEventListener("pageshow", this.seen);
  }

  private async begin(): Promise<void> {
    await Promise.all([...this.runs.values()].map((run) => this.load(run)));
    await this.open();
  }

  private async load(run: LiveRun): Promise<void> {
    const { signal } = this.stopped;
    let pause = FIRST_PAUSE_MS;
    while (!signal.aborted && !run.isLoaded) {
      try {
        await this.loadPortion(run);
        run.away = "";
        pause = FIRST_PAUSE_MS;
      } catch (error) {
        if (signal.aborted) return;
        const failed = error instanceof ApiError ? error : undefined;
        if (failed?.status === 400 || failed?.status === 404) {
          Object.assign(run, { gone: failed.message, isLoaded: true });
        } else {
          run.away = failed?.message ?? String(error);
          await new Promise((resolve) => setTimeout(resolve, pause));
          pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
        }
      }
      this.tell();
    }
  }

  /**
   * Reads the next events. Of a long run those beside the steps, and then points of its curve: they
   * hold all steps up to the last of these events, after which the stream begins.
   */
  private async loadPortion(run: LiveRun): Promise<void> {
    const { signal } = this.stopped;
    const { runId, lastSeq } = run.log;
    if (lastSeq === 0) {
      const known = await api.run(runId, signal);
      run.isLong = int(known.run.step) > LONG_STEPS || known.lastSeq > LONG_EVENTS;
    }
    const read = run.isLong ? api.eventsBesideSteps : api.events;
    const portion = await read(runId, lastSeq, signal);
    for (const event of portion.events) run.log.add(event);
    if (portion.next !== null) return;
    if (run.isLong) run.log.addCurve((await api.trajectory(runId, LONG_POINTS, signal)).points);
    Object.assign(run, { isLoaded: true, isLong: false });
  }

  private readonly seen = (): void => {
    if (document.hidden) this.close();
    else void this.open();
  };

  private readonly close = (): void => {
    clearTimeout(this.retrying);
    this.source?.close();
    this.source = undefined;
    this.release?.();
    this.release = undefined;
  };

  /** Runs of which more events can come. */
  private get openRuns(): LiveRun[] {
    return [...this.runs.values()].filter((run) => !run.gone && !run.log.isEnded);
  }

  private get isStreamWanted(): boolean {
    const isReady = [...this.runs.values()].every((run) => run.isLoaded);
    if (this.source || !isReady || document.hidden || this.stopped.signal.aborted) return false;
    return this.openRuns.length > 0;
  }

  private async open(): Promise<void> {
    if (this.isOpening || !this.isStreamWanted) return;
    this.isOpening = true;
    const release = await takePlace();
    this.isOpening = false;
    if (!this.isStreamWanted) return release?.();
    if (release === undefined) return this.retryAfter(WITHOUT_STREAM_MS);
    this.release = release;
    this.follow();
  }

  private follow(): void {
    const wanted = this.openRuns;
    const positions = new Map(wanted.map((run) => [run.log.runId, run.log.lastSeq]));
    const source = new EventSource(streamAddress(positions));
    this.source = source;
    source.addEventListener("run", (message) => {
      const { runId, event } = JSON.parse(message.data) as { runId: string; event: RunEvent };
      this.change(runId, (run) => {
        run.log.add(event);
        run.away = "";
      });
    });
    source.addEventListener("away", (message) => {
      const { runId, reason } = JSON.parse(message.data) as { runId: string; reason: string };
      this.change(runId, (run) => {
        run.away = reason || "the trainer does not answer";
      });
    });
    source.addEventListener("back", (message) => {
      const { runId } = JSON.parse(message.data) as { runId: string };
      this.change(runId, (run) => {
        run.away = "";
      });
    });
    source.addEventListener("gone", (message) => {
      const { runId, reason } = JSON.parse(message.data) as { runId: string; reason: string };
      this.change(runId, (run) => {
        run.gone = reason || "there is no such run";
      });
      this.closeIfEnded();
    });
    source.addEventListener("end", () => this.closeIfEnded());
    source.addEventListener("open", () => {
      this.pause = FIRST_PAUSE_MS;
      for (const run of wanted) run.away = "";
      this.tell();
    });
    source.addEventListener("error", () => this.lost(source));
  }

  private closeIfEnded(): void {
    if (this.openRuns.length === 0) this.close();
  }

  /** The browser reconnects by itself, unless the service refused the stream. */
  private lost(source: EventSource): void {
    if (source !== this.source) return;
    for (const run of this.openRuns) run.away ||= "the page’s service does not answer";
    this.tell();
    if (source.readyState !== EventSource.CLOSED) return;
    this.close();
    this.retryAfter(this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  private retryAfter(pause: number): void {
    clearTimeout(this.retrying);
    this.retrying = window.setTimeout(() => void this.retry(), pause);
  }

  private async retry(): Promise<void> {
    for (const run of this.openRuns) await this.catchUp(run);
    await this.open();
  }

  /** Reads what is new of a run; all tabs together ask the trainer whether anything is. */
  private async catchUp(run: LiveRun): Promise<void> {
    const { runId, lastSeq } = run.log;
    const known = await api.run(runId, this.stopped.signal).catch(() => undefined);
    if (known !== undefined && known.lastSeq <= lastSeq) {
      run.away = "";
      return;
    }
    run.isLoaded = false; // reads until the service answers, or says why not
    await this.load(run);
  }

  private change(runId: string, make: (run: LiveRun) => void): void {
    const run = this.runs.get(runId);
    if (run !== undefined) make(run);
    this.tell();
  }

  /** At once after a quiet while, so that a single event is soon seen. */
  private tell(): void {
    const wait = Math.max(0, this.told + TELL_MS - performance.now());
    this.telling ??= window.setTimeout(() => {
      this.telling = undefined;
      this.told = performance.now();
      if (!this.stopped.signal.aborted) this.onChange();
    }, wait);
  }
}
