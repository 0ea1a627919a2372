/** Numbers of protobuf's JSON mapping, and how they are written for readers. */

import type { Int, Real } from "./messages";

/** Shown for a missing figure. */
export const DASH = "–";

/** A 64-bit integer; 0 if the field is absent. */
export function int(value: Int | undefined): number {
  return value === undefined ? 0 : Number(value);
}

/** A floating-point number; undefined if the field is absent. */
export function real(value: Real | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}

/** Seconds of a duration such as "1.5s"; 0 if the field is absent. */
export function seconds(value: string | undefined): number {
  return value === undefined ? 0 : Number(value.replace(/s$/, ""));
}

/** A loss or another figure of any size, with about four significant digits. */
export function figure(value: number | undefined, digits = 4): string {
  if (value === undefined) return DASH;
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : value.toFixed(digits);
  return text.replace(/-/g, "−");
}

/** A number at an axis, without digits that say nothing. */
export function tick(value: number): string {
  const text = figure(value);
  return text.replace(/\.?0+(?=e|$)/, "").replace("e+", "e");
}

/** A share as a percentage. */
export function percent(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? DASH : `${(100 * value).toFixed(1)}%`;
}

/** A count with thousands separated. */
export function count(value: number): string {
  return value.toLocaleString("en-GB");
}

/** A count with its noun, for example "1 step" or "2 steps". */
export function counted(value: number, noun: string, plural = `${noun}s`): string {
  return `${count(value)} ${value === 1 ? noun : plural}`;
}

/** A span of time, for example "0.8 s", "4 min 10 s" or "3 h 5 min". */
export function span(total: number): string {
  if (!Number.isFinite(total) || total < 0) return DASH;
  if (total < 60) return `${total < 10 ? total.toFixed(1) : Math.round(total)} s`;
  const whole = Math.round(total);
  if (whole >= 600 && whole < 3600) return `${Math.round(whole / 60)} min`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A size, for example "103 KB". */
export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  const power = Math.min(4, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${["", "KB", "MB", "GB", "TB"][power]}`;
}

/** Milliseconds of a timestamp; undefined if it is absent or none. */
export function moment(value: string | undefined): number | undefined {
  const found = value === undefined ? Number.NaN : Date.parse(value);
  return Number.isNaN(found) ? undefined : found;
}

/** A time in the reader's time zone; the date only if it is another day. */
export function clock(value: string | undefined, now = Date.now()): string {
  const at = moment(value);
  if (at === undefined) return DASH;
  const date = new Date(at);
  const two = (part: number) => String(part).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}
