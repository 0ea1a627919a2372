/** What a visitor may do with the runs that they have chosen in the list. */

import { useState } from "preact/hooks";
import type { Edits, StateAction } from "../data/actions";
import { Outcome, StateButtons, useActing } from "../parts/acting";
import { LabelDialog } from "../parts/label_dialogs";

const ALL: readonly StateAction[] = ["pause", "resume", "finish", "cancel"];

export function RunsActions({ runIds }: { runIds: readonly string[] }) {
  const acting = useActing();
  const [isEditing, setEditing] = useState(false);
  const edited = (update: Edits) => {
    setEditing(false);
    void acting.act({ action: "update", run_ids: runIds, update });
  };
  return (
    <div class="actions">
      {runIds.length > 0 && (
        <div class="actions-buttons" role="group" aria-label="Actions on the chosen runs">
          <span class="muted">{runIds.length} chosen:</span>
          <StateButtons acting={acting} actions={ALL} runIds={runIds} />
          <button
            type="button"
            class="button small"
            disabled={acting.isBusy}
            onClick={() => setEditing(true)}
          >
            Labels…
          </button>
        </div>
      )}
      <Outcome acting={acting} />
      {isEditing && (
        <LabelDialog
          count={runIds.length}
          onDone={edited}
          onClose={() => setEditing(false)}
        />
      )}
    </div>
  );
}
