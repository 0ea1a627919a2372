/** What came of what: stages, candidates and proposals, as a graph and as a table. */

import { useMemo, useRef, useState } from "preact/hooks";
import { fitted } from "../../data/axis";
import type { Key } from "../../data/chart";
import { lineageRows } from "../../data/chart_files";
import { kin, lineage, type Lineage, type Node, proposalRows } from "../../data/lineage";
import { type Spot, spots, stepped } from "../../data/lineage_layout";
import { counted, figure } from "../../data/numbers";
import type { RunLog } from "../../data/run_log";
import { Empty, Section, Words } from "../../parts/basics";
import { Spoken } from "../../parts/drawing";
import { Frame } from "../../parts/frame";
import { ProposalTable } from "./proposal_table";

const COLUMN = 128;
const ROW = 30;
const LEFT = 14;
const TOP = 20;
const KEYS: Key[] = [
  { name: "start of a stage", sort: "bar", colour: "var(--ink)" },
  { name: "snapshot", sort: "disc", colour: "var(--snapshot)" },
  { name: "in words", sort: "ring", colour: "var(--projection)" },
  { name: "proposal", sort: "triangle", colour: "var(--proposal)" },
  { name: "the stage begins here", sort: "line", colour: "var(--restart)" },
];

export function LineageTab({ log }: { log: RunLog }) {
  const graph = useMemo(() => lineage(log), [log, log.lastSeq]);
  const rows = useMemo(() => proposalRows(log), [log, log.lastSeq]);
  if (graph.nodes.length === 0) return <Empty>No stage has begun so far.</Empty>;
  return (
    <Section title="What came of what">
      <Frame
        name="What came of what"
        keys={KEYS}
        table={() => <ProposalTable rows={rows} />}
        csv={() => lineageRows(graph)}
      >
        <Graph graph={graph} />
      </Frame>
      <p class="note">
        From left to right. A proposal without parents stands behind the incumbent, whose vectors it
        keeps where it has no words of its own. {hidden(graph)}
      </p>
    </Section>
  );
}

function hidden({ hiddenStages, hiddenProposals }: Lineage): string {
  const left = [
    ...(hiddenStages > 0 ? [counted(hiddenStages, "earlier stage")] : []),
    ...(hiddenProposals > 0 ? [counted(hiddenProposals, "proposal")] : []),
  ];
  return left.length > 0 ? `Not drawn: ${left.join(" and ")}; the table has all proposals.` : "";
}

function Graph({ graph }: { graph: Lineage }) {
  const [chosen, setChosen] = useState("");
  const [isKeyed, setKeyed] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const places = useMemo(() => spots(graph), [graph]);
  const found = graph.nodes.findIndex(({ id }) => id === chosen);
  const at = found < 0 ? 0 : found;
  const related = useMemo(
    () => (found < 0 ? undefined : kin(graph, chosen)),
    [graph, chosen, found],
  );
  const most = (of: (spot: Spot) => number) => places.reduce((top, spot) => Math.max(top, of(spot)), 0);
  const width = LEFT + (1 + most(({ column }) => column)) * COLUMN;
  const height = TOP + (1 + most(({ row }) => row)) * ROW;
  const choose = (index: number) => {
    setChosen(graph.nodes[index]!.id);
    const x = placeOf(places[index]!).x;
    const host = place.current!;
    if (x < host.scrollLeft + LEFT || x > host.scrollLeft + host.clientWidth - COLUMN)
      host.scrollLeft = x - host.clientWidth / 2;
  };
  const move = (event: KeyboardEvent) => {
    if (event.key === "Escape") setChosen("");
    setKeyed(event.key !== "Escape");
    const to = stepped(event.key, at, places);
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
  };
  return (
    <>
      <div class="chart-axis lineage-read">
        <NodeText node={graph.nodes[at]!} />
      </div>
      <div
        ref={place}
        class="drawing lineage"
        role="img"
        tabIndex={0}
        aria-label={`${counted(graph.nodes.length, "stage, candidate or proposal", "stages, candidates and proposals")} and what they came of. The arrow keys read them; the button “Table” lists the proposals.`}
        onKeyDown={move}
        onBlur={() => setKeyed(false)}
      >
        <svg width={width} height={height}>
          <Edges graph={graph} places={places} related={related} />
          {graph.nodes.map((node, index) => (
            <Mark
              key={node.id}
              node={node}
              spot={places[index]!}
              isFaint={related !== undefined && !related.has(node.id)}
              isCurrent={index === found}
              onChoose={() => choose(index)}
            />
          ))}
        </svg>
      </div>
      <Spoken>{isKeyed && <NodeText node={graph.nodes[at]!} />}</Spoken>
    </>
  );
}

