/** Actions on runs: asks the service, asks the visitor before what cannot be undone, tells the end. */

import { useState } from "preact/hooks";
import { ACTIONS, type ActionRequest, outcomeOf, type StateAction } from "../data/actions";
import * as api from "../data/api";
import type { Run } from "../data/messages";
import { counted } from "../data/numbers";
import { Dialog } from "./dialog";

export interface Acting {
  isBusy: boolean;
  /** Of the latest action. */
  text: string;
  problems: readonly string[];
  /** Asks the service; returns whether every run was changed. */
  act: (request: ActionRequest) => Promise<boolean>;
}

/** @param onChanged Called with runs that an action has changed. */
export function useActing(onChanged: (runs: Run[]) => void = () => {}): Acting {
  const [isBusy, setBusy] = useState(false);
  const [said, setSaid] = useState<{ text: string; problems: string[] }>({
    text: "",
    problems: [],
  });
  const act = async (request: ActionRequest) => {
    setBusy(true);
    setSaid({ text: "", problems: [] });
    try {
      const results = await api.act(request);
      const outcome = outcomeOf(request, results);
      setSaid(outcome);
      onChanged(results.flatMap(({ run }) => run ?? []));
      return outcome.problems.length === 0;
    } catch (error) {
      setSaid({ text: "", problems: [(error as Error).message] });
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, ...said, act };
}

interface StateButtonsProps {
  acting: Acting;
  actions: readonly StateAction[];
  runIds: readonly string[];
}

/** A button for each action. */
export function StateButtons({ acting, actions, runIds }: StateButtonsProps) {
  const [asked, setAsked] = useState<StateAction | undefined>(undefined);
  const isOne = runIds.length === 1;
  const send = (action: StateAction) => acting.act({ action, run_ids: runIds });
  const confirmed = (action: StateAction) => {
    setAsked(undefined);
    void send(action);
  };
  return (
    <>
      {actions.map((action) => (
        <button
          type="button"
          key={action}
          class="button small"
          disabled={acting.isBusy}
          onClick={() => (ACTIONS[action].warning ? setAsked(action) : void send(action))}
        >
          {ACTIONS[action].name}
          {ACTIONS[action].warning && "…"}
        </button>
      ))}
      {asked && (
        <Dialog
          title={ACTIONS[asked].question(isOne ? "this run" : counted(runIds.length, "run"))}
          done={ACTIONS[asked].sure}
          isDangerous
          onDone={() => confirmed(asked)}
          onClose={() => setAsked(undefined)}
        >
          <p>{ACTIONS[asked].warning}</p>
        </Dialog>
      )}
    </>
  );
}

/** What became of the latest action; there from the beginning, so that it is read out. */
export function Outcome({ acting: { text, problems } }: { acting: Acting }) {
  return (
    <div role="status" class="outcome">
      {text && <p class="note">{text}</p>}
      {problems.length > 0 && (
        <ul class="problem">
          {problems.map((problem) => (
            <li key={problem}>
              <bdi>{problem}</bdi>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
