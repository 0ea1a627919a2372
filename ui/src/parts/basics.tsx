/** Small parts that all views share. */

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import type { ApiError } from "../data/api";
import { DASH } from "../data/numbers";

/** Mark of each state, so that colour alone says nothing. */
const MARKS: { [state: string]: string } = {
  queued: "○",
  running: "▶",
  paused: "Ⅱ",
  succeeded: "✓",
  finished: "✓",
  failed: "✕",
  cancelled: "⊘",
  interrupted: "⚡",
};

/** A state with its mark. */
export function StateBadge({ state }: { state: string }) {
  return (
    <span class={`state state-${state}`}>
      <span aria-hidden="true" class="state-mark">
        {MARKS[state] ?? "·"}
      </span>
      {state}
    </span>
  );
}

/** Text from outside, in its own writing direction. */
export function Words({ text, class: name }: { text: string | undefined; class?: string }) {
  if (!text) return <span class="missing">{DASH}</span>;
  return (
    <bdi dir="auto" class={name}>
      {text}
    </bdi>
  );
}

/** A section with a heading. */
export function Section(props: {
  title: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section aria-labelledby={id} class="section">
      <div class="section-head">
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </div>
      {props.children}
    </section>
  );
}

/** Names and values in two columns. */
export function Facts({ rows }: { rows: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A main figure. */
export function Tile(props: {
  name: string;
  children: ComponentChildren;
  note?: ComponentChildren;
}) {
  return (
    <div class="tile">
      <div class="tile-name">{props.name}</div>
      <div class="tile-value">{props.children}</div>
      {props.note !== undefined && <div class="tile-note">{props.note}</div>}
    </div>
  );
}

/** A share of a limit, as a bar and as text. */
export function Meter(props: { name: string; used: number; limit: number; text: string }) {
  const share = Math.min(1, props.limit > 0 ? props.used / props.limit : 0);
  return (
    <div class="meter">
      <div class="meter-text">
        <span>{props.name}</span>
        <span class="number">{props.text}</span>
      </div>
      {props.limit > 0 && (
        <meter min={0} max={1} value={share} aria-label={`${props.name}: ${props.text}`} />
      )}
    </div>
  );
}

/** A button that copies a text. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("copied");
    } catch {
      setSaid("not allowed");
    }
    setTimeout(() => setSaid(""), 2_000);
  };
  return (
    <button type="button" class="button small" onClick={() => void copy()} aria-label={label}>
      <span aria-live="polite">{said || "Copy"}</span>
    </button>
  );
}

/** A line of code with a button that copies it. */
export function Command({ text, label }: { text: string; label: string }) {
  return (
    <div class="command">
      <pre tabIndex={0}>{text}</pre>
      <Copy text={text} label={label} />
    </div>
  );
}

/** Why something cannot be shown. */
export function Problem({ error }: { error: ApiError }) {
  return (
    <p class="problem" role="alert">
      <b>
        {error.status === 404 ? "Not found." : error.isTransient ? "Trying again." : "Refused."}
      </b>{" "}
      {error.message}
    </p>
  );
}

/** Nothing to show. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
