import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { RunEvent } from "../src/data/messages";
import { LiveRuns } from "../src/data/live_runs";

/** A stream whose news a test sends. */
class Stream extends EventTarget {
  static readonly CLOSED = 2;
  static opened: Stream[] = [];
  readyState = 1;

  constructor(readonly address: string) {
    super();
    Stream.opened.push(this);
  }

  close(): void {
    this.readyState = Stream.CLOSED;
  }

  /** Sends an event of the stream. */
  send(name: string, data: object): void {
    this.dispatchEvent(Object.assign(new Event(name), { data: JSON.stringify(data) }));
  }

  /** Breaks off; the browser reconnects unless it was refused. */
  break(isRefused: boolean): void {
    this.readyState = isRefused ? Stream.CLOSED : 0;
    this.dispatchEvent(new Event("error"));
  }
}

const page = Object.assign(new EventTarget(), { hidden: false });
let logs: { [runId: string]: RunEvent[] };
let asked: string[];
let lastStep: number;
let taken: Set<string>;
let isServiceAway: boolean;
let live: LiveRuns | undefined;

const running: RunEvent = { seq: "1", stateChanged: { state: "RUN_STATE_RUNNING" } };
const segment = (seq: number): RunEvent => ({
  seq: String(seq),
  attempt: "1",
  segment: { snapshots: [{ step: String(seq), trainLoss: 1 }] },
});
const finished = (seq: number): RunEvent => ({
  seq: String(seq),
  finished: { state: "RUN_STATE_SUCCEEDED" },
});

/** Locks of a browser, of which the test holds some. */
const locks = {
  async request(name: string, _: object, call: (lock: object | null) => unknown): Promise<void> {
    if (taken.has(name)) return void call(null);
    taken.add(name);
    await call({ name });
    taken.delete(name);
  },
};

async function answer(address: string): Promise<Response> {
  asked.push(address);
  if (isServiceAway) throw new TypeError("no connection");
  const asksFor = Object.keys(logs).find((runId) => address.endsWith(`/runs/${runId}`));
  if (asksFor !== undefined) {
    const lastSeq = Number(logs[asksFor]!.at(-1)!.seq);
    return new Response(JSON.stringify({ run: { step: String(lastStep) }, lastSeq }));
  }
  if (address.includes("/trajectory")) {
    const points = [1, 30_000, lastStep].map((step) => ({ step, loss: "NaN" }));
    return new Response(JSON.stringify({ points }));
  }
  const [, runId, after] = /runs\/(\w+)(?:\/events\?after=(\d+))?/.exec(address)!;
  const log = logs[runId!];
  if (log === undefined) {
    const error = {
      reason: "RUN_NOT_FOUND",
      message: `the run '${runId}' does not exist`,
      field: "",
    };
    return new Response(JSON.stringify({ error }), { status: 404 });
  }
  const found = log.filter((event) => Number(event.seq) > Number(after)).slice(0, 2);
  const last = Number(found.at(-1)?.seq ?? 0);
  const next = log.some((event) => Number(event.seq) > last) && found.length > 0 ? last : null;
  return new Response(JSON.stringify({ events: found, next }));
}

beforeEach(() => {
  vi.useFakeTimers();
  logs = { a: [running, segment(2), segment(3)], b: [running] };
  asked = [];
  isServiceAway = false;
  lastStep = 3;
  page.hidden = false;
  taken = new Set();
  Stream.opened = [];
  vi.stubGlobal("navigator", { locks });
  const tab = new EventTarget();
  vi.stubGlobal("EventSource", Stream);
  vi.stubGlobal("document", page);
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("addEventListener", tab.addEventListener.bind(tab));
  vi.stubGlobal("removeEventListener", tab.removeEventListener.bind(tab));
  vi.stubGlobal("fetch", answer);
});

