/** What the mentor was asked, what it said, and what became of it. */

import { count, counted, figure, int, real, seconds, span } from "../../data/numbers";
import type { Answer, Branch, Outcome, Proposal } from "../../data/messages";
import type { RunLog } from "../../data/run_log";
import type { Question } from "../../data/run_parts";
import { answerStatus, outcome, policy } from "../../data/words";
import { Empty, Words } from "../../parts/basics";
import { type ColumnOf, Table } from "../../parts/table";

/** Newest first: beyond it, older ones stay closed and unread. */
const SHOWN = 100;

export function MentorTab({ log }: { log: RunLog }) {
  if (log.questions.length === 0)
    return <Empty>Nobody has been asked so far. The mentor is asked between stages.</Empty>;
  const latest = log.questions.slice(-SHOWN).reverse();
  return (
    <>
      {log.questions.length > SHOWN && (
        <p class="note">
          The latest {SHOWN} of {count(log.questions.length)} answers.
        </p>
      )}
      {latest.map((question, at) => (
        <AnswerCard key={question.seq} log={log} question={question} isOpen={at === 0} />
      ))}
    </>
  );
}

interface AnswerCardProps {
  log: RunLog;
  question: Question;
  isOpen: boolean;
}

function AnswerCard({ log, question, isOpen }: AnswerCardProps) {
  const { answer } = question;
  const records = answer.records ?? [];
  const status = answerStatus(answer.status);
  const decided = log.decisions.find(
    (item) => item.stage === question.stage && item.seq > question.seq,
  )?.decision;
  const time = records.reduce((sum, record) => sum + seconds(record.duration), 0);
  const asked = records.reduce((sum, record) => sum + int(record.promptTokens), 0);
  const said = records.reduce((sum, record) => sum + int(record.replyTokens), 0);
  return (
    <details class="card" open={isOpen}>
      <summary>
        <h2 class="card-title">After stage {question.stage}</h2>
        <span class={`answer answer-${status === "usable" ? "usable" : "not"}`}>
          {status === "usable" ? "✓" : "✕"} {status}
        </span>
        <span>
          {question.isFallback ? "fallback " : ""}
          <Words text={records[0]?.mentor ?? log.spec.mentor?.name} />
        </span>
        <span class="muted">
          {counted(answer.proposals?.length ?? 0, "proposal")} · {span(time)}
          {asked + said > 0 && ` · ${count(asked)} + ${count(said)} tokens`}
          {question.lagSteps > 0 && ` · ${counted(question.lagSteps, "step")} late`}
        </span>
        {decided && (
          <span class={decided.restarted ? "verdict is-restart" : "verdict"}>
            {decided.restarted ? "▲ restart from " : "no restart"}
            {decided.restarted && <code>{decided.chosenId}</code>}
          </span>
        )}
      </summary>
      {answer.detail && (
        <p class="note">
          <Words text={answer.detail} />
        </p>
      )}
      {decided?.reason && (
        <p class="note">
          {policy(decided.policy)}: <Words text={decided.reason} />
        </p>
      )}
      <Proposals answer={answer} outcomes={decided?.outcomes ?? []} />
      {decided && <Incumbent branches={decided.branches ?? []} id={decided.incumbentId ?? ""} />}
      <Records answer={answer} />
    </details>
  );
}

function Proposals({ answer, outcomes }: { answer: Answer; outcomes: readonly Outcome[] }) {
  const proposals = answer.proposals ?? [];
  if (proposals.length === 0) return null;
  const found = new Map(outcomes.map((item) => [item.proposalId, item]));
  const of = (proposal: Proposal) => found.get(proposal.proposalId);
  const columns: ColumnOf<Proposal>[] = [
    { name: "proposal", cell: (row) => <code>{row.proposalId}</code> },
    { name: "words", class: "wide", cell: (row) => <Words text={proposalText(row)} /> },
    { name: "outcome", cell: (row) => <OutcomeText outcome={of(row)} /> },
    { name: "loss", isNumber: true, cell: (row) => figure(real(of(row)?.score?.loss)) },
    { name: "after the race", isNumber: true, cell: (row) => figure(real(of(row)?.probeLoss)) },
  ];
  if (proposals.some((row) => row.rationale))
    columns.push({ name: "why", class: "wide", cell: (row) => <Words text={row.rationale} /> });
  return (
    <Table
      label="Proposals"
      columns={columns}
      rows={proposals}
      id={(row) => row.proposalId ?? ""}
      rowClass={(row) => (of(row)?.status === "PROPOSAL_STATUS_APPLIED" ? "is-chosen" : "")}
    />
  );
}

/** The words of a proposal, or its numbers or settings. */
export function proposalText(proposal: Proposal): string {
  if (proposal.text) return proposal.text;
  if (proposal.settings) return JSON.stringify(proposal.settings);
  const values = proposal.values ?? [];
  const shown = values.slice(0, 8).map((value) => figure(real(value), 3));
  return shown.join(", ") + (values.length > 8 ? ", …" : "");
}

export function OutcomeText({ outcome: found }: { outcome: Outcome | undefined }) {
  if (found === undefined) return <span class="muted">–</span>;
  const status = outcome(found.status);
  return (
    <>
      <span class={status === "applied" ? "applied" : ""}>
        {status === "applied" && <span aria-hidden="true">▲ </span>}
        {status}
      </span>
      {found.detail && (
        <div class="sub">
          <Words text={found.detail} />
        </div>
      )}
    </>
  );
}

function Incumbent({ branches, id }: { branches: readonly Branch[]; id: string }) {
  const own = branches.find((branch) => branch.candidateId === id);
  if (own === undefined) return null;
  return (
    <p class="note">
      Incumbent <code>{id}</code>: {figure(real(own.lossBefore))}
      {own.lossAfter !== undefined && ` → ${figure(real(own.lossAfter))} after the race`}
    </p>
  );
}

function Records({ answer }: { answer: Answer }) {
  return (
    <>
      {(answer.records ?? []).map((record, at) => (
        <details class="record" key={at}>
          <summary>
            {record.question ? "Question and raw reply" : "How it was made"}
            <span class="muted">
              {[record.strategy, record.model, record.profile && `profile ${record.profile}`]
                .filter(Boolean)
                .join(" · ")}
              {record.seed !== undefined && ` · seed ${record.seed}`} ·{" "}
              {span(seconds(record.duration))}
              {int(record.replyTokens) > 0 && ` · ${counted(int(record.replyTokens), "token")}`}
            </span>
          </summary>
          {record.question && (
            <>
              <h3>Question</h3>
              <pre class="said" dir="auto" tabIndex={0}>
                {record.question}
              </pre>
            </>
          )}
          {(record.rawReplies ?? []).map((reply, index) => (
            <div key={index}>
              <h3>Raw reply{(record.rawReplies?.length ?? 0) > 1 ? ` ${index + 1}` : ""}</h3>
              <pre class="said" dir="auto" tabIndex={0}>
                {reply}
              </pre>
            </div>
          ))}
        </details>
      ))}
    </>
  );
}
