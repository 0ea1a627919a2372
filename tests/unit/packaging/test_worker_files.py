"""The files in deploy/ that start workers, and the roles in Postgres for them."""

from __future__ import annotations

import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import yaml

from mentorgrad.domain.event import Created
from mentorgrad.domain.run import RunState
from mentorgrad.errors import InvalidInput
from run_store import dialects
from run_store.open import open_store
from tests.support.deployment import ROOT
from trainer_service.agent.settings import WorkerSettings

POSTGRES = "postgresql://db/x"


def settings_of(arguments: list[str]) -> WorkerSettings:
    """The settings that flags make; `--no-warm` is a flag without a value."""
    assert arguments[:3] == ["mentorgrad", "serve", "worker"]
    given: dict[str, Any] = {}
    rest = iter(arguments[3:])
    for flag in rest:
        name = flag.removeprefix("--").replace("-", "_")
        if name.startswith("no_"):
            given[name.removeprefix("no_")] = False
        else:
            value = next(rest)
            given[name] = [value] if name == "label" else value
    return WorkerSettings(store=POSTGRES, **given)


def test_a_slurm_job_starts_a_worker_and_shows_no_secret(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$MENTORGRAD_WORKER_STORE" "$@"\n')
    srun.chmod(0o755)
    secret = tmp_path / "store"
    secret.write_text(f"{POSTGRES}\n")

    def submitted(mode: int) -> subprocess.CompletedProcess[str]:
        secret.chmod(mode)
        return subprocess.run(
            ["bash", str(ROOT / "deploy/slurm/workers.sbatch"), "--mentor", "small=llm1:50552"],
            env={
                "PATH": f"{tmp_path}:/usr/bin:/bin",
                "MENTORGRAD_STORE_FILE": str(secret),
                "SLURM_JOB_ID": "17",
                "SLURM_ARRAY_JOB_ID": "16",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_JOB_PARTITION": "gpu",
                "SLURM_CPUS_PER_TASK": "4",
            },
            capture_output=True,
            text=True,
        )

    done = submitted(0o600)
    assert (done.returncode, done.stderr) == (0, "")
    store, *command = done.stdout.splitlines()
    assert store == POSTGRES
    assert command[0] == "--ntasks=1"
    assert "--mentor" in command
    found = settings_of([word for word in command[1:] if word not in command[-2:]])
    assert (found.name, found.label, found.threads) == ("slurm-16-3", {"slurm": "gpu"}, 4)
    assert found.device == "cuda"  # which the job has asked for
    assert submitted(0o640).returncode == 2


def documents(name: str) -> dict[str, Any]:
    """The documents of a file by kind."""
    found = yaml.safe_load_all((ROOT / "deploy" / name).read_text())
    return {document["kind"]: document for document in found}


def keda() -> dict[str, Any]:
    return documents("keda/workers.yaml")


def test_the_jobs_and_pods_of_kubernetes_have_settings_that_there_are() -> None:
    scaled = keda()["ScaledJob"]["spec"]
    # KEDA takes its other strategies for counts of what waits and what is being executed.
    assert scaled["scalingStrategy"]["strategy"] == "accurate"
    job = scaled["jobTargetRef"]["template"]
    pod = documents("kubernetes/workers/workers.yaml")["Deployment"]["spec"]["template"]
    policy = documents("kubernetes/workers/network-policy.yaml")["NetworkPolicy"]
    for template, until_idle in ((job, 60), (pod, None)):
        assert template["metadata"]["labels"]["app.kubernetes.io/name"] == "worker"
        spec = template["spec"]
        (container,) = spec["containers"]
        found = settings_of([*container["command"], *container["args"]])
        assert found.until_idle == until_idle
        assert (found.device == "cuda") is ("nvidia.com/gpu" in container["resources"]["limits"])
        assert found.drain_seconds < spec["terminationGracePeriodSeconds"]
        for variable in container["env"]:
            name = variable["name"].removeprefix("MENTORGRAD_WORKER_").lower()
            assert name in WorkerSettings.model_fields
    assert "worker" in str(policy["spec"]["ingress"])  # the last one: at the mentor


@pytest.mark.slow
def test_kubernetes_counts_the_runs_that_wait(postgres_url: str) -> None:
    (trigger,) = keda()["ScaledJob"]["spec"]["triggers"]
    with closing(open_store(postgres_url)) as store:
        ids = [store.create(Created(request_id=name))[0].run_id for name in "abcd"]
        for run_id in ids[:3]:
            store.claim(run_id, "w", timedelta(minutes=1))
        store.transition(ids[0], RunState.INTERRUPTED)
        store.transition(ids[1], RunState.FAILED)
    engine = dialects.engine_of(dialects.parse(postgres_url))
    with engine.connect() as connection:
        count = connection.execute(sa.text(trigger["metadata"]["query"])).scalar_one()
    engine.dispose()
    assert count == 2  # one is queued and one interrupted


@pytest.mark.slow
def test_an_agent_may_change_rows_and_a_reader_nothing(postgres_url: str) -> None:
    open_store(postgres_url).close()
    owner = psycopg.connect(postgres_url, autocommit=True)
    script = (ROOT / "deploy/postgres/roles.sql").read_bytes()
    users = ("try_agent", "try_reader")
    for _ in range(2):
        owner.execute(script)
    for user in users:
        role = user.replace("try", "mentorgrad")
        owner.execute(f"CREATE ROLE {user} LOGIN IN ROLE {role}".encode())
    url = sa.make_url(postgres_url)
    agent, reader = (url.set(username=user).render_as_string(hide_password=False) for user in users)
    try:
        with closing(open_store(agent, migrate=False)) as store:
            run_id = store.create(Created())[0].run_id
            store.claim(run_id, "w", timedelta(minutes=1))
            store.check_writable()
            engine = dialects.engine_of(dialects.parse(agent))
            with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError):
                connection.exec_driver_sql("CREATE TABLE mine (x int)")
            with engine.connect() as connection, pytest.raises(sa.exc.ProgrammingError):
                connection.exec_driver_sql("UPDATE mentorgrad_schema SET version_num = '1'")
            engine.dispose()
        with closing(open_store(reader, read_only=True)) as store:
            assert store.get_run(run_id).state is RunState.RUNNING
        with pytest.raises(InvalidInput, match="permission denied"):
            open_store(reader, migrate=False)
    finally:
        for role in (*users, "mentorgrad_agent", "mentorgrad_reader"):
            owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
        owner.close()
