/** Dialogs: the browser keeps the focus inside, and gives it back at the end. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface DialogProps {
  title: string;
  /** The button that does it. */
  done: string;
  isDangerous?: boolean;
  isBusy?: boolean;
  onDone: () => void;
  onClose: () => void;
  children: ComponentChildren;
}

/** A question with the answers `done` and “Back”. */
export function Dialog(props: DialogProps) {
  const place = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => place.current!.showModal(), []);
  const send = (event: SubmitEvent) => {
    event.preventDefault();
    props.onDone();
  };
  return (
    <dialog ref={place} class="dialog" aria-labelledby={title} onClose={props.onClose}>
      <form onSubmit={send}>
        <h2 id={title}>{props.title}</h2>
        {props.children}
        <div class="dialog-buttons">
          <button type="button" class="button" onClick={() => place.current!.close()}>
            Back
          </button>
          <button
            type="submit"
            class={`button ${props.isDangerous ? "danger" : "primary"}`}
            disabled={props.isBusy}
          >
            {props.done}
          </button>
        </div>
      </form>
    </dialog>
  );
}
