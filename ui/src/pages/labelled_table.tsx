/** A table with labels: what the classifier predicts for its rows, and where it is surely wrong. */

import { useMemo, useState } from "preact/hooks";
import * as api from "../data/api";
import { fromCsv } from "../data/csv";
import type { Compared, LabelledRows, PredictorInfo } from "../data/services";
import { counted, percent } from "../data/numbers";
import { Section, Words } from "../parts/basics";
import { type ColumnOf, Table } from "../parts/table";
import { LabelsSection } from "./run_tabs/labels";

interface Shown {
  rows: LabelledRows;
  found: Compared;
}

export function LabelledTable({ predictor }: { predictor: PredictorInfo }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<{ [use: string]: string }>({});
  const [isBusy, setBusy] = useState(false);
  const [shown, setShown] = useState<Shown | undefined>(undefined);
  const [error, setError] = useState("");
  const table = useMemo(() => fromCsv(text), [text]);
  const names = table[0] ?? [];
  const uses = predictor.paired ? ["text", "pair", "label"] : ["text", "label"];
  const columnOf = (use: string) => {
    const wanted = names.indexOf(chosen[use] ?? predictor.columns?.[use] ?? use);
    return wanted >= 0 ? wanted : Math.min(uses.indexOf(use), Math.max(0, names.length - 1));
  };
  const values = (use: string) => table.slice(1).map((row) => row[columnOf(use)] ?? "");
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setShown(undefined);
    setError("");
    try {
      const rows = {
        texts: values("text"),
        labels: values("label"),
        ...(predictor.paired ? { pairs: values("pair") } : {}),
      };
      setShown({ rows, found: await api.comparePredictions(rows) });
    } catch (failure) {
      setError((failure as api.ApiError).message);
    } finally {
      setBusy(false);
    }
  };
  const read = async (file: File | undefined) => setText((await file?.text()) ?? "");
  return (
    <>
      <Section title="A table with labels">
        <p class="note">
          Comma-separated values with a row of names, at most 1,000 rows and 1 MB. They go to the
          predict service; the page keeps nothing of them.
        </p>
        <form onSubmit={(event) => void send(event)}>
          <label class="lines">
            <span>File</span>
            <input
              type="file"
              accept=".csv,.tsv,.txt"
              onChange={(event) => void read(event.currentTarget.files?.[0])}
            />
          </label>
          <label class="lines">
            <span>Table</span>
            <textarea
              dir="auto"
              rows={5}
              required
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </label>
          <div class="filter">
            {uses.map((use) => (
              <label key={use}>
                <span>Column of the {use}</span>
                <select
                  value={names[columnOf(use)]}
                  onChange={(event) => setChosen({ ...chosen, [use]: event.currentTarget.value })}
                >
                  {names.map((name, at) => (
                    <option key={at}>{name}</option>
                  ))}
                </select>
              </label>
            ))}
          </div>
          <div class="dialog-buttons">
            <button type="submit" class="button primary" disabled={isBusy || table.length < 2}>
              {isBusy ? "Predicting…" : `Compare ${counted(Math.max(0, table.length - 1), "row")}`}
            </button>
          </div>
        </form>
        <div role="status">
          {error && (
            <p class="problem">
              <bdi>{error}</bdi>
            </p>
          )}
          {shown && (
            <p class="finding-claim">
              {percent(1 - shown.found.wrong / shown.found.rows)} right:{" "}
              {counted(shown.found.wrong, "error")} in {counted(shown.found.rows, "row")}
            </p>
          )}
        </div>
      </Section>
      {shown && <Errors {...shown} />}
      {shown && <LabelsSection scores={shown.found.labelScores} title="Labels of the table" />}
    </>
  );
}

function Errors({ rows, found }: Shown) {
  if (found.errors.length === 0) return null;
  const columns: ColumnOf<Compared["errors"][number]>[] = [
    { name: "row", isNumber: true, cell: ({ row }) => row + 1 },
    { name: "label", cell: ({ label }) => <Words text={label} /> },
    { name: "predicted", cell: ({ predicted }) => <Words text={predicted} /> },
    { name: "probability", isNumber: true, cell: ({ probability }) => percent(probability) },
    { name: "text", class: "wide", cell: ({ row }) => <Words text={rows.texts[row]} /> },
  ];
  if (rows.pairs !== undefined)
    columns.push({ name: "pair", class: "wide", cell: ({ row }) => <Words text={rows.pairs![row]} /> });
  return (
    <Section title="Most confident errors">
      <Table label="Most confident errors" columns={columns} rows={found.errors} id={({ row }) => row} />
      {found.errors.length < found.wrong && (
        <p class="note">
          {found.errors.length} of {counted(found.wrong, "error")}.
        </p>
      )}
    </Section>
  );
}
