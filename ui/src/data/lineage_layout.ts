/** Where the nodes of a lineage stand: in columns, each to the right of what it came of. */

import type { Lineage } from "./lineage";

export interface Spot {
  column: number;
  row: number;
}

/** A place for each node, in the order of the nodes. */
export function spots(graph: Lineage): Spot[] {
  const columns = columnsOf(graph);
  const before = new Map(graph.nodes.map(({ id }) => [id, [] as string[]]));
  for (const { from, to } of graph.edges) before.get(to)!.push(from);
  const rows = new Map<string, number>();
  const byColumn = Map.groupBy(graph.nodes, ({ id }) => columns.get(id)!);
  for (const column of [...byColumn.keys()].sort((one, other) => one - other)) {
    const wish = (id: string) => {
      const found = before.get(id)!.flatMap((from) => rows.get(from) ?? []);
      return found.length > 0 ? found.reduce((sum, row) => sum + row, 0) / found.length : 0;
    };
    // What went on stands first, so that the line of stages is straight.
    const rank = (id: string) => (goesOn(graph, id) ? -1 : wish(id));
    byColumn
      .get(column)!
      .map(({ id }, at) => ({ id, at, rank: rank(id) }))
      .sort((one, other) => one.rank - other.rank || one.at - other.at)
      .forEach(({ id }, row) => rows.set(id, row));
  }
  return graph.nodes.map(({ id }) => ({ column: columns.get(id)!, row: rows.get(id)! }));
}

function goesOn({ edges }: Lineage, id: string): boolean {
  return edges.some((edge) => edge.from === id && edge.kind === "start");
}

/** Columns from 0: one more than the last of those that a node came of. */
function columnsOf({ nodes, edges }: Lineage): Map<string, number> {
  const after = new Map(nodes.map(({ id }) => [id, [] as string[]]));
  const waiting = new Map(nodes.map(({ id }) => [id, 0]));
  for (const { from, to } of edges) {
    after.get(from)!.push(to);
    waiting.set(to, waiting.get(to)! + 1);
  }
  const columns = new Map(nodes.map(({ id }) => [id, 0]));
  const free = nodes.filter(({ id }) => waiting.get(id) === 0).map(({ id }) => id);
  // A log of a stranger may have a cycle; its nodes stay where they are.
  for (let id = free.shift(); id !== undefined; id = free.shift()) {
    for (const to of after.get(id)!) {
      columns.set(to, Math.max(columns.get(to)!, columns.get(id)! + 1));
      waiting.set(to, waiting.get(to)! - 1);
      if (waiting.get(to) === 0) free.push(to);
    }
  }
  return columns;
}

/** The index of the node that an arrow key leads to; undefined for a key that moves nothing. */
export function stepped(key: string, at: number, places: readonly Spot[]): number | undefined {
  const here = places[at];
  if (here === undefined) return undefined;
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key];
  const along = { ArrowUp: -1, ArrowDown: 1 }[key];
  const nearest = (column: number) => {
    const rows = places.flatMap((spot, index) => (spot.column === column ? index : []));
    const gap = (index: number) => Math.abs(places[index]!.row - here.row);
    return rows.sort((one, other) => gap(one) - gap(other))[0];
  };
  if (across !== undefined) return nearest(here.column + across) ?? at;
  if (along !== undefined) {
    const row = here.row + along;
    const found = places.findIndex((spot) => spot.column === here.column && spot.row === row);
    return found < 0 ? at : found;
  }
  if (key === "Home") return nearest(Math.min(...places.map(({ column }) => column)));
  if (key === "End") return nearest(Math.max(...places.map(({ column }) => column)));
  return undefined;
}
