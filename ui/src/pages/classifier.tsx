/** A classifier to try: a text, and the probability of each label. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { runAddress } from "../data/address";
import * as api from "../data/api";
import { useRead, useTitle } from "../data/hooks";
import type { Prediction, PredictorInfo } from "../data/services";
import { percent, real } from "../data/numbers";
import { Empty, Facts, Problem, Section, Words } from "../parts/basics";
import { Link } from "../parts/router";
import { Table } from "../parts/table";
import { LabelledTable } from "./labelled_table";

export function ClassifierPage() {
  const found = useRead("predictor", api.predictor);
  useTitle("Classifier");
  const predictor = found.value?.predictor;
  return (
    <>
      <div class="page-head">
        <h1>Classifier</h1>
      </div>
      <p class="lead">What a tuned classifier says of a text of yours. The page keeps nothing of it.</p>
      {found.error && <Problem error={found.error} />}
      {predictor === null && (
        <Empty>There is none. Start the page with `--predictor HOST:PORT`.</Empty>
      )}
      {predictor && (
        <>
          <div class="columns">
            <Box predictor={predictor} />
            <About predictor={predictor} />
          </div>
          <LabelledTable predictor={predictor} />
        </>
      )}
    </>
  );
}

function Box({ predictor }: { predictor: PredictorInfo }) {
  const [text, setText] = useState("");
  const [pair, setPair] = useState("");
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState<Prediction | undefined>(undefined);
  const [error, setError] = useState<api.ApiError | undefined>(undefined);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    try {
      setSaid((await api.predict(text, predictor.paired ? pair : undefined)).prediction);
      setError(undefined);
    } catch (failure) {
      setSaid(undefined);
      setError(failure as api.ApiError);
    } finally {
      setBusy(false);
    }
  };
  const field = (label: string, value: string, set: (text: string) => void) => (
    <label class="lines">
      <span>{label}</span>
      <textarea
        dir="auto"
        rows={5}
        required
        value={value}
        onInput={(event) => set(event.currentTarget.value)}
      />
    </label>
  );
  return (
    <Section title="A text">
      <form onSubmit={(event) => void send(event)}>
        {field(predictor.paired ? "First text" : "Text", text, setText)}
        {predictor.paired && field("Second text", pair, setPair)}
        <div class="dialog-buttons">
          <button type="submit" class="button primary" disabled={isBusy}>
            Predict
          </button>
        </div>
      </form>
      <div role="status">
        {error && (
          <p class="problem">
            <bdi>{error.message}</bdi>
          </p>
        )}
        {said && <Labels prediction={said} labels={predictor.labels ?? []} />}
      </div>
    </Section>
  );
}

interface LabelsProps {
  prediction: Prediction;
  labels: readonly string[];
}

function Labels({ prediction, labels }: LabelsProps) {
  const rows = labels
    .map((label, at) => ({ label, share: real(prediction.probabilities?.[at]) ?? 0 }))
    .sort((one, other) => other.share - one.share);
  return (
    <>
      <p class="finding-claim">
        <Words text={prediction.label} />
      </p>
      {prediction.isCut && <p class="note">The text was cut: the model has no room for all of it.</p>}
      <Table
        label="Probabilities of the labels"
        rows={rows}
        id={({ label }) => label}
        columns={[
          { name: "label", class: "cell-name", cell: ({ label }) => <Words text={label} /> },
          { name: "probability", isNumber: true, cell: ({ share }) => percent(share) },
          {
            name: "share",
            isNameUnseen: true,
            class: "cell-budget",
            cell: ({ share }) => <meter min={0} max={1} value={share} aria-hidden="true" />,
          },
        ]}
      />
    </>
  );
}

function About({ predictor }: { predictor: PredictorInfo }) {
  const { runId, labels, use, objective, model, version } = predictor;
  const rows: [string, ComponentChildren][] = [
    ["labels", <Words text={(labels ?? []).join(", ")} />],
    ["what predicts", <Words text={use} />],
    ["objective", <Words text={objective} />],
    ["model", <Words text={model} />],
    ["run", runId ? <Link to={runAddress(runId)}>{runId}</Link> : "–"],
    ["version", version],
  ];
  return (
    <Section title="What predicts">
      <Facts rows={rows} />
    </Section>
  );
}
