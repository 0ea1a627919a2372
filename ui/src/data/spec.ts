/** A run's spec as rows, and as a command line that creates the same run again. */

import spec_fields from "./spec_fields.json";
import type { Fields, Json, Spec } from "./messages";
import { snake } from "./words";

/** What JSON does not say of the contract's fields; made from the protos. */
const INTEGERS: ReadonlySet<string> = new Set(spec_fields.integers);
const ENUMS: { [path: string]: string } = spec_fields.enums;
const WHOLE: ReadonlySet<string> = new Set(spec_fields.whole);

/** A field that is set: its path as in `--set`, and its value as the CLI takes it. */
export interface SpecField {
  path: string;
  value: Json;
}

/** The fields that are set, in the order of the spec. */
export function specFields(spec: Spec): SpecField[] {
  return [...fieldsOf(spec as Fields, "")];
}

function* fieldsOf(fields: Fields, before: string): Generator<SpecField> {
  for (const [name, value] of Object.entries(fields)) {
    const path = before ? `${before}.${snake(name)}` : snake(name);
    if (isFields(value) && !WHOLE.has(path)) yield* fieldsOf(value, path);
    else yield { path, value: plain(path, value) };
  }
}

/** The spec with the names and values of the SDK and of spec files. */
export function plainSpec(spec: Spec): Fields {
  const within = (fields: Fields, before: string): Fields =>
    Object.fromEntries(
      Object.entries(fields).map(([name, value]) => {
        const path = before ? `${before}.${snake(name)}` : snake(name);
        const isMessage = isFields(value) && !WHOLE.has(path);
        return [snake(name), isMessage ? within(value, path) : plain(path, value)];
      }),
    );
  return within(spec as Fields, "");
}

function isFields(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value without what protobuf's JSON adds: `"8"` → 8, `POLICY_RACE` → `race`. */
function plain(path: string, value: Json): Json {
  if (Array.isArray(value)) return value.map((item) => plain(path, item));
  if (typeof value !== "string") return value;
  const prefix = ENUMS[path];
  if (prefix !== undefined) return value.replace(prefix, "").toLowerCase();
  return INTEGERS.has(path) && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** A word for a POSIX shell. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

const DEFAULT_SERVER = "127.0.0.1:50551";

/**
 * The command that creates the same run again, a field a line.
 *
 * @param server Address of the trainer.
 */
export function againCommand(spec: Spec, server: string): string {
  const options: string[] = [];
  options.push(...serverOption(server));
  const kind = Object.keys(spec.objective ?? {})[0];
  if (kind !== undefined) options.push(`--objective ${snake(kind)}`);
  for (const { path, value } of specFields(spec)) {
    if (path === "labels" && isFields(value)) {
      for (const [name, text] of Object.entries(value))
        options.push(`--label ${quoted(`${name}=${text}`)}`);
    } else {
      options.push(`--set ${quoted(`${path}=${JSON.stringify(value)}`)}`);
    }
  }
  return ["mentorgrad run", ...options].join(" \\\n  ");
}

/** The command that downloads all files of a run. */
export function downloadCommand(runId: string, server: string): string {
  const words = ["mentorgrad runs download", quoted(runId), `--into ${quoted(runId)}`];
  return [...words, ...serverOption(server)].join(" ");
}

function serverOption(server: string): string[] {
  return server && server !== DEFAULT_SERVER ? [`--server ${quoted(server)}`] : [];
}

/** A value for readers. */
export function shown(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Gradient steps that the run will take according to its spec; 0: unknown or none. */
export function plannedSteps(spec: Spec): number {
  const limit = spec.budget?.gradientSteps;
  if (limit !== undefined) return Number(limit);
  const { count, steps, firstSteps } = spec.stages ?? {};
  if (count === undefined || steps === undefined) return 0;
  return Number(firstSteps ?? steps) + (Number(count) - 1) * Number(steps);
}
