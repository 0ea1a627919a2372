/** Runs that ended, by the hour: what a chart of them draws. */

import type { EndedHour } from "./services";
import { counted } from "./numbers";

export const ENDS = ["succeeded", "failed", "cancelled"] as const;
export type End = (typeof ENDS)[number];

/** Bars of one way to end, one an hour. */
export interface EndedBars {
  end: End;
  total: number;
  /** Height of each bar, as a share of the highest bar of all rows. */
  shares: number[];
}

/** The rows of the chart, one for each way to end. */
export function endedBars(hours: readonly EndedHour[]): EndedBars[] {
  const most = hours.reduce((top, hour) => ENDS.reduce((one, end) => Math.max(one, hour[end]), top), 1);
  return ENDS.map((end) => ({
    end,
    total: hours.reduce((sum, hour) => sum + hour[end], 0),
    shares: hours.map((hour) => hour[end] / most),
  }));
}

/** An hour in the reader's time zone: `14:00 to 15:00`. */
export function hourText(hour: EndedHour): string {
  const at = new Date(hour.from);
  const text = (date: Date) =>
    [date.getHours(), date.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
  return `${text(at)} to ${text(new Date(at.getTime() + 3_600_000))}`;
}

/** What ended in an hour, in one line. */
export function endedText(hour: EndedHour): string {
  const ended = ENDS.filter((end) => hour[end] > 0).map((end) => `${hour[end]} ${end}`);
  const all = ENDS.reduce((sum, end) => sum + hour[end], 0);
  return `${hourText(hour)}: ${all === 0 ? "no run ended" : `${counted(all, "run")} ended, ${ended.join(", ")}`}`;
}