const placeOf = ({ column, row }: Spot) => ({ x: LEFT + column * COLUMN, y: TOP + row * ROW });

interface EdgesProps {
  graph: Lineage;
  places: readonly Spot[];
  /** What is not among them is faint; undefined: nothing is. */
  related: ReadonlySet<string> | undefined;
}

function Edges({ graph, places, related }: EdgesProps) {
  const index = new Map(graph.nodes.map(({ id }, at) => [id, at]));
  const kinds = new Map(graph.nodes.map(({ id, kind }) => [id, kind]));
  return (
    <>
      {graph.edges.map(({ from, to, kind }) => {
        const start = placeOf(places[index.get(from)!]!);
        const end = placeOf(places[index.get(to)!]!);
        const bend = (start.x + end.x) / 2;
        const isStart = kind === "start";
        const isRestart = isStart && kinds.get(from) === "proposal";
        const isFaint = related && !(related.has(from) && related.has(to));
        return (
          <path
            key={`${from} ${to}`}
            d={`M${start.x + 7} ${start.y}C${bend} ${start.y} ${bend} ${end.y} ${end.x - 7} ${end.y}`}
            class={`lineage-edge ${isRestart ? "is-restart" : isStart ? "is-start" : ""} ${isFaint ? "is-faint" : ""}`}
          />
        );
      })}
    </>
  );
}

interface MarkProps {
  node: Node;
  spot: Spot;
  isFaint: boolean;
  isCurrent: boolean;
  onChoose: () => void;
}

function Mark({ node, spot, isFaint, isCurrent, onChoose }: MarkProps) {
  const { x, y } = placeOf(spot);
  const label = node.kind === "stage" ? node.id : node.id.replace(/^s\d+\//, "");
  return (
    <g
      class={`lineage-node ${isFaint ? "is-faint" : ""}`}
      transform={`translate(${x} ${y})`}
      onPointerEnter={onChoose}
      onClick={onChoose}
    >
      <rect x={-10} y={-14} width={COLUMN - 12} height={ROW - 4} class="row-mark" />
      {isCurrent && <circle r={9.5} class="path-current" />}
      {node.kind === "stage" && <path d="M0 -8V8" stroke="var(--ink)" stroke-width="4" />}
      {node.kind === "snapshot" && <circle r={4.5} fill="var(--snapshot)" />}
      {node.kind === "projection" && (
        <circle r={4.2} fill="none" stroke="var(--projection)" stroke-width="1.8" />
      )}
      {node.kind === "proposal" && <path d="M0 -6L5.6 4.6H-5.6Z" fill="var(--proposal)" />}
      <text x={11} y={4} class={node.kind === "stage" ? "row-label is-pooled" : "row-label"}>
        {fitted(label, COLUMN - 34)}
      </text>
    </g>
  );
}

/** A node in one line. */
function NodeText({ node }: { node: Node }) {
  const figures = [
    node.kind === "stage" ? `${node.id} began` : `${node.id}, ${KINDS[node.kind]}`,
    ...(node.loss === undefined ? [] : [`loss ${figure(node.loss)}`]),
    ...(node.outcome ? [node.outcome] : []),
  ];
  return (
    <span>
      {figures.join(" · ")}
      {node.words && (
        <>
          {" · "}
          <Words text={fitted(node.words, 1_300)} />
        </>
      )}
    </span>
  );
}

const KINDS = { stage: "", snapshot: "snapshot", projection: "in words", proposal: "proposal" };
