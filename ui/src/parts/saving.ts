/** Saves charts as files: what is drawn as SVG, with the colours that the reader sees. */

import {
  element,
  escaped,
  file,
  type Inks,
  type KeyPart,
  paint,
  type Part,
  type Picture,
} from "../data/svg";
import { colour } from "./scheme";

const TYPES = { csv: "text/csv", svg: "image/svg+xml" };

/** Letters of a file's name: in any writing fewer bytes than file systems take. */
const MOST_LETTERS = 60;

/** Has the browser save a text as a file, called by a title; of a long one the end, which says more. */
export function save(title: string, kind: keyof typeof TYPES, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type: TYPES[kind] }));
  const link = document.createElement("a");
  const name = [...title.replace(/[\\/:*?"<>|\p{Cc}]+/gu, "-")].slice(-MOST_LETTERS).join("");
  link.href = address;
  link.download = `${name}.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function inks(): Inks {
  return {
    surface: colour("--surface"),
    ink: colour("--ink"),
    muted: colour("--muted"),
    grid: colour("--grid"),
    accent: colour("--accent"),
  };
}

/**
 * The chart in a frame as an SVG file: its keys, and all its drawings with the names of their axes.
 *
 * @param own Of a chart that is not drawn as SVG: its picture.
 */
export function pictureOf(frame: Element, title: string, own?: (inks: Inks) => Picture): string {
  const around = inks();
  const keys = [...frame.querySelectorAll(".keys > li, .losses")].map(keyParts);
  const places = [...frame.querySelectorAll(".drawing, .chart-canvas")];
  const parts = places.flatMap((place): Part | [] => {
    const svg = place.querySelector("svg");
    const picture = own?.(around) ?? (svg && drawn(svg));
    return picture ? { ...picture, ...namesAround(place) } : [];
  });
  if (places.length === 0 && own) parts.push({ ...own(around), above: [], below: [] });
  return file(title, keys, parts, around);
}

/** The names of axes above and below a drawing, at the left and at the right. */
function namesAround(place: Element): Pick<Part, "above" | "below"> {
  const names = (beside: Element | null) =>
    [...(beside?.children ?? [])].map((child) =>
      child.matches(".axis-name") ? child.textContent : "",
    );
  return { above: names(place.previousElementSibling), below: names(place.nextElementSibling) };
}

/** Marks and texts of a key, without its buttons. */
function keyParts(key: Element): KeyPart[] {
  return [...key.childNodes].flatMap((child) => {
    if (child instanceof SVGSVGElement) return drawn(child);
    if (child instanceof HTMLButtonElement) return [];
    return child.textContent?.trim() || [];
  });
}

function drawn(svg: SVGSVGElement): Picture {
  const { width, height } = svg;
  const look = getComputedStyle(svg);
  const content = [...svg.childNodes].map((child) => copied(child, look)).join("");
  const own = Object.fromEntries(looksOf(look, undefined));
  return {
    width: width.baseVal.value,
    height: height.baseVal.value,
    content: element("g", own, content),
  };
}

/** What shows where the reader is, not what the chart says. */
const NOT_SAVED = ".row-mark, .path-current";

const INHERITED = [
  "fill",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "font-family",
  "font-size",
  "font-weight",
  "text-anchor",
  "paint-order",
];

function copied(node: Node, around: CSSStyleDeclaration): string {
  if (node instanceof Text) return escaped(node.data);
  if (!(node instanceof SVGElement) || node.matches(NOT_SAVED)) return "";
  const look = getComputedStyle(node);
  const given = [...node.attributes]
    .filter(({ name }) => name !== "class" && !INHERITED.includes(name) && name !== "opacity")
    .map(({ name, value }) => [name, value] as const);
  const children = [...node.childNodes].map((child) => copied(child, look));
  const { opacity } = look;
  return element(
    node.tagName,
    {
      ...Object.fromEntries([...given, ...looksOf(look, around)]),
      opacity: opacity === "1" ? undefined : opacity,
    },
    ...children,
  );
}

/** Looks as attributes, but for those that are as around. */
function looksOf(look: CSSStyleDeclaration, around: CSSStyleDeclaration | undefined) {
  return INHERITED.flatMap((name) => {
    const value = look.getPropertyValue(name);
    if (value === around?.getPropertyValue(name)) return [];
    if (name !== "fill" && name !== "stroke") return [[name, value] as const];
    const { colour: plain, opacity } = paint(value);
    const isClear = opacity > 0 && opacity < 1;
    return [[name, plain] as const, ...(isClear ? [[`${name}-opacity`, String(opacity)] as const] : [])];
  });
}
