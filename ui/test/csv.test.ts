import { describe, expect, test } from "vitest";
import { fromCsv, toCsv } from "../src/data/csv";

describe("tables as text", () => {
  test.each([
    ["text,label\na,b\n", [["text", "label"], ["a", "b"]]],
    ['\ufefftext;label\r\n"a; ""b""\nc";d', [["text", "label"], ['a; "b"\nc', "d"]]],
    ["text\tlabel\r\na, b\tc\r\n\r\n", [["text", "label"], ["a, b", "c"]]],
    ["one\n\ntwo", [["one"], ["two"]]],
    ["a,\n,b", [["a", ""], ["", "b"]]],
    ["", []],
  ])("%j is read", (text, rows) => expect(fromCsv(text)).toEqual(rows));

  test("a quote without its other one is a character", () => {
    expect(fromCsv('a,b\n"c,d')).toEqual([["a", "b"], ['"c', "d"]]);
  });

  test("what is written is read again", () => {
    const rows = [
      ["step", 'a "name"; odd,\r\n\tvery'],
      ["1", ""],
    ];
    expect(fromCsv(toCsv(rows))).toEqual(rows);
    expect(toCsv([[1, null, undefined, 0.5, Number.NaN]])).toBe("1,,,0.5,NaN\r\n");
  });

  test.each(["=1+1", "+a", "-a", "@a", " =1", "\t@a", "-", "-1-1"])("%j is a text to a spreadsheet", (text) =>
    expect(fromCsv(toCsv([[text]]))).toEqual([[`'${text}`]]),
  );

  test.each(["-0.5", "+1e5", "a=b", "−1", ""])("%j is as it was", (text) =>
    expect(toCsv([[text, -1]])).toBe(`${text},-1\r\n`),
  );
});
