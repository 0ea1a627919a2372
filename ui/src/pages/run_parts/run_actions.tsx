/** What a visitor may do with one run. */

import { useState } from "preact/hooks";
import { allowed, type Edits } from "../../data/actions";
import type { Run } from "../../data/messages";
import { Outcome, StateButtons, useActing } from "../../parts/acting";
import { EditDialog } from "../../parts/label_dialogs";

interface RunActionsProps {
  runId: string;
  state: string;
  /** Undefined until it has been read. */
  record: Run | undefined;
  onChanged: (run: Run) => void;
}

export function RunActions({ runId, state, record, onChanged }: RunActionsProps) {
  const acting = useActing((runs) => runs.forEach(onChanged));
  const [isEditing, setEditing] = useState(false);
  const edited = (edits: Edits | undefined) => {
    setEditing(false);
    if (edits) void acting.act({ action: "update", run_ids: [runId], update: edits });
  };
  return (
    <div class="actions">
      <div class="actions-buttons" role="group" aria-label="Actions">
        <StateButtons acting={acting} actions={allowed(state)} runIds={[runId]} />
        <button
          type="button"
          class="button small"
          disabled={acting.isBusy || record === undefined}
          onClick={() => setEditing(true)}
        >
          Labels and note…
        </button>
      </div>
      <Outcome acting={acting} />
      {isEditing && record && (
        <EditDialog
          labels={record.labels ?? {}}
          note={record.note ?? ""}
          onDone={edited}
          onClose={() => setEditing(false)}
        />
      )}
    </div>
  );
}
