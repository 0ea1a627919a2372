/** Dialogs that edit labels and notes. */

import { useState } from "preact/hooks";
import { type Edits, editsTo, labelLines, labelsOf, namesOf } from "../data/actions";
import { counted } from "../data/numbers";
import { Dialog } from "./dialog";

interface EditDialogProps {
  labels: { [name: string]: string };
  note: string;
  /** Called with edits, if there are any. */
  onDone: (edits: Edits | undefined) => void;
  onClose: () => void;
}

/** Edits the labels and the note of one run. */
export function EditDialog({ labels, note, onDone, onClose }: EditDialogProps) {
  const [lines, setLines] = useState(labelLines(labels));
  const [text, setText] = useState(note);
  const [problem, setProblem] = useState("");
  const done = () => {
    try {
      onDone(editsTo({ labels, note }, { labels: labelsOf(lines), note: text }));
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <Dialog title="Labels and note" done="Save" onDone={done} onClose={onClose}>
      <Lines label="Labels, one name=value a line" value={lines} onInput={setLines} />
      <Lines label="Note" value={text} onInput={setText} most={10_000} />
      <Refused problem={problem} />
    </Dialog>
  );
}

interface LabelDialogProps {
  count: number;
  onDone: (edits: Edits) => void;
  onClose: () => void;
}

/** Sets and removes labels of several runs. */
export function LabelDialog({ count, onDone, onClose }: LabelDialogProps) {
  const [lines, setLines] = useState("");
  const [names, setNames] = useState("");
  const [problem, setProblem] = useState("");
  const done = () => {
    try {
      const edits = { labels: labelsOf(lines), remove_labels: namesOf(names) };
      if (Object.keys(edits.labels).length + edits.remove_labels.length === 0)
        throw new Error("give labels to set, or names of labels to remove");
      onDone(edits);
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  return (
    <Dialog
      title={`Labels of ${counted(count, "run")}`}
      done="Save"
      onDone={done}
      onClose={onClose}
    >
      <Lines label="Set, one name=value a line" value={lines} onInput={setLines} />
      <Lines label="Remove, one name a line" value={names} onInput={setNames} />
      <Refused problem={problem} />
    </Dialog>
  );
}

interface LinesProps {
  label: string;
  value: string;
  onInput: (text: string) => void;
  most?: number;
}

function Lines({ label, value, onInput, most }: LinesProps) {
  return (
    <label class="lines">
      <span>{label}</span>
      <textarea
        dir="auto"
        rows={4}
        maxLength={most}
        value={value}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
    </label>
  );
}

function Refused({ problem }: { problem: string }) {
  return problem ? (
    <p class="problem" role="alert">
      <bdi>{problem}</bdi>
    </p>
  ) : null;
}
