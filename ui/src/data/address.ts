/** The address holds the view: which page, which filter, which tab. */

export type View =
  | { page: "runs" }
  | { page: "run"; runId: string }
  | { page: "experiments" }
  | { page: "experiment"; experimentId: string }
  | { page: "compare" }
  | { page: "services" }
  | { page: "classifier" }
  | { page: "none" };

const LISTS = ["runs", "experiments", "compare", "services", "classifier"] as const;

/** The view of a path. */
export function viewOf(path: string): View {
  const [folder = "runs", name, ...more] = path.split("/").filter(Boolean);
  if (more.length > 0) return { page: "none" };
  if (name === undefined) {
    const page = LISTS.find((known) => known === folder);
    return { page: page ?? "none" };
  }
  try {
    const id = decodeURIComponent(name);
    if (folder === "runs") return { page: "run", runId: id };
    if (folder === "experiments") return { page: "experiment", experimentId: id };
  } catch {
    // no address that the page has made
  }
  return { page: "none" };
}

/** The address of a run's page. */
export function runAddress(runId: string, tab = ""): string {
  return `/runs/${encodeURIComponent(runId)}${tab ? `?tab=${tab}` : ""}`;
}

/** The address of an experiment's page. */
export function experimentAddress(experimentId: string): string {
  return `/experiments/${encodeURIComponent(experimentId)}`;
}

/** The address of the list of an experiment's runs, in any state or in some. */
export function runsOfAddress(experimentId: string, ...states: string[]): string {
  const query = new URLSearchParams({ experiment: experimentId });
  for (const state of states) query.append("state", state);
  return `/?${query}`;
}

/** The address of a comparison. */
export function compareAddress(runIds: readonly string[]): string {
  const query = new URLSearchParams(runIds.map((runId) => ["run", runId]));
  return runIds.length > 0 ? `/compare?${query}` : "/compare";
}

/** Ids that a parameter of a query has. */
export function idsIn(query: URLSearchParams, name: string): readonly string[] {
  return (query.get(name) ?? "").split(",").filter((id) => id !== "");
}

/** A query in which a parameter has an id that it had not, or the other way round. */
export function toggled(query: URLSearchParams, name: string, id: string): string {
  const ids = idsIn(query, name);
  const others = ids.filter((other) => other !== id);
  return changed(query, { [name]: (others.length < ids.length ? others : [...ids, id]).join() });
}

/** A query in which no parameter has an id. */
export function withoutId(query: URLSearchParams, id: string): string {
  const found = new URLSearchParams();
  for (const [name, value] of query) {
    const left = value.split(",").filter((other) => other !== id);
    if (left.length > 0) found.append(name, left.join());
  }
  return changed(found, {});
}

/** A query with some parameters changed; an empty value removes one. */
export function changed(query: URLSearchParams, values: { [name: string]: string }): string {
  const found = new URLSearchParams(query);
  for (const [name, value] of Object.entries(values)) {
    if (value === "") found.delete(name);
    else found.set(name, value);
  }
  const text = found.toString();
  return text ? `?${text}` : "";
}

const FILTERS = ["text", "label", "task", "mentor", "owner", "experiment"] as const;

/** The regular expression in a text such as `/^sweep.*9$/`; undefined: it is a part of a name. */
export function patternOf(text: string | null): string | undefined {
  return /^\/(.+)\/$/.exec(text ?? "")?.[1];
}

/**
 * The query for a page of runs from the address of the view; what the service does not know is
 * left out.
 */
export function runsQuery(
  view: URLSearchParams,
  pageSize: number,
  page = view.get("page") ?? "",
): URLSearchParams {
  const query = new URLSearchParams({ page_size: String(pageSize) });
  for (const state of view.getAll("state")) query.append("state", state);
  for (const name of FILTERS) {
    for (const value of view.getAll(name)) {
      const pattern = name === "text" ? patternOf(value) : undefined;
      if (pattern !== undefined) query.append("pattern", pattern);
      else if (name !== "label" || /^[^=]+=/.test(value)) query.append(name, value);
    }
  }
  const order = view.get("order");
  if (order) query.set("order", order);
  if (page) query.set("page_token", page);
  return query;
}
