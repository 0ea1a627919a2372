/** How many runs ended in each hour of the last day. */

import { useState } from "preact/hooks";
import { moved } from "../../data/axis";
import { endedRows, endedText, ENDS, hourText } from "../../data/ended";
import type { ServicesWork } from "../../data/services";
import { count } from "../../data/numbers";
import { Section } from "../../parts/basics";
import { Frame, useWidth } from "../../parts/frame";
import { type ColumnOf, Table } from "../../parts/table";

type Ended = ServicesWork["ended"];

const LEFT = 96;
const BAR = 44;
const ROW = BAR + 12;

export function EndedSection({ ended }: { ended: Ended }) {
  return (
    <Section title="Runs ended, by the hour">
      <Frame keys={[]} table={() => <EndedTable ended={ended} />}>
        <Drawing ended={ended} />
      </Frame>
      <p class="note">
        Of runs that were created within the last week
        {ended.isPartial && ", and of these the 1,000 that were created last"}. Counted again every
        minute.
      </p>
    </Section>
  );
}

function Drawing({ ended: { hours } }: { ended: Ended }) {
  const [place, width] = useWidth();
  const [chosen, setChosen] = useState<number | undefined>(undefined);
  const at = Math.min(chosen ?? hours.length - 1, hours.length - 1);
  const rows = endedRows(hours);
  const step = Math.max(0, width - LEFT) / hours.length;
  const move = (event: KeyboardEvent) => {
    const to = moved(event.key, at, hours.length);
    if (to === undefined) return;
    event.preventDefault();
    setChosen(to);
  };
  const see = (event: PointerEvent) => {
    const x = event.clientX - (event.currentTarget as Element).getBoundingClientRect().left - LEFT;
    setChosen(Math.min(hours.length - 1, Math.max(0, Math.floor(x / step))));
  };
  return (
    <>
      <div class="chart-axis">
        <span>{endedText(hours[at]!)}</span>
      </div>
      <div
        ref={place}
        class="drawing"
        role="img"
        tabIndex={0}
        aria-label="Runs that ended, by the hour. Left and right read the hours; the button “Table” lists them."
        onKeyDown={move}
        onPointerMove={see}
      >
        {width > 0 && (
          <svg width={width} height={rows.length * ROW}>
            <rect
              x={LEFT + at * step}
              width={step}
              height={rows.length * ROW}
              class="row-mark is-current"
            />
            {rows.map((row, index) => (
              <g key={row.end} transform={`translate(0 ${index * ROW})`}>
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
        )}
      </div>
      <div class="chart-axis below">
        <span>{hourText(hours[0]!)}</span>
        <span>this hour</span>
      </div>
    </>
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
      label="Runs ended, by the hour, as a table"
      columns={columns}
      rows={[...hours].reverse()}
      id={({ from }) => from}
    />
  );
}
