/** Tables whose cells are drawn, as SVG pictures. */

import { fitted } from "./axis";
import type { LabelScore } from "./messages";
import { count, int, percent } from "./numbers";
import type { BudgetUse } from "./report";
import { element, type Inks, label, type Picture } from "./svg";

const ROW = 28;
const LETTER = 6.8;
const MOST = 180; // width of a column

interface Drawn {
  text: string;
  /** From 0 to 1: how much of the cell is coloured, or how deep; undefined: nothing is. */
  share?: number | undefined;
  isFramed?: boolean;
}

interface Row {
  name: string;
  cells: readonly Drawn[];
}

/** What is predicted for the rows of each label. */
export function matrixPicture(scores: readonly LabelScore[], inks: Inks): Picture {
  const rows = scores.map(({ label: name, rows, guesses }, row) => ({
    name: name ?? "",
    cells: (guesses ?? []).map((guess, at) => {
      const share = int(rows) > 0 ? int(guess) / int(rows) : 0;
      const text = int(guess) > 0 ? `${count(int(guess))} ${percent(share)}` : count(int(guess));
      return { text, share, isFramed: at === row };
    }),
  }));
  const names = scores.map(({ label: name }) => name ?? "");
  return cells("label", names, rows, inks, (share, at) =>
    element("rect", { ...at, fill: inks.accent, "fill-opacity": 0.3 * share }),
  );
}

/** What the arms spent, and of which limits. */
export function budgetPicture(uses: readonly BudgetUse[], inks: Inks): Picture {
  const { arms, resources, of } = byArm(uses);
  const rows = arms.map((arm) => ({
    name: arm,
    cells: resources.map((resource) => {
      const use = of(arm, resource);
      const share = use && use.limit > 0 ? Math.min(1, use.used / use.limit) : undefined;
      return { text: use?.text ?? "–", share };
    }),
  }));
  return cells("arm", resources, rows, inks, (share, { x, y, width, height }) => {
    const bar = { x: x + 6, y: y + height - 7, height: 4, rx: 2 };
    return (
      element("rect", { ...bar, width: width - 12, fill: inks.grid }) +
      element("rect", { ...bar, width: (width - 12) * share, fill: inks.accent })
    );
  });
}

/** Arms and resources of budgets, in their order, and what of a resource an arm has used. */
export function byArm(uses: readonly BudgetUse[]) {
  const arms = [...new Set(uses.map(({ arm }) => arm))];
  const resources = [...new Set(uses.map(({ resource }) => resource))];
  const of = (arm: string, resource: string) =>
    uses.find((use) => use.arm === arm && use.resource === resource);
  return { arms, resources, of };
}

interface Place {
  x: number;
  y: number;
  width: number;
  height: number;
}

function cells(
  corner: string,
  names: readonly string[],
  rows: readonly Row[],
  inks: Inks,
  ground: (share: number, at: Place) => string,
): Picture {
  const first = room([corner, ...rows.map(({ name }) => name)]);
  const widths = names.map((name, at) => room([name, ...rows.map((row) => row.cells[at]!.text)]));
  const lefts = widths.map((_, at) => widths.slice(0, at).reduce((sum, width) => sum + width, first));
  const text = (said: string, x: number, row: number, fill: string, width: number) =>
    label(fitted(said, width - 12, LETTER), { x: x + 6, y: row * ROW + 17, fill });
  const heads = [corner, ...names].map((name, at) =>
    text(name, at === 0 ? 0 : lefts[at - 1]!, 0, inks.muted, at === 0 ? first : widths[at - 1]!),
  );
  const drawn = rows.map(({ name, cells: own }, row) => {
    const y = (row + 1) * ROW;
    const inside = own.map(({ text: said, share, isFramed }, at) => {
      const place = { x: lefts[at]!, y, width: widths[at]!, height: ROW };
      const frame = { x: place.x + 1, y: y + 1, width: place.width - 2, height: ROW - 2 };
      return [
        share === undefined ? "" : ground(share, place),
        isFramed
          ? element("rect", { ...frame, fill: "none", stroke: inks.accent, "stroke-width": 2 })
          : "",
        text(said, place.x, row + 1, inks.ink, place.width),
      ].join("");
    });
    return text(name, 0, row + 1, inks.ink, first) + inside.join("");
  });
  const width = widths.reduce((sum, one) => sum + one, first);
  return { width, height: (rows.length + 1) * ROW, content: [...heads, ...drawn].join("") };
}

/** The width of a column of texts. */
function room(texts: readonly string[]): number {
  const most = texts.reduce((top, text) => Math.max(top, [...text].length), 0);
  return Math.min(MOST, Math.max(56, 14 + LETTER * most));
}
