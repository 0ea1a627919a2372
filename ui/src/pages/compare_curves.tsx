/** The curves of several runs, or the means of groups of them. */

import { useMemo, useState } from "preact/hooks";
import * as api from "../data/api";
import type { Key } from "../data/chart";
import { looks } from "../data/colours";
import { toggled } from "../data/address";
import { compareView, CURVES, labelNames, withView } from "../data/compare_view";
import { useRead } from "../data/hooks";
import type { LiveRun } from "../data/live_runs";
import { counted } from "../data/numbers";
import type { Run } from "../data/messages";
import type { RunLog } from "../data/run_log";
import { chartOf, ofGroups, ofRun, type Series } from "../data/series";
import { shortId, title } from "../data/words";
import { Empty, Problem, Words } from "../parts/basics";
import { Chart } from "../parts/chart";
import { Select, Smoothing, Switch } from "../parts/controls";
import { go } from "../parts/router";

/** Pause between reads of the means while any run goes on. */
const GROUPS_MS = 10_000;

/** Names that tell the runs apart. */
function names(runs: readonly LiveRun[]): Map<string, string> {
  const titles = runs.map(({ log }) => title(log));
  return new Map(
    runs.map(({ log }, at) => {
      const isShared = titles.indexOf(titles[at]!) !== titles.lastIndexOf(titles[at]!);
      return [log.runId, isShared ? `${titles[at]} ${shortId(log.runId)}` : titles[at]!];
    }),
  );
}

/** The name and the look of a run among others. */
export function keyOf(runs: readonly LiveRun[]): (log: RunLog) => Key {
  const found = looks(runs.map(({ log }) => log.runId));
  const called = names(runs);
  return (log) => {
    const { colour, dash } = found.get(log.runId)!;
    return { name: called.get(log.runId)!, colour, sort: "line", ...(dash ? { dash } : {}) };
  };
}

interface CurvesProps {
  runs: readonly LiveRun[];
  /** The same runs with their labels; empty: they are not read yet. */
  records: readonly Run[];
  /** Of the address, which says what is drawn. */
  query: URLSearchParams;
}

export function Curves({ runs, records, query }: CurvesProps) {
  const given = compareView(query);
  const [smoothing, setSmoothing] = useState(given.smoothing);
  const view = { ...given, smoothing };
  const shown = runs.filter(({ log }) => log.lastSeq > 0);
  const runIds = runs.map(({ log }) => log.runId);
  const isLive = runs.some(({ log, gone }) => !gone && !log.isEnded);
  const grouped = useRead(
    view.group && [view.group, view.curve, ...runIds].join("\n"),
    (signal) => api.grouped(runIds, view.group, view.curve, signal),
    isLive ? GROUPS_MS : 0,
  );
  const state = shown.map(({ log }) => `${log.lastSeq} ${log.points.step.length}`).join();
  const key = keyOf(runs);
  const series = useMemo(() => {
    if (view.group) return grouped.value ? ofGroups(grouped.value) : [];
    return shown.map(({ log }) => ofRun(log, key(log), view, shown.length));
  }, [state, view.curve, smoothing, view.group, grouped.value]);
  const data = useMemo(() => chartOf(series, view), [series, query.toString()]);
  const seen = series.filter(({ id }) => !view.hidden.includes(id));
  const hidden = series.filter(({ id }) => view.hidden.includes(id));
  const controls = <Controls query={query} records={records} smoothing={[smoothing, setSmoothing]} />;
  const subject = view.group ? `Means by ${view.group}` : `Curves of ${counted(seen.length, "run")}`;
  return (
    <>
      {grouped.error && <Problem error={grouped.error} />}
      <Chart
        label={`${subject}: ${CURVES[view.curve]}`}
        data={data}
        keys={seen.map((one) => one.key)}
        height={340}
        controls={controls}
        {...(hidden.length > 0 && {
          note: `${counted(hidden.length, view.group ? "group" : "run")} hidden; drag to zoom in`,
        })}
        {...(view.group && {
          tools: (at: number) => (
            <Tools
              query={query}
              series={seen[at]!}
              isPinned={view.pinned.includes(seen[at]!.id)}
            />
          ),
        })}
      />
      {view.group && grouped.value === undefined && !grouped.error && <Empty>Reading…</Empty>}
      {view.group && (
        <p class="note">
          The mean over the runs of a group at the steps that all of them have, with its 95 % interval
          (Student’s t) at each step; of one run there is no interval.
        </p>
      )}
      {view.group && <Hidden query={query} series={hidden} />}
    </>
  );
}

interface ToolsProps {
  query: URLSearchParams;
  series: Series;
  isPinned: boolean;
}

/** What can be done with a group; with a run, its row in the figures does it. */
function Tools({ query, series: { id, key }, isPinned }: ToolsProps) {
  return (
    <>
      <button
        type="button"
        class="button tiny"
        aria-pressed={isPinned}
        aria-label={`Pin ${key.name}`}
        onClick={() => go(`/compare${toggled(query, "pin", id)}`, true)}
      >
        Pin
      </button>
      <button
        type="button"
        class="button tiny"
        aria-label={`Hide ${key.name}`}
        onClick={() => go(`/compare${toggled(query, "hide", id)}`, true)}
      >
        Hide
      </button>
    </>
  );
}

function Hidden({ query, series }: { query: URLSearchParams; series: readonly Series[] }) {
  if (series.length === 0) return null;
  return (
    <p class="note hidden-curves">
      Hidden:
      {series.map(({ id, key }) => (
        <span key={id}>
          <Words text={key.name} />{" "}
          <button
            type="button"
            class="button tiny"
            aria-label={`Show ${key.name}`}
            onClick={() => go(`/compare${toggled(query, "hide", id)}`, true)}
          >
            Show
          </button>
        </span>
      ))}
    </p>
  );
}

interface ControlsProps {
  query: URLSearchParams;
  records: readonly Run[];
  smoothing: [number, (share: number) => void];
}

function Controls({ query, records, smoothing: [smoothing, setSmoothing] }: ControlsProps) {
  const { curve, group, isLog } = compareView(query);
  const set = (name: string, value: string) => go(withView(query, { [name]: value }), true);
  const labels = labelNames(records, group);
  const groups = ["", ...labels].map((name) => [name, name || "no label"] as const);
  return (
    <>
      <Select
        class="slider"
        name="Curve"
        value={curve}
        options={Object.entries(CURVES)}
        onChoose={(name) => set("curve", name)}
      />
      {labels.length > 0 && (
        <Select
          class="slider"
          name="Group by"
          value={group}
          options={groups}
          onChoose={(name) => set("group", name)}
        />
      )}
      {curve === "train" && !group && (
        <Smoothing
          share={smoothing}
          onMove={setSmoothing}
          onSet={(share) => set("smoothing", String(share))}
        />
      )}
      <Switch name="Log axis" isOn={isLog} onTurn={(isOn) => set("log", isOn ? "1" : "")} />
    </>
  );
}
