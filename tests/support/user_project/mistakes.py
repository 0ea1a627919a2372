"""Mistakes that a type checker finds: each ignore is needed, or mypy calls it unused."""

from mentor_service.strategies import PromptedStrategy, Talk
from mentorgrad import Client, Clients, RunSpec, resolve  # type: ignore[attr-defined]
from mentorgrad.v1 import run_pb2


class Wrong(PromptedStrategy):
    async def converse(self, talk: str) -> None:  # type: ignore[override]
        pass


def mistakes(client: Client, talk: Talk) -> None:
    client.create_run("a spec")  # type: ignore[arg-type]
    client.create_runs(RunSpec())  # type: ignore[attr-defined]
    client.get_run("a run").spec.seeds  # type: ignore[attr-defined]  # noqa: B018
    for event in client.watch("a run"):
        event.kinds  # type: ignore[attr-defined]  # noqa: B018
    resolve(3)  # type: ignore[arg-type]
    RunSpec(seed="three")  # type: ignore[arg-type]
    run_pb2.RunSpecs()  # type: ignore[attr-defined]
    talk.proposes  # type: ignore[attr-defined]  # noqa: B018
    print(Clients)
