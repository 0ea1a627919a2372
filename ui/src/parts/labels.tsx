/** The labels of a run; each leads to the runs that have it, and its experiment's to that. */

import { experimentAddress } from "../data/address";
import { shortId } from "../data/words";
import { Link } from "./router";

/** Labels by which an experiment knows its run. The run's name says the same. */
const PLACES = ["arm", "task", "variation", "phase"];

interface LabelsProps {
  of: { [name: string]: string } | undefined;
  /** Whether the run's place in its experiment is left out: in a list, where its name stands. */
  isShort?: boolean;
}

export function Labels({ of, isShort = false }: LabelsProps) {
  const inExperiment = of?.experiment !== undefined;
  // A map of protobuf comes in any order.
  const sorted = Object.entries(of ?? {})
    .filter(([name]) => !(isShort && inExperiment && PLACES.includes(name)))
    .sort(([one], [other]) => (one < other ? -1 : 1));
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
            {name}={isShort && name === "experiment" ? shortId(value) : value}
          </bdi>
        </Link>
      ))}
    </>
  );
}
