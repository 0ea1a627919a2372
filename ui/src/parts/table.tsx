/** A plain table that scrolls sideways on its own. */

import type { ComponentChildren } from "preact";
import { DASH } from "../data/numbers";
import { Scroll } from "./scroll";

export interface ColumnOf<Row> {
  name: string;
  cell: (row: Row, index: number) => ComponentChildren;
  /** Right-aligned figures. */
  isNumber?: boolean;
  class?: string;
  /** Whether the name is for those alone who do not see the column. */
  isNameUnseen?: boolean;
  /** What stands above the column instead of its name. */
  head?: ComponentChildren;
}

/** Classes of columns whose texts need the width of a line. */
const TEXTS: ReadonlySet<string | undefined> = new Set(["wide", "cell-text", "cell-run"]);

interface TableProps<Row> {
  label: string;
  columns: readonly ColumnOf<Row>[];
  rows: readonly Row[];
  id: (row: Row, index: number) => string | number;
  rowClass?: (row: Row) => string;
}

/** Where there is no room for its columns, a table with texts has them below each other. */
export function Table<Row>({ label, columns, rows, id, rowClass }: TableProps<Row>) {
  const folds = columns.some((column) => TEXTS.has(column.class));
  return (
    <Scroll label={label}>
      <table class={folds ? "folds" : undefined}>
        <Head columns={columns} />
        <tbody>
          {rows.map((row, index) => (
            <tr key={id(row, index)} class={rowClass?.(row)}>
              <Cells columns={columns} row={row} index={index} />
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

export function Head<Row>({ columns }: { columns: readonly ColumnOf<Row>[] }) {
  return (
    <thead>
      <tr>
        {columns.map((column) => (
          <th scope="col" key={column.name} class={column.isNumber ? "number" : column.class}>
            {column.head ??
              (column.isNameUnseen ? <span class="unseen">{column.name}</span> : column.name)}
          </th>
        ))}
      </tr>
    </thead>
  );
}

interface CellsProps<Row> {
  columns: readonly ColumnOf<Row>[];
  row: Row;
  index: number;
}

export function Cells<Row>({ columns, row, index }: CellsProps<Row>) {
  return (
    <>
      {columns.map((column) => (
        <Cell key={column.name} column={column} content={column.cell(row, index)} />
      ))}
    </>
  );
}

/** Where there is no room for columns, cells carry their column's name, and missing ones are left out. */
function Cell<Row>({ column, content }: { column: ColumnOf<Row>; content: ComponentChildren }) {
  return (
    <td
      class={column.isNumber ? "number" : column.class}
      data-name={column.isNameUnseen ? undefined : column.name}
      data-missing={content === DASH ? "" : undefined}
    >
      {content}
    </td>
  );
}