afterEach(() => {
  live?.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function followed(...runIds: string[]): Promise<LiveRuns> {
  live = new LiveRuns(runIds, () => {});
  await vi.advanceTimersByTimeAsync(1);
  return live;
}

const steps = (runs: LiveRuns, runId: string) => runs.runs.get(runId)!.log.points.step;

describe("live runs", () => {
  test("read the log in portions, then follow all runs by one stream", async () => {
    const runs = await followed("a", "b");
    expect(steps(runs, "a")).toEqual([2, 3]);
    expect(Stream.opened.map((stream) => stream.address)).toEqual([
      "/api/v1/stream?run=a%3A3&run=b%3A1",
    ]);
    Stream.opened[0]!.send("run", { runId: "a", event: segment(4) });
    Stream.opened[0]!.send("run", { runId: "a", event: segment(4) });
    expect(steps(runs, "a")).toEqual([2, 3, 4]);
  });

  test("read a long run's curve instead of its steps, and go on with every step", async () => {
    lastStep = 60_000;
    logs.a = [running];
    const runs = await followed("a");
    expect(asked.find((address) => address.includes("/events"))).not.toContain("segment");
    expect(steps(runs, "a")).toEqual([1, 30_000, 60_000]);
    const again = { snapshots: [{ step: "60000" }, { step: "60001", trainLoss: 2 }] };
    Stream.opened[0]!.send("run", {
      runId: "a",
      event: { seq: "9", attempt: "1", segment: again },
    });
    expect(steps(runs, "a")).toEqual([1, 30_000, 60_000, 60_001]);
    expect(runs.runs.get("a")!.log.isThinned).toBe(true);
  });

  test("read a curve instead of very many events, too", async () => {
    logs.a = [running, { ...segment(10_001), segment: { snapshots: [] } }];
    await followed("a");
    expect(asked.find((address) => address.includes("/events"))).not.toContain("segment");
  });

  test("are told of at once after a quiet while, then at most four times a second", async () => {
    const onChange = vi.fn();
    live = new LiveRuns(["a"], onChange);
    await vi.advanceTimersByTimeAsync(10_000);
    onChange.mockClear();
    const send = (seq: number) => Stream.opened[0]!.send("run", { runId: "a", event: segment(seq) });
    send(4);
    await vi.advanceTimersByTimeAsync(1);
    expect(onChange).toHaveBeenCalledTimes(1);
    for (let seq = 5; seq < 15; seq++) {
      send(seq);
      await vi.advanceTimersByTimeAsync(100);
    }
    expect(onChange.mock.calls.length).toBeGreaterThan(3);
    expect(onChange.mock.calls.length).toBeLessThan(6);
  });

  test("close the stream when every run has ended", async () => {
    await followed("a", "b");
    const stream = Stream.opened[0]!;
    stream.send("run", { runId: "a", event: finished(4) });
    stream.send("end", { runId: "a" });
    expect(stream.readyState).toBe(1);
    stream.send("run", { runId: "b", event: finished(2) });
    stream.send("end", { runId: "b" });
    expect(stream.readyState).toBe(Stream.CLOSED);
  });

  test("have no stream for runs that have ended or do not exist", async () => {
    logs.a!.push(finished(4));
    const runs = await followed("a", "nonesuch");
    expect(Stream.opened).toEqual([]);
    expect(runs.runs.get("nonesuch")!.gone).toBe("the run 'nonesuch' does not exist");
  });

  test("have no stream in a hidden tab, and go on where they were", async () => {
    const runs = await followed("a");
    Stream.opened[0]!.send("run", { runId: "a", event: segment(4) });
    page.hidden = true;
    page.dispatchEvent(new Event("visibilitychange"));
    expect(Stream.opened[0]!.readyState).toBe(Stream.CLOSED);
    await vi.advanceTimersByTimeAsync(1);
    expect(taken.size).toBe(0);
    page.hidden = false;
    page.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(1);
    expect(taken.size).toBe(1);
    expect(Stream.opened[1]!.address).toBe("/api/v1/stream?run=a%3A4");
    expect(steps(runs, "a")).toEqual([2, 3, 4]);
  });

  test("leave it to the browser to reconnect after a break", async () => {
    const runs = await followed("a");
    Stream.opened[0]!.break(false);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(Stream.opened).toHaveLength(1);
    expect(runs.runs.get("a")!.away).not.toBe("");
    Stream.opened[0]!.dispatchEvent(new Event("open"));
    expect(runs.runs.get("a")!.away).toBe("");
  });

  test("open another stream after one that was refused", async () => {
    const runs = await followed("a");
    logs.a!.push(segment(4));
    Stream.opened[0]!.break(true);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(steps(runs, "a")).toEqual([2, 3, 4]);
    expect(Stream.opened[1]!.address).toBe("/api/v1/stream?run=a%3A4");
  });

  test("try again while the service is away", async () => {
    isServiceAway = true;
    const runs = await followed("a");
    expect(runs.runs.get("a")!.away).not.toBe("");
    isServiceAway = false;
    await vi.advanceTimersByTimeAsync(2_000);
    expect(steps(runs, "a")).toEqual([2, 3]);
    expect(runs.runs.get("a")!.away).toBe("");
  });

  test("say that the trainer is away, and that it is back", async () => {
    const runs = await followed("a");
    Stream.opened[0]!.send("away", { runId: "a", reason: "no connection" });
    expect(runs.runs.get("a")!.away).toBe("no connection");
    Stream.opened[0]!.send("back", { runId: "a", reason: "" });
    expect(runs.runs.get("a")!.away).toBe("");
  });

  test("read what is new now and then while other tabs have all streams", async () => {
    const others = [0, 1, 2, 3].map((place) => `mentorgrad stream ${place}`);
    taken = new Set(others);
    const runs = await followed("a");
    logs.a!.push(segment(4));
    await vi.advanceTimersByTimeAsync(3_000);
    expect(steps(runs, "a")).toEqual([2, 3, 4]);
    expect(Stream.opened).toEqual([]);
    taken.delete(others[2]!);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(Stream.opened.map((stream) => stream.address)).toEqual(["/api/v1/stream?run=a%3A4"]);
  });

  test("have a stream without asking for a place where there are no locks", async () => {
    vi.stubGlobal("navigator", {});
    await followed("a");
    expect(Stream.opened).toHaveLength(1);
  });

  test("ask for nothing after they were stopped", async () => {
    const runs = await followed("a");
    runs.stop();
    const before = asked.length;
    Stream.opened[0]!.break(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(before);
    expect(Stream.opened).toHaveLength(1);
  });
});
