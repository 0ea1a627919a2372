import { expect, test } from "vitest";

const SOURCES: { [path: string]: string } = import.meta.glob("../src/{data,parts}/*.{ts,tsx}", {
  query: "?raw",
  import: "default",
  eager: true,
});

/** What the files of a folder import from folders that are above it. */
function upwards(folder: string, above: string): string[] {
  return Object.entries(SOURCES).flatMap(([path, text]) =>
    path.includes(`/${folder}/`) && new RegExp(`from "\\.\\./(${above})/`).test(text) ? path : [],
  );
}

test("imports go from pages to parts to data", () => {
  expect(Object.keys(SOURCES).length).toBeGreaterThan(40);
  expect(upwards("data", "parts|pages")).toEqual([]);
  expect(upwards("parts", "pages")).toEqual([]);
});
