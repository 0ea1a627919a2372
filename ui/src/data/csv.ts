/** Tables as text: comma-separated values (RFC 4180). */

const DELIMITERS = [",", "\t", ";"];

/**
 * The rows of a table; empty lines are left out.
 *
 * @param text Separated by what its first line has most of: commas, tabs or semicolons. A value in
 *   quotes may contain them, line breaks, and quotes that are doubled; a quote without its other
 *   one is a character.
 */
export function fromCsv(text: string): string[][] {
  const first = text.slice(0, text.search(/[\r\n]|$/));
  const times = (delimiter: string) => first.split(delimiter).length;
  const delimiter = DELIMITERS.reduce((a, b) => (times(b) > times(a) ? b : a));
  const rows: string[][] = [];
  let row: string[] = [];
  // A value, in quotes or not, and what ends it.
  const value = new RegExp(`(?:"((?:[^"]|"")*)"|([^${delimiter}\\r\\n]*))(${delimiter}|\\r?\\n|\\r|$)`, "y");
  const rest = text.replace(/^\ufeff/, "");
  for (let found = value.exec(rest); found !== null; found = value.exec(rest)) {
    row.push(found[1] === undefined ? found[2]! : found[1].replaceAll('""', '"'));
    if (found[3] === delimiter) continue;
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
    if (value.lastIndex >= rest.length) break;
  }
  return rows;
}

/** A row of a file. */
export type Cells = (string | number | null | undefined)[];

/**
 * A table as text, which `fromCsv` and spreadsheets read.
 *
 * A spreadsheet calculates what begins as a formula does. A text that does so and is no number gets
 * an apostrophe in front, which marks it as a text there.
 */
export function toCsv(rows: readonly Readonly<Cells>[]): string {
  const value = (item: Cells[number]) => {
    const text = typeof item === "string" ? inert(item) : String(item ?? "");
    return /[",\t;\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(value).join(",")}\r\n`).join("");
}

function inert(text: string): string {
  const isNumber = text.trim() !== "" && Number.isFinite(Number(text));
  return /^\s*[=+\-@]/.test(text) && !isNumber ? `'${text}` : text;
}
