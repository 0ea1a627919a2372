/** How many runs ended in each hour of the last day. */

import { endedRows } from "../../data/chart_files";
import { endedBars, endedText, ENDS, hourText } from "../../data/ended";
import { count } from "../../data/numbers";
import type { ServicesWork } from "../../data/services";
import { Section } from "../../parts/basics";
import { Drawing, useReading } from "../../parts/drawing";
import { Frame } from "../../parts/frame";
import { type ColumnOf, Table } from "../../parts/table";

type Ended = ServicesWork["ended"];

const TITLE = "Runs ended, by the hour";
const LEFT = 96;
const BAR = 44;
const ROW = BAR + 12;

export function EndedSection({ ended }: { ended: Ended }) {
  return (
    <Section title={TITLE}>
      <Frame
        name={TITLE}
        table={() => <EndedTable ended={ended} />}
        csv={() => endedRows(ended.hours)}
      >
        <Hours ended={ended} />
      </Frame>
      <p class="note">
        Of runs that were created within the last week
        {ended.isPartial && ", and of these the 1,000 that were created last"}. Counted again every
        minute.
      </p>
    </Section>
  );
}

function Hours({ ended: { hours } }: { ended: Ended }) {
  const reading = useReading(hours.length);
  const { at } = reading;
  const rows = endedBars(hours);
  const height = rows.length * ROW;
  return (
    <Drawing
      label="Runs that ended, by the hour. Left and right read the hours; the button “Table” lists them."
      said={endedText(hours[at]!)}
      below={[hourText(hours[0]!), "this hour"]}
      reading={reading}
    >
      {(width) => {
        const step = Math.max(0, width - LEFT) / hours.length;
        return (
          <svg width={width} height={height}>
            {hours.map((hour, index) => (
              <rect
                key={hour.from}
                x={LEFT + index * step}
                width={step}
                height={height}
                class={index === at ? "row-mark is-current" : "row-mark"}
                onPointerEnter={() => reading.read(index)}
              />
            ))}
            {rows.map((row, index) => (
              <g key={row.end} transform={`translate(0 ${index * ROW})`} class="unpointed">
                <text x={0} y={BAR} class="row-label">
                  {row.end} {count(row.total)}
                </text>
                <path d={`M${LEFT} ${BAR + 0.5}H${width}`} class="grid-line" />
                {row.shares.map((share, hour) => (
                  <rect
                    key={hour}
                    x={LEFT + hour * step + 1}
                    y={BAR - Math.max(share > 0 ? 2 : 0, share * (BAR - 4))}
                    width={Math.max(1, step - 2)}
                    height={Math.max(share > 0 ? 2 : 0, share * (BAR - 4))}
                    class={`ended-${row.end}`}
                  />
                ))}
              </g>
            ))}
          </svg>
        );
      }}
    </Drawing>
  );
}

function EndedTable({ ended: { hours } }: { ended: Ended }) {
  type Hour = Ended["hours"][number];
  const columns: ColumnOf<Hour>[] = [
    { name: "hour", class: "time", cell: hourText },
    ...ENDS.map((end) => ({ name: end, isNumber: true, cell: (hour: Hour) => count(hour[end]) })),
  ];
  return (
    <Table
      label={`${TITLE}, as a table`}
      columns={columns}
      rows={[...hours].reverse()}
      id={({ from }) => from}
    />
  );
}
