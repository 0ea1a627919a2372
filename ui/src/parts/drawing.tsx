/** A drawing as wide as there is room, between the names of its axes; the keyboard reads its parts. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { moved } from "../data/axis";

/** Which of several parts is read. */
export interface Reading {
  at: number;
  count: number;
  read: (at: number) => void;
  /** Goes back to the one that is read at first. */
  reset: () => void;
}

/**
 * Reads one of several parts.
 *
 * @param first What is read at first; without it the last one, as long as more arrive.
 */
export function useReading(count: number, first = Infinity): Reading {
  const [wanted, read] = useState(first);
  return { at: Math.min(wanted, count - 1), count, read, reset: () => read(first) };
}

interface DrawingProps {
  /** Name for those who do not see it, and how it is read. */
  label: string;
  class?: string;
  /** Of the vertical axis. */
  title?: ComponentChildren;
  /** What is read of the current part. */
  said: ComponentChildren;
  below?: readonly [ComponentChildren, ComponentChildren];
  reading?: Reading;
  onLeave?: () => void;
  /** Draws it for a width. */
  children: (width: number) => ComponentChildren;
}

export function Drawing(props: DrawingProps) {
  const { label, title, said, below, reading, onLeave } = props;
  const [place, width] = useWidth();
  const [isKeyed, setKeyed] = useState(false);
  const press = (event: KeyboardEvent) => {
    if (reading === undefined) return;
    const to = moved(event.key, reading.at, reading.count);
    if (to === undefined && event.key !== "Escape") return;
    event.preventDefault();
    setKeyed(to !== undefined);
    if (to === undefined) reading.reset();
    else reading.read(to);
  };
  return (
    <>
      <div class="chart-axis">
        {title !== undefined && <span class="axis-name">{title}</span>}
        <span>{said}</span>
      </div>
      <div
        ref={place}
        class={`drawing ${props.class ?? ""}`}
        role="img"
        tabIndex={reading && 0}
        aria-label={label}
        onKeyDown={press}
        onBlur={() => setKeyed(false)}
        onPointerLeave={onLeave}
      >
        {width > 0 && props.children(width)}
      </div>
      {below && (
        <div class="chart-axis below">
          {below.map((name, at) => (
            <span key={at} class={typeof name === "string" ? "axis-name" : undefined}>
              {name}
            </span>
          ))}
        </div>
      )}
      <Spoken>{isKeyed && said}</Spoken>
    </>
  );
}

/** What the keyboard has just read, for those who do not see it; what arrives meanwhile is not said. */
export function Spoken({ children }: { children: ComponentChildren }) {
  return (
    <div class="unseen" role="status">
      {children}
    </div>
  );
}

/** An element, and its width in pixels; 0 before it is measured. */
function useWidth() {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const host = place.current!;
    const measure = () => setWidth(host.clientWidth);
    const watcher = new ResizeObserver(measure);
    watcher.observe(host);
    measure();
    return () => watcher.disconnect();
  }, []);
  return [place, width] as const;
}
