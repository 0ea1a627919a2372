import { describe, expect, test } from "vitest";
import { kin, lineage, MOST_PROPOSALS, MOST_STAGES, proposalRows } from "../src/data/lineage";
import { spots, stepped } from "../src/data/lineage_layout";
import type { Proposal, RunEvent } from "../src/data/messages";
import { RunLog } from "../src/data/run_log";

function folded(events: readonly RunEvent[]): RunLog {
  const log = new RunLog("r");
  events.forEach((event, at) => log.add({ seq: String(at + 1), attempt: "1", ...event }));
  return log;
}

const began = (stage: number): RunEvent => ({ stageStarted: { stage: String(stage) } });

function scored(candidateId: string, stage: number, source: string, parents: string[] = []) {
  const candidate = { candidateId, stage: String(stage), source, parents, score: { loss: 1 } };
  return { candidatesScored: { candidates: [candidate] } };
}

const received = (stage: number, proposals: Proposal[]): RunEvent => ({
  proposalsReceived: { stage: String(stage), answer: { proposals } },
});

function decided(stage: number, chosenId: string, incumbentId: string, applied: string): RunEvent {
  const status = "PROPOSAL_STATUS_APPLIED";
  const outcomes = [{ proposalId: applied, status, score: { loss: 0.5 } }];
  const restarted = chosenId === applied;
  return { restartDecided: { stage: String(stage), restarted, chosenId, incumbentId, outcomes } };
}

const LOG = folded([
  began(0),
  scored("s0/step5", 0, "CANDIDATE_SOURCE_SNAPSHOT"),
  scored("s0/step5/words", 0, "CANDIDATE_SOURCE_PROJECTION", ["s0/step5"]),
  scored("s0/step2", 0, "CANDIDATE_SOURCE_SNAPSHOT"),
  received(0, [
    { proposalId: "s0/p0", text: "kind", parents: ["s0/step5/words"] },
    { proposalId: "s0/p1" },
  ]),
  decided(0, "s0/p0", "s0/step5", "s0/p0"),
  began(1),
]);

const edgesOf = (log: RunLog) => lineage(log).edges.map(({ from, to, kind }) => [from, to, kind]);

describe("a lineage", () => {
  test("has what proposals and stages came of, and no more", () => {
    expect(lineage(LOG).nodes.map(({ id, kind }) => `${id} ${kind}`)).toEqual([
      "stage 0 stage",
      "stage 1 stage",
      "s0/p0 proposal",
      "s0/step5/words projection",
      "s0/step5 snapshot",
      "s0/p1 proposal",
    ]);
    expect(edgesOf(LOG)).toEqual([
      ["stage 0", "s0/step5", "steps"],
      ["s0/step5", "s0/step5/words", "words"],
      ["s0/step5/words", "s0/p0", "parent"],
      ["s0/step5", "s0/p1", "parent"], // of no parents: of the incumbent
      ["s0/p0", "stage 1", "start"],
    ]);
  });

  test("says what became of each proposal", () => {
    const [first, second] = proposalRows(LOG);
    expect(first).toMatchObject({ outcome: "applied", loss: 0.5, begun: 1, stage: 0 });
    expect(second).toMatchObject({ outcome: "", origins: ["s0/step5"], begun: undefined });
  });

  test("follows what a node came of, and what came of it", () => {
    expect(kin(lineage(LOG), "s0/p0")).toEqual(
      new Set(["s0/p0", "s0/step5/words", "s0/step5", "stage 0", "stage 1"]),
    );
    expect(kin(lineage(LOG), "s0/p1").has("stage 1")).toBe(false);
  });

  test("stands in columns, and is read by arrow keys", () => {
    const graph = lineage(LOG);
    const places = spots(graph);
    const at = (id: string) => graph.nodes.findIndex((node) => node.id === id);
    const place = (id: string) => places[at(id)];
    expect(place("stage 0")).toEqual({ column: 0, row: 0 });
    expect(place("s0/step5")!.column).toBe(1);
    expect(place("s0/p0")).toEqual({ column: 3, row: 0 });
    expect(place("stage 1")!.column).toBe(4);
    expect(stepped("ArrowRight", at("stage 0"), places)).toBe(at("s0/step5"));
    expect(stepped("ArrowDown", at("s0/step5/words"), places)).toBe(at("s0/p1"));
    expect(stepped("ArrowLeft", at("stage 0"), places)).toBe(at("stage 0"));
    expect(stepped("End", at("stage 0"), places)).toBe(at("stage 1"));
    expect(stepped("x", 0, places)).toBeUndefined();
  });

  test("bears logs that are odd", () => {
    const cycle = folded([
      began(0),
      received(0, [
        { proposalId: "a", parents: ["b", "a", "unknown"] },
        { proposalId: "b", parents: ["a"] },
        { text: "without an id" },
      ]),
    ]);
    expect(edgesOf(cycle)).toEqual([
      ["b", "a", "parent"],
      ["a", "b", "parent"],
    ]);
    expect(spots(lineage(cycle))).toHaveLength(3);
    expect(kin(lineage(cycle), "a").size).toBe(2);
    expect(lineage(folded([])).nodes).toEqual([]);
  });

  test("of a long run has its latest stages and its best proposals", () => {
    const events: RunEvent[] = [];
    for (let stage = 0; stage < 50; stage++) {
      const proposals = Array.from({ length: 20 }, (_, at) => ({ proposalId: `s${stage}/p${at}` }));
      const chosen = `s${stage}/p19`;
      events.push(began(stage), received(stage, proposals), decided(stage, chosen, "", chosen));
    }
    const found = lineage(folded(events));
    const isStage = found.nodes.filter(({ kind }) => kind === "stage");
    expect(isStage.map(({ stage }) => stage)).toEqual(
      Array.from({ length: MOST_STAGES }, (_, at) => at + 10),
    );
    expect(found.nodes).toHaveLength(MOST_STAGES * (1 + MOST_PROPOSALS));
    expect(found.edges.filter(({ kind }) => kind === "start")).toHaveLength(MOST_STAGES - 1);
    expect([found.hiddenStages, found.hiddenProposals]).toEqual([10, MOST_STAGES * 8]);
  });
});
