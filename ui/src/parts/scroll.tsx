/** What scrolls sideways on its own where it is wider than its room. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

interface ScrollProps {
  label: string;
  children: ComponentChildren;
}

/** The keyboard stops at it only if there is something to scroll. */
export function Scroll({ label, children }: ScrollProps) {
  const place = useRef<HTMLDivElement>(null);
  const [isWide, setWide] = useState(false);
  useEffect(() => {
    const host = place.current!;
    const measure = () => setWide(host.scrollWidth > host.clientWidth);
    const watcher = new ResizeObserver(measure);
    for (const seen of [host, host.firstElementChild!]) watcher.observe(seen);
    measure();
    return () => watcher.disconnect();
  }, []);
  return (
    <div ref={place} class="scroll" tabIndex={isWide ? 0 : undefined} role="group" aria-label={label}>
      {children}
    </div>
  );
}
