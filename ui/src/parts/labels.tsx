/** The labels of a run; each leads to the runs that have it. */

import { Link } from "./router";

export function Labels({ of }: { of: { [name: string]: string } | undefined }) {
  return (
    <>
      {Object.entries(of ?? {}).map(([name, value]) => (
        <Link
          key={name}
          to={`/?${new URLSearchParams({ label: `${name}=${value}` })}`}
          class="chip"
        >
          <bdi>
            {name}={value}
          </bdi>
        </Link>
      ))}
    </>
  );
}
