/** What a run is called in a list: its title, which leads to it, above what tells it from others. */

import type { ComponentChildren } from "preact";
import { runAddress } from "../data/address";
import type { Run } from "../data/messages";
import { shortId, subject, title, visible } from "../data/words";
import { Words } from "./basics";
import { Link } from "./router";

/** The children stand behind the run's short id. */
export function RunName({ run, children }: { run: Run; children?: ComponentChildren }) {
  return (
    <>
      <Link to={runAddress(run.runId)}>
        <Words text={title(run)} />
      </Link>
      <div class="sub">
        {visible(run.spec?.name) && <Words text={subject(run.spec)} />}
        <code title={run.runId}>{shortId(run.runId)}</code>
        {children}
      </div>
    </>
  );
}
