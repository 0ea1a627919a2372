/** Whether the reader's system is set to light or to dark colours. */

import { useEffect, useState } from "preact/hooks";

/** `light` or `dark`; the component is drawn again when it changes. */
export function useScheme(): "light" | "dark" {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [isDark, setDark] = useState(dark.matches);
  useEffect(() => {
    const changed = () => setDark(dark.matches);
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  return isDark ? "dark" : "light";
}

/** The value of a colour of the style sheet, such as `--ink`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
