/** What a classifier predicts for the rows of each label. */

import { matrixPicture } from "../../data/cells_picture";
import { matrixRows } from "../../data/chart_files";
import type { LabelScore } from "../../data/messages";
import { count, figure, int, percent, real } from "../../data/numbers";
import { Section, Words } from "../../parts/basics";
import { Frame } from "../../parts/frame";
import { Scroll } from "../../parts/scroll";
import { type ColumnOf, Table } from "../../parts/table";

const FIGURES: readonly ColumnOf<LabelScore>[] = [
  { name: "label", class: "cell-name", cell: ({ label }) => <Words text={label} /> },
  { name: "rows", isNumber: true, cell: ({ rows }) => count(int(rows)) },
  { name: "predicted", isNumber: true, cell: ({ predicted }) => count(int(predicted)) },
  { name: "precision", isNumber: true, cell: ({ precision }) => percent(real(precision)) },
  { name: "recall", isNumber: true, cell: ({ recall }) => percent(real(recall)) },
  { name: "F1", isNumber: true, cell: ({ f1 }) => figure(real(f1), 3) },
];

interface LabelsProps {
  scores: readonly LabelScore[];
  /** Of which rows. */
  title?: string;
}

export function LabelsSection({ scores, title = "Labels on test" }: LabelsProps) {
  const hasMatrix = scores.every(({ guesses }) => guesses?.length === scores.length);
  return (
    <>
      <Section title={title}>
        <Table label={title} rows={scores} id={(_, at) => at} columns={FIGURES} />
      </Section>
      {hasMatrix && (
        <Section title={`${title}, by prediction`}>
          <Matrix scores={scores} label={`${title}, by prediction`} />
        </Section>
      )}
    </>
  );
}

/** Each row has the rows of a label: how many, and which share of them. */
function Matrix({ scores, label }: { scores: readonly LabelScore[]; label: string }) {
  return (
    <Frame
      name={label}
      csv={() => matrixRows(scores)}
      svg={(inks) => matrixPicture(scores, inks)}
    >
      <Scroll label={label}>
        <table class="matrix">
          <thead>
            <tr>
              <th scope="col">label</th>
              {scores.map(({ label }, at) => (
                <th key={at} scope="col" class="number">
                  <span class="unseen">predicted: </span>
                  <Words text={label} />
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {scores.map((score, row) => (
              <tr key={row}>
                <th scope="row">
                  <Words text={score.label} />
                </th>
                {score.guesses!.map((guess, at) => (
                  <Cell key={at} guess={int(guess)} rows={int(score.rows)} isRight={at === row} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
      <p class="note">
        A row has the rows of one label, a column those for which a label is predicted. Shares are
        those of a row; what is predicted rightly is framed.
      </p>
    </Frame>
  );
}

function Cell({ guess, rows, isRight }: { guess: number; rows: number; isRight: boolean }) {
  const share = rows > 0 ? guess / rows : 0;
  return (
    <td
      class={isRight ? "number is-right" : "number"}
      style={{ "--share": `${Math.round(30 * share)}%` }}
    >
      {count(guess)}
      {guess > 0 && <span class="muted"> {percent(share)}</span>}
    </td>
  );
}
