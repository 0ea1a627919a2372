/** A plain table that scrolls sideways on its own. */

import type { ComponentChildren } from "preact";

export interface ColumnOf<Row> {
  name: string;
  cell: (row: Row, index: number) => ComponentChildren;
  /** Right-aligned figures. */
  isNumber?: boolean;
  class?: string;
}

interface TableProps<Row> {
  label: string;
  columns: readonly ColumnOf<Row>[];
  rows: readonly Row[];
  id: (row: Row, index: number) => string | number;
  rowClass?: (row: Row) => string;
}

export function Table<Row>({ label, columns, rows, id, rowClass }: TableProps<Row>) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col" key={column.name} class={column.isNumber ? "number" : column.class}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={id(row, index)} class={rowClass?.(row)}>
              {columns.map((column) => (
                <td
                  key={column.name}
                  class={column.isNumber ? "number" : column.class}
                  data-name={column.isNumber || column.class === "time" ? column.name : undefined}
                >
                  {column.cell(row, index)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
