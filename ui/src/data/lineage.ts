/** What came of what in a run: stages, candidates and proposals as a graph without cycles. */

import { real } from "./numbers";
import type { Proposal } from "./messages";
import type { RunLog } from "./run_log";
import { outcome, source } from "./words";

/** Stages that are drawn: the latest. */
export const MOST_STAGES = 40;
/** Proposals of an answer that are drawn: those that came furthest. */
export const MOST_PROPOSALS = 12;
/** Parents of one that are drawn. */
const MOST_PARENTS = 6;

const KINDS = ["snapshot", "projection", "proposal"] as const;
export type NodeKind = "stage" | (typeof KINDS)[number];

export interface Node {
  id: string;
  kind: NodeKind;
  /** The stage that it is, or in which it was scored or proposed. */
  stage: number;
  words: string;
  /** On selection; of a stage undefined. */
  loss: number | undefined;
  /** What became of a proposal; empty: nothing so far, or no proposal. */
  outcome: string;
}

/**
 * `steps`: gradient steps lead from a stage's start to the candidate. `words`: its nearest words.
 * `parent`: the proposal is derived from it, or keeps its vectors. `start`: the stage begins there.
 */
export type EdgeKind = "steps" | "words" | "parent" | "start";

export interface Edge {
  from: string;
  to: string;
  kind: EdgeKind;
}

export interface Lineage {
  nodes: Node[];
  edges: Edge[];
  /** Stages and proposals that are not drawn. */
  hiddenStages: number;
  hiddenProposals: number;
}

/** A proposal with what it is derived from and what became of it. */
export interface ProposalRow {
  proposal: Proposal;
  stage: number;
  /** Ids of its parents, of what it edits, or of the incumbent. */
  origins: string[];
  outcome: string;
  loss: number | undefined;
  /** The stage that began with it. */
  begun: number | undefined;
}

/** All proposals, in the order in which they came. */
export function proposalRows(log: RunLog): ProposalRow[] {
  const outcomes = new Map(
    log.decisions.flatMap(({ decision }) =>
      (decision.outcomes ?? []).map((item) => [item.proposalId ?? "", item] as const),
    ),
  );
  const begun = new Map<string, number>();
  for (const { decision, seq } of log.decisions) {
    const next = log.stages.find((mark) => mark.seq > seq);
    if (decision.restarted && next) begun.set(decision.chosenId ?? "", next.stage);
  }
  return log.questions.flatMap(({ answer, stage, seq }) => {
    const decided = log.decisions.find((item) => item.stage === stage && item.seq > seq);
    return (answer.proposals ?? []).map((proposal) => {
      const id = proposal.proposalId ?? "";
      const found = outcomes.get(id);
      const derived = [...(proposal.parents ?? []), proposal.baseId ?? ""].filter(Boolean);
      const fallback = [decided?.decision.incumbentId ?? ""].filter(Boolean);
      return {
        proposal,
        stage,
        origins: derived.length > 0 ? [...new Set(derived)] : fallback,
        outcome: outcome(found?.status),
        loss: real(found?.score?.loss),
        begun: begun.get(id),
      };
    });
  });
}

/** The graph of the latest stages; only of candidates that proposals or stages came of. */
export function lineage(log: RunLog): Lineage {
  const stages = log.stages.slice(-MOST_STAGES);
  const first = stages.length < log.stages.length ? (stages[0]?.seq ?? 0) : 0;
  const rows = proposalRows(log).filter(({ stage }) => first === 0 || stage >= stages[0]!.stage);
  const drawn = [...Map.groupBy(rows, ({ stage }) => stage).values()].flatMap((all) =>
    [...all].sort(byProgress).slice(0, MOST_PROPOSALS),
  );
  const graph = new Graph(log);
  for (const { stage, text } of stages) graph.addStage(stage, text);
  for (const row of drawn) graph.addProposal(row);
  for (const { decision, seq } of log.decisions) {
    const next = log.stages.find((mark) => mark.seq > seq);
    if (seq < first) continue;
    graph.addCandidate(decision.incumbentId ?? "");
    if (next) graph.addStart(decision.chosenId ?? "", next.stage);
  }
  graph.addCandidate(log.result?.returned?.candidateId ?? log.best?.candidate.candidateId ?? "");
  return {
    nodes: [...graph.nodes.values()],
    edges: graph.edges.filter(({ from, to }) => graph.nodes.has(from) && graph.nodes.has(to)),
    hiddenStages: log.stages.length - stages.length,
    hiddenProposals: rows.length - drawn.length,
  };
}

export const stageId = (stage: number) => `stage ${stage}`;

class Graph {
  readonly nodes = new Map<string, Node>();
  readonly edges: Edge[] = [];
  private readonly pool;

  constructor(log: RunLog) {
    this.pool = new Map(log.candidates.map((item) => [item.candidate.candidateId ?? "", item]));
  }

  addStage(stage: number, words: string): void {
    const id = stageId(stage);
    this.nodes.set(id, { id, kind: "stage", stage, words, loss: undefined, outcome: "" });
  }

  addProposal(row: ProposalRow): void {
    const { proposal, stage, loss, outcome: became } = row;
    const id = proposal.proposalId ?? "";
    const words = proposal.text ?? "";
    if (id === "" || this.nodes.get(id)?.kind === "proposal") return;
    this.nodes.set(id, { id, kind: "proposal", stage, words, loss, outcome: became });
    this.addOrigins(id, row.origins, "parent");
  }

  /** A candidate of the pool, and what it came of; one that is unknown is left out. */
  addCandidate(id: string): void {
    const found = this.pool.get(id);
    if (found === undefined || this.nodes.has(id)) return;
    const { candidate, stage, loss } = found;
    const said = source(candidate.source);
    const kind = KINDS.find((known) => known === said) ?? "snapshot";
    const words = candidate.text ?? "";
    this.nodes.set(id, { id, kind, stage, words, loss, outcome: "" });
    if (kind === "proposal") this.addOrigins(id, candidate.parents ?? [], "parent");
    else if (kind === "projection" && candidate.parents?.length)
      this.addOrigins(id, candidate.parents, "words");
    else this.edges.push({ from: stageId(stage), to: id, kind: "steps" });
  }

  addStart(from: string, stage: number): void {
    this.addCandidate(from);
    this.edges.push({ from, to: stageId(stage), kind: "start" });
  }

  private addOrigins(id: string, origins: readonly string[], kind: EdgeKind): void {
    for (const from of origins.slice(0, MOST_PARENTS)) {
      if (from === id) continue;
      this.addCandidate(from);
      this.edges.push({ from, to: id, kind });
    }
  }
}

/** Those that began a stage first, then by loss. */
function byProgress(one: ProposalRow, other: ProposalRow): number {
  const rank = ({ begun, loss }: ProposalRow) =>
    begun !== undefined ? -Infinity : loss === undefined || Number.isNaN(loss) ? Infinity : loss;
  const [a, b] = [rank(one), rank(other)];
  return a === b ? 0 : a - b;
}

/** All that a node came of, and all that came of it, itself included. */
export function kin({ edges }: Lineage, id: string): Set<string> {
  const found = new Set([id]);
  const follow = (end: "from" | "to", start: "from" | "to") => {
    const waiting = [id];
    const seen = new Set(waiting);
    while (waiting.length > 0) {
      const at = waiting.pop();
      for (const edge of edges) {
        if (edge[start] !== at || seen.has(edge[end])) continue;
        seen.add(edge[end]);
        found.add(edge[end]);
        waiting.push(edge[end]);
      }
    }
  };
  follow("from", "to");
  follow("to", "from");
  return found;
}
