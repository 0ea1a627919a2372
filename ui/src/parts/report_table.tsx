/** A table of a report: texts that the service has made. */

import type { ReportTable } from "../data/report";
import { Section, Words } from "./basics";
import { Table } from "./table";

const FIGURE = /^[−+]?[\d,.]+%?$|^[−+]?[\d.]+ \(.*\)$|^–$/;

interface ReportTableProps {
  table: ReportTable;
  /** The row that begins with it is marked. */
  subject?: string;
}

export function ReportTableSection(props: ReportTableProps) {
  return (
    <Section title={props.table.title}>
      <ReportTableBody {...props} />
    </Section>
  );
}

export function ReportTableBody({ table, subject }: ReportTableProps) {
  const columns = table.columns.map((name, at) => ({
    name,
    isNumber: at > 0 && table.rows.every((row) => FIGURE.test(row[at] ?? "")),
    class: at === 0 ? "cell-name" : "cell-text",
    cell: (row: string[]) => <TextCell text={row[at] ?? ""} />,
  }));
  return (
    <>
      <Table
        label={table.title}
        columns={columns}
        rows={table.rows}
        id={(_, index) => index}
        rowClass={(row) => (subject && row[0] === subject ? "is-subject" : "")}
      />
      {table.note && <p class="note">{table.note}</p>}
    </>
  );
}

function TextCell({ text }: { text: string }) {
  if (text === "better" || text === "worse") return <Reading of={text} />;
  return <Words text={text} />;
}

/** What a comparison shows, in words, and in a colour. */
export function Reading({ of }: { of: string }) {
  return <span class={`reading reading-${of.split(" ")[0]}`}>{of}</span>;
}
