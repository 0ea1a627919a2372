/** Writes into the built page what it was built from, so that a test can tell an old build. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const ROOT = import.meta.dirname;
const FILES = ["index.html", "package-lock.json", "source_digest.ts", "vite.config.ts"];
const FOLDERS = ["public", "src"];

/** SHA-256 over the paths and digests of all source files, in the order of the paths. */
function sourceDigest(): string {
  const inFolders = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1)),
  );
  const paths = [...FILES, ...inFolders].sort();
  const hex = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");
  return hex(paths.map((path) => `${path} ${hex(readFileSync(join(ROOT, path)))}\n`).join(""));
}

export const writeSourceDigest: Plugin = {
  name: "source-digest",
  transformIndexHtml: {
    order: "post",
    handler: () => [{ tag: "meta", attrs: { name: "source", content: sourceDigest() } }],
  },
};
