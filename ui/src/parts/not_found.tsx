/** What stands where nothing is. */

import { Words } from "./basics";
import { Link } from "./router";

export function NotFound({ reason }: { reason: string }) {
  return (
    <>
      <h1 class="unseen">Not found</h1>
      <p class="problem" role="alert">
        <b>Not found.</b> <Words text={reason} /> <Link to="/">All runs</Link>
      </p>
    </>
  );
}
