/** Reads of the page's service. */

import type { ActionRequest, ActionResult } from "./actions";
import type { CurveName } from "./compare_view";
import type { Compared, Services, ServicesWork, LabelledRows, Prediction, PredictorInfo } from "./services";
import type { Artifact, Difference, Failure, Point, Run, RunEvent } from "./messages";
import type { Experiment, GroupsView, PathView, ReportView } from "./report";
import type { StepRange } from "./zoom";

/** A request that the service refused, or that did not reach it. */
export class ApiError extends Error {
  /**
   * @param status HTTP status; 0: the service does not answer.
   * @param reason Reason in UPPER_SNAKE.
   * @param message One line.
   */
  constructor(
    readonly status: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Called when the service wants a login. */
let onLogin: () => void = () => {};

export function whenLoginIsWanted(call: () => void): void {
  onLogin = call;
}

async function asked(path: string, options: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "PAGE_AWAY", "the page’s service does not answer");
  }
  if (response.ok) return response;
  const said = (await response.json().catch(() => null)) as { error?: Failure } | null;
  const failure = said?.error;
  if (response.status === 401 && path !== "/login") onLogin();
  throw new ApiError(
    response.status,
    failure?.reason ?? "UNKNOWN",
    failure?.message ?? `the page’s service answers ${response.status}`,
  );
}

async function read<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await asked(path, signal ? { signal } : {});
  return (await response.json()) as T;
}

const at = (runId: string) => `/runs/${encodeURIComponent(runId)}`;

export const services = (signal?: AbortSignal) => read<Services>("/services", signal);

/** Who executes runs, which wait and why, and how many end. */
export const servicesWork = (signal?: AbortSignal) => read<ServicesWork>("/services/work", signal);

export const runs = (query: URLSearchParams, signal?: AbortSignal) =>
  read<{ runs: Run[]; nextPageToken: string }>(`/runs?${query}`, signal);

export const run = (runId: string, signal?: AbortSignal) =>
  read<{ run: Run; lastSeq: number; waits: string }>(at(runId), signal);

export const events = (runId: string, after: number, signal?: AbortSignal) =>
  read<{ events: RunEvent[]; next: number | null }>(
    `${at(runId)}/events?after=${after}&limit=1000`,
    signal,
  );

/** All kinds of events but segments, of which a long run has very many. */
const BESIDE_STEPS = [
  "created",
  "state_changed",
  "stage_started",
  "candidates_scored",
  "proposals_received",
  "restart_decided",
  "checkpoint_saved",
  "mentor_lost",
  "mentor_back",
  "resumed",
  "finished",
  "step_divided",
];

/** The events of a run without those of single steps. */
export const eventsBesideSteps = (runId: string, after: number, signal?: AbortSignal) =>
  read<{ events: RunEvent[]; next: number | null }>(
    `${at(runId)}/events?after=${after}&limit=1000${BESIDE_STEPS.map((kind) => `&kind=${kind}`).join("")}`,
    signal,
  );

/** Points of a run's loss curve, of all steps or a range, without what a resume superseded. */
export const trajectory = (
  runId: string,
  points: number,
  signal?: AbortSignal,
  range?: StepRange,
) =>
  read<{ points: Point[] }>(
    `${at(runId)}/trajectory?points=${points}${
      range ? `&first_step=${range.first}&last_step=${range.last}` : ""
    }`,
    signal,
  );

export const artifacts = (runId: string, signal?: AbortSignal) =>
  read<{ artifacts: Artifact[] }>(`${at(runId)}/artifacts`, signal);

export const compare = (runIds: readonly string[], signal?: AbortSignal) =>
  read<{ runs: Run[]; differences: Difference[] }>(
    `/compare?${new URLSearchParams(runIds.map((runId) => ["run", runId]))}`,
    signal,
  );

/** The means of runs' curves, grouped by a label. */
export const grouped = (
  runIds: readonly string[],
  label: string,
  curve: CurveName,
  signal?: AbortSignal,
) =>
  read<GroupsView>(
    `/compare/groups?${new URLSearchParams([
      ...runIds.map((runId) => ["run", runId]),
      ["label", label],
      ["curve", curve],
    ])}`,
    signal,
  );

/** The path of a run's parameters in two dimensions. */
export const path = (runId: string, signal?: AbortSignal) =>
  read<PathView>(`${at(runId)}/path`, signal);

export const experiments = (query: URLSearchParams, signal?: AbortSignal) =>
  read<{ experiments: Experiment[]; nextPageToken: string }>(`/experiments?${query}`, signal);

/**
 * An experiment, and the view of a report on its runs so far.
 *
 * @param version Of the report that the page has: it is not sent again.
 */
export const report = (experimentId: string, version: string, signal?: AbortSignal) =>
  read<{ experiment: Experiment; report: ReportView | null; version: string }>(
    `/reports/${encodeURIComponent(experimentId)}${version ? `?version=${version}` : ""}`,
    signal,
  );

/** What the visitor may do, and the token that shows that it is the page that asks. */
export interface Session {
  /** Whether they may change runs. */
  actions: boolean;
  /** Whether there is a classifier to try. */
  classifier: boolean;
  token: string;
}

let pageToken = "";

export async function session(signal?: AbortSignal): Promise<Session> {
  const found = await read<Session>("/session", signal);
  pageToken = found.token;
  return found;
}

/** Runs of one request of an action. */
const MOST_AT_ONCE = 200;

/** Changes runs, each for itself. */
export async function act(request: ActionRequest): Promise<ActionResult[]> {
  const found: ActionResult[] = [];
  for (let from = 0; from < request.run_ids.length; from += MOST_AT_ONCE) {
    const run_ids = request.run_ids.slice(from, from + MOST_AT_ONCE);
    const { results } = await done<{ results: ActionResult[] }>("/actions", { ...request, run_ids });
    found.push(...results);
  }
  return found;
}

/** The classifier of the predict service; null: there is none. */
export const predictor = (signal?: AbortSignal) =>
  read<{ predictor: PredictorInfo | null }>("/predictor", signal);

/** The prediction for a text, and its second text if the classifier is one of pairs. */
export const predict = (text: string, pair?: string) =>
  done<{ prediction: Prediction }>("/predictions", pair === undefined ? { text } : { text, pair });

/** What is predicted for rows whose labels are known; the page's service keeps nothing of them. */
export const comparePredictions = (rows: LabelledRows) =>
  done<Compared>("/predictions/compared", rows);

/** The answer to a request that only the page may make. */
async function done<T>(path: string, body: object): Promise<T> {
  const send = () => sent(path, body, { "mentorgrad-page-token": pageToken });
  try {
    return (await (await send()).json()) as T;
  } catch (error) {
    // The page's service is another process than before, or this a new session.
    if (!(error instanceof ApiError) || error.reason !== "PAGE_TOKEN") throw error;
    await session();
    return (await (await send()).json()) as T;
  }
}

export const login = (token: string) => sent("/login", { token });

export const logout = () => sent("/logout", {});

function sent(path: string, body: object, headers: { [name: string]: string } = {}) {
  return asked(path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}
