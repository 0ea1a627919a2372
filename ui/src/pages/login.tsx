/** The login. The token goes to the service once, and is kept nowhere in the page. */

import { useState } from "preact/hooks";
import { ApiError, login } from "../data/api";

export function LoginPage({ onDone }: { onDone: () => void }) {
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const send = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const token = String(new FormData(form).get("token") ?? "").trim();
    setBusy(true);
    try {
      await login(token);
      form.reset();
      onDone();
    } catch (error) {
      const isMany = error instanceof ApiError && error.status === 429;
      setProblem(
        isMany ? "Too many attempts. Wait a little, then try again." : (error as Error).message,
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="login" onSubmit={(event) => void send(event)}>
      <h1>Log in</h1>
      <p>With a token of the scope “read”. The session ends after eight hours.</p>
      <label for="token">Token</label>
      <input id="token" name="token" type="password" autocomplete="off" required autofocus />
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      <button type="submit" class="button primary" disabled={isBusy}>
        Log in
      </button>
    </form>
  );
}
