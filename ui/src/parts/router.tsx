/** Moves between views without loading the page again. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

const MOVED = "mentorgrad:moved";

/** Goes to an address of this page. */
export function go(address: string, replace = false): void {
  if (replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  dispatchEvent(new Event(MOVED));
}

/** The current address; the component is drawn again when it changes. */
export function useAddress(): { path: string; query: URLSearchParams } {
  const [address, setAddress] = useState(location.pathname + location.search);
  useEffect(() => {
    const moved = () => setAddress(location.pathname + location.search);
    addEventListener("popstate", moved);
    addEventListener(MOVED, moved);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener(MOVED, moved);
    };
  }, []);
  const [path = "/", query = ""] = address.split(/\?(.*)/s);
  return { path, query: new URLSearchParams(query) };
}

interface LinkProps {
  to: string;
  children: ComponentChildren;
  class?: string;
  current?: "page" | "true" | undefined;
  label?: string;
}

/** A link to an address of this page. */
export function Link({ to, children, class: name, current, label }: LinkProps) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey)
      return;
    event.preventDefault();
    go(to);
  };
  return (
    <a href={to} onClick={follow} class={name} aria-current={current} aria-label={label}>
      {children}
    </a>
  );
}
