/** The labels of a run; each leads to the runs that have it, and its experiment's to that. */

import { experimentAddress } from "../data/address";
import { Link } from "./router";

export function Labels({ of }: { of: { [name: string]: string } | undefined }) {
  // A map of protobuf comes in any order.
  const sorted = Object.entries(of ?? {}).sort(([one], [other]) => (one < other ? -1 : 1));
  return (
    <>
      {sorted.map(([name, value]) => (
        <Link
          key={name}
          to={
            name === "experiment"
              ? experimentAddress(value)
              : `/?${new URLSearchParams({ label: `${name}=${value}` })}`
          }
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
