/** The frame of all views: where one is, which trainer answers, and what is wrong. */

import { useEffect, useRef, useState } from "preact/hooks";
import * as api from "./data/api";
import { viewOf } from "./data/address";
import { useRead } from "./data/hooks";
import type { Services } from "./data/services";
import { ClassifierPage } from "./pages/classifier";
import { ComparePage } from "./pages/compare";
import { ExperimentPage } from "./pages/experiment";
import { ExperimentsPage } from "./pages/experiments";
import { ServicesPage } from "./pages/services";
import { LoginPage } from "./pages/login";
import { RunPage } from "./pages/run";
import { RunsPage } from "./pages/runs";
import { NotFound } from "./parts/not_found";
import { Link, useAddress } from "./parts/router";

const SERVICES_MS = 5_000;

export function App() {
  const [isLoginWanted, setLoginWanted] = useState(false);
  useEffect(() => api.whenLoginIsWanted(() => setLoginWanted(true)), []);
  const [logins, setLogins] = useState(0);
  const services = useRead(isLoginWanted ? "" : `services ${logins}`, api.services, SERVICES_MS);
  const session = useRead(isLoginWanted ? "" : `session ${logins}`, api.session);
  const mayAct = session.value?.actions ?? false;
  const loggedIn = () => {
    setLoginWanted(false);
    setLogins(logins + 1);
  };
  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Header
        services={services.value}
        isLoggedIn={!isLoginWanted}
        hasClassifier={session.value?.classifier ?? false}
      />
      <div aria-live="polite">
        {services.error !== undefined && services.error.status !== 401 && (
          <Banner>
            {services.error.status === 0
              ? "The page’s service does not answer."
              : `The page’s service has a problem: ${services.error.message}.`}{" "}
            Trying again.
          </Banner>
        )}
        {services.error === undefined && services.value?.answers === false && (
          <Banner>
            The trainer at {services.value.server} does not answer
            {services.value.error ? ` (${services.value.error.message})` : ""}. Trying again.
          </Banner>
        )}
      </div>
      <main id="main" tabIndex={-1}>
        {isLoginWanted ? (
          <LoginPage onDone={loggedIn} />
        ) : (
          <Content key={logins} services={services.value} mayAct={mayAct} />
        )}
      </main>
    </>
  );
}

function Content({ services, mayAct }: { services: Services | undefined; mayAct: boolean }) {
  const { path, query } = useAddress();
  const view = viewOf(path);
  const place = "runId" in view ? view.runId : "experimentId" in view ? view.experimentId : view.page;
  const first = useRef(place);
  useEffect(() => {
    if (first.current === place) return;
    first.current = "";
    scrollTo(0, 0);
    document.getElementById("main")?.focus({ preventScroll: true });
  }, [place]);
  if (view.page === "runs") return <RunsPage query={query} mayAct={mayAct} />;
  if (view.page === "run")
    return (
      <RunPage
        key={view.runId}
        runId={view.runId}
        query={query}
        server={services?.server ?? ""}
        mayAct={mayAct}
      />
    );
  if (view.page === "experiments") return <ExperimentsPage query={query} />;
  if (view.page === "experiment")
    return <ExperimentPage key={view.experimentId} experimentId={view.experimentId} />;
  if (view.page === "compare") return <ComparePage query={query} />;
  if (view.page === "classifier") return <ClassifierPage />;
  if (view.page === "services") return <ServicesPage services={services} />;
  return <NotFound reason="There is no such view." />;
}

interface HeaderProps {
  services: Services | undefined;
  isLoggedIn: boolean;
  hasClassifier: boolean;
}

function Header({ services, isLoggedIn, hasClassifier }: HeaderProps) {
  const { path } = useAddress();
  const { page } = viewOf(path);
  const leave = async () => {
    await api.logout().catch(() => {});
    location.assign("/");
  };
  return (
    <header class="top">
      <Link to="/" class="brand">
        <img src="/icon.svg" alt="" width="20" height="20" />
        <span>mentorgrad</span>
      </Link>
      <nav aria-label="Views">
        <Link to="/" current={page === "runs" || page === "run" ? "page" : undefined}>
          Runs
        </Link>
        <Link
          to="/experiments"
          current={page === "experiments" || page === "experiment" ? "page" : undefined}
        >
          Experiments
        </Link>
        <Link to="/compare" current={page === "compare" ? "page" : undefined}>
          Compare
        </Link>
        <Link to="/services" current={page === "services" ? "page" : undefined}>
          Services
        </Link>
        {hasClassifier && (
          <Link to="/classifier" current={page === "classifier" ? "page" : undefined}>
            Classifier
          </Link>
        )}
      </nav>
      <div class="top-end">
        {services !== undefined && (
          <span class={services.answers ? "trainer" : "trainer is-away"}>
            <span aria-hidden="true">{services.answers ? "●" : "○"}</span> {services.server}
            {load(services)}
          </span>
        )}
        {services?.login && isLoggedIn && (
          <button type="button" class="button small" onClick={() => void leave()}>
            Log out
          </button>
        )}
      </div>
    </header>
  );
}

/** What the trainer is busy with. */
function load(services: Services): string {
  const queued = Number(services.trainer?.queuedRuns ?? 0);
  if (!services.answers) return " · away";
  return queued > 0 ? ` · ${queued} queued` : "";
}

function Banner({ children }: { children: preact.ComponentChildren }) {
  return (
    <div class="banner">
      <span aria-hidden="true">⚠</span> {children}
    </div>
  );
}
