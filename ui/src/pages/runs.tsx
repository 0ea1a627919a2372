/** The list of runs. The address holds filter, order and page. */

import { useState } from "preact/hooks";
import { changed, compareAddress, experimentAddress } from "../data/address";
import { MOST_COMPARED } from "../data/compare_view";
import { useTitle } from "../data/hooks";
import { STATES } from "../data/words";
import { Select } from "../parts/controls";
import { go, Link } from "../parts/router";
import { ColumnChoice } from "./run_columns";
import { RunList } from "./run_list";
import { RunsActions } from "./runs_actions";

const ORDERS = [
  ["", "newest first"],
  ["oldest", "oldest first"],
  ["best_selection_loss", "lowest loss first"],
] as const;

interface RunsPageProps {
  query: URLSearchParams;
  mayAct: boolean;
}

export function RunsPage({ query, mayAct }: RunsPageProps) {
  const [chosen, setChosen] = useState<readonly string[]>([]);
  useTitle("Runs");
  const experiment = query.get("experiment") ?? "";
  const choose = (runIds: readonly string[], areChosen: boolean) => {
    const others = chosen.filter((runId) => !runIds.includes(runId));
    setChosen(areChosen ? [...others, ...runIds] : others);
  };
  return (
    <>
      <div class="page-head">
        <h1>Runs</h1>
        <span class="spacer" />
        {chosen.length > 0 && (
          <button type="button" class="button small" onClick={() => setChosen([])}>
            Clear {chosen.length}
          </button>
        )}
        <button
          type="button"
          class="button primary"
          disabled={chosen.length < 2 || chosen.length > MOST_COMPARED}
          onClick={() => go(compareAddress(chosen))}
        >
          Compare{chosen.length > 0 ? ` ${chosen.length}` : ""}
        </button>
      </div>
      {mayAct && <RunsActions runIds={chosen} />}
      {experiment && (
        <p class="lead">
          Of the experiment <Link to={experimentAddress(experiment)}>{experiment}</Link>
        </p>
      )}
      <Filter query={query} />
      <ColumnChoice query={query} />
      <RunList key={changed(query, { hide: "" })} query={query} chosen={chosen} choose={choose} />
    </>
  );
}

function Filter({ query }: { query: URLSearchParams }) {
  const set = (name: string, value: string) =>
    go(`/${changed(query, { [name]: value, page: "" })}`, true);
  const field = (name: string, label: string, hint: string, pattern?: string) => (
    <label>
      <span>{label}</span>
      <input
        type="search"
        value={query.get(name) ?? ""}
        placeholder={hint}
        {...(pattern ? { pattern } : {})}
        onChange={(event) => set(name, event.currentTarget.value.trim())}
      />
    </label>
  );
  return (
    <form class="filter" role="search" onSubmit={(event) => event.preventDefault()}>
      <Select
        name="State"
        value={query.get("state") ?? ""}
        options={["", ...STATES].map((name) => [name, name || "any"])}
        onChoose={(name) => set("state", name)}
      />
      {field("text", "Name", "part or /regex/")}
      {field("label", "Label", "name=value", "[^=]+=.*")}
      {field("task", "Task", "any")}
      {field("mentor", "Mentor", "any")}
      <Select
        name="Order"
        value={query.get("order") ?? ""}
        options={ORDERS}
        onChoose={(name) => set("order", name)}
      />
      {query.toString() && <Link to="/">Reset</Link>}
    </form>
  );
}
