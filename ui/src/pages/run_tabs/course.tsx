/** Loss and accuracy against steps, and the result. */

import { count, figure, int, percent, real, seconds, span } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import { Facts, Section, Words } from "../../parts/basics";
import { Table } from "../../parts/table";
import { LabelsSection } from "./labels";
import { AccuracyChart, LossChart } from "./run_charts";
import { StagesSection } from "./stages";

export function CourseTab({ log }: { log: RunLog }) {
  const hasAccuracy = log.candidates.some((item) => item.accuracy !== undefined);
  return (
    <>
      <Section title="Loss">
        <LossChart log={log} />
      </Section>
      {hasAccuracy && (
        <Section title="Accuracy on selection">
          <AccuracyChart log={log} />
        </Section>
      )}
      <StagesSection log={log} />
      <div class="columns">
        {log.result && <ResultSection log={log} />}
        <CostSection log={log} />
      </div>
      {log.labelScores.length > 0 && <LabelsSection scores={log.labelScores} />}
    </>
  );
}

function ResultSection({ log }: { log: RunLog }) {
  const result = log.result!;
  const hasZeroShot = result.baselines?.some((item) => item.name === "zero_shot");
  const rows = [
    ["selection", result.returned?.score],
    ["test", result.test],
    ...(hasZeroShot ? [] : [["zero shot", result.zeroShot] as const]),
    ...(result.baselines ?? []).map((item) => [item.name ?? "baseline", item.test] as const),
  ] as const;
  return (
    <Section title="Result">
      <p class="quote">
        <Words text={result.returned?.text} />
      </p>
      <Table
        label="Scores"
        rows={rows.filter(([, score]) => score !== undefined)}
        id={([name]) => name}
        columns={[
          { name: "scored on", cell: ([name]) => name.replaceAll("_", " ") },
          { name: "loss", isNumber: true, cell: ([, score]) => figure(real(score?.loss)) },
          { name: "accuracy", isNumber: true, cell: ([, score]) => percent(real(score?.accuracy)) },
          {
            name: "macro F1",
            isNumber: true,
            cell: ([, score]) => figure(real(score?.macroF1), 3),
          },
          { name: "rows", isNumber: true, cell: ([, score]) => count(int(score?.rows)) },
        ]}
      />
    </Section>
  );
}

function CostSection({ log }: { log: RunLog }) {
  const { usage } = log;
  const calls = int(usage.mentorCalls);
  return (
    <Section title="Costs">
      <Facts
        rows={[
          [
            "gradient steps",
            `${count(int(usage.gradientSteps))}, ${count(int(usage.probeSteps))} of them in races`,
          ],
          ["evaluations", count(int(usage.evaluations))],
          ["forward rows", count(int(usage.forwardRows))],
          ["mentor", `${count(calls)} calls, ${count(int(usage.usableAnswers))} usable answers`],
          ["fallbacks", count(int(usage.fallbacks))],
          [
            "tokens",
            `${count(int(usage.promptTokens))} in questions, ${count(int(usage.replyTokens))} in replies`,
          ],
          ["waited for the mentor", span(seconds(usage.mentorTime))],
          ["training", span(seconds(usage.trainTime))],
        ]}
      />
    </Section>
  );
}
