/** How the same run is created again, by other means than the command line: see `spec.ts`. */

import type { Json, Spec } from "./messages";
import { plainSpec, quoted } from "./spec";

/**
 * A program of the Python SDK.
 *
 * @param server Address of the trainer.
 */
export function againPython(spec: Spec, server: string): string {
  return `from mentorgrad import Client, Credentials, RunSpec
from mentorgrad.serialization import from_dict

spec = from_dict(RunSpec, ${pythonText(plainSpec(spec))})
with Client(${pythonText(server)}, credentials=Credentials.from_environment()) as client:
    print(client.create_run(spec).run.run_id)`;
}

/**
 * A call of `buf curl`.
 *
 * @param server Address of the trainer.
 */
export function againCall(spec: Spec, server: string): string {
  const words = [
    "buf curl --protocol grpc --http2-prior-knowledge",
    quoted(`http://${server}/mentorgrad.v1.TrainerService/CreateRun`),
    `-d ${quoted(JSON.stringify({ spec }, null, 2))}`,
  ];
  return words.join(" \\\n  ");
}

/** A value as Python writes it. A string of JSON is one of Python. */
export function pythonText(value: Json, before = ""): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const inner = `${before}    `;
  const items = isList
    ? value.map((item) => pythonText(item, inner))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${pythonText(item, inner)}`);
  const [open, close] = isList ? "[]" : "{}";
  if (items.length === 0) return `${open}${close}`;
  return `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${before}${close}`;
}
