/** Pictures as SVG texts, for files. */

/** Elements of SVG, and the room that they take in pixels. */
export interface Picture {
  width: number;
  height: number;
  content: string;
}

/** Colours of what is around a picture, as SVG has them. */
export interface Inks {
  surface: string;
  ink: string;
  muted: string;
  grid: string;
  accent: string;
}

type Value = string | number | undefined;

/** An element. Attributes that are undefined are left out; its children are SVG texts. */
export function element(
  name: string,
  attributes: { [name: string]: Value },
  ...children: readonly string[]
): string {
  const given = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escaped(typeof value === "number" ? short(value) : value!)}"`)
    .join("");
  const inside = children.join("");
  return inside ? `<${name}${given}>${inside}</${name}>` : `<${name}${given}/>`;
}

/** A text at a place. */
export function label(text: string, attributes: { [name: string]: Value }): string {
  return element("text", attributes, escaped(text));
}

/** A text as content or attribute; what XML cannot hold is left out. */
export function escaped(text: string): string {
  const names: { [letter: string]: string } = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
    .replace(/[&<>"]/g, (letter) => names[letter]!);
}

/** A place in a picture, without digits that nobody sees. */
export function short(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** A colour as browsers compute it, for programs that know `#rrggbb` alone, and its opacity. */
export function paint(computed: string): { colour: string; opacity: number } {
  const parts = /^rgba?\(([^)]*)\)$/.exec(computed)?.[1]?.split(/[\s,/]+/).map(Number);
  if (parts === undefined) return { colour: computed, opacity: 1 };
  const [red = 0, green = 0, blue = 0, opacity = 1] = parts;
  const hex = [red, green, blue].map((part) => Math.round(part).toString(16).padStart(2, "0"));
  return { colour: opacity === 0 ? "none" : `#${hex.join("")}`, opacity };
}

const MARGIN = 16;
const LINE = 18;
const LETTER = 6.6; // width of a usual letter of 12 pixels

/** A key to a picture: marks and texts in a row. */
export type KeyPart = string | Picture;

/** A part of a picture, and the names of its axes: at the left, and at the right. */
export interface Part extends Picture {
  above: readonly string[];
  below: readonly string[];
}

/** A whole file: title, keys, and parts below each other. */
export function file(
  title: string,
  keys: readonly (readonly KeyPart[])[],
  parts: readonly Part[],
  inks: Inks,
): string {
  const inner = Math.max(320, ...parts.map(({ width }) => width));
  let y = MARGIN + 14;
  const rows = [
    label(title, { x: MARGIN, y, fill: inks.ink, "font-size": 14, "font-weight": 600 }),
  ];
  const [legend, height] = keyRows(keys, inner);
  if (height > 0) rows.push(element("g", { transform: `translate(${MARGIN} ${y + 8})` }, legend));
  y += height + 12;
  for (const part of parts) {
    const { width, height, content, above, below } = part;
    rows.push(names(above, y + 12, inner));
    y += above.some(Boolean) ? LINE : 0;
    rows.push(element("svg", { x: MARGIN, y, width, height }, content));
    y += height;
    rows.push(names(below, y + 12, inner));
    y += (below.some(Boolean) ? LINE : 0) + 10;
  }
  const size = { width: inner + 2 * MARGIN, height: y + MARGIN - 10 };
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      ...size,
      viewBox: `0 0 ${short(size.width)} ${short(size.height)}`,
      "font-family": "system-ui, sans-serif",
      "font-size": 12,
      fill: inks.muted,
    },
    element("title", {}, escaped(title)),
    element("rect", { ...size, fill: inks.surface }),
    ...rows,
  )}\n`;
}

function names([left = "", right = ""]: readonly string[], y: number, width: number): string {
  return [
    left && label(left, { x: MARGIN, y }),
    right && label(right, { x: MARGIN + width, y, "text-anchor": "end" }),
  ].join("");
}

/** Keys in as many rows as they need, and the height of these. */
function keyRows(keys: readonly (readonly KeyPart[])[], width: number): [string, number] {
  let [x, y] = [0, 0];
  const drawn = keys.map((parts) => {
    const taken = parts.reduce((sum, part) => sum + widthOf(part) + 5, 0);
    if (x > 0 && x + taken > width) [x, y] = [0, y + LINE];
    const own = parts.map((part) => {
      const from = x;
      x += widthOf(part) + 5;
      if (typeof part === "string") return label(part, { x: from, y: y + 12 });
      const { content, ...size } = part;
      return element("svg", { x: from, y: y + 8 - part.height / 2, ...size }, content);
    });
    x += 12;
    return own.join("");
  });
  return [drawn.join(""), keys.length > 0 ? y + LINE : 0];
}

const widthOf = (part: KeyPart) =>
  typeof part === "string" ? [...part].length * LETTER : part.width;
