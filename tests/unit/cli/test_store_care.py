"""`mentorgrad store gc|check|backup|restore|vacuum`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mentorgrad.domain.event import Created
from run_store.open import open_store
from tests.support import toy_run

Invoke = Callable[..., Any]


@pytest.fixture
def two_runs(store_url: str) -> str:
    """The store of the toy run, with a queued run."""
    with closing(open_store(store_url)) as store:
        store.create(Created())
    return store_url


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`two_runs` for all that change nothing."""
    url = f"sqlite:///{tmp_path_factory.mktemp('unchanged')}/runs.sqlite"
    with closing(open_store(url)) as store:
        store.import_run(toy_run.toy_log())
        store.create(Created())
    return url


def said(invoke: Invoke, url: str, *arguments: str, code: int = 0) -> Any:
    result = invoke("store", *arguments, "--store", url)
    assert result.exit_code == code, result.stderr
    return result


def runs_of(url: str) -> list[Any]:
    with closing(open_store(url)) as store:
        return list(store.list_runs().runs)


def test_a_dry_run_says_what_would_go_and_drops_nothing(invoke: Invoke, two_runs: str) -> None:
    result = said(invoke, two_runs, "gc", "--older-than", "1d", "--all", "--dry-run")
    heading, row = (line.split("\t") for line in result.stdout.splitlines())
    assert heading == ["run", "name", "owner", "state", "ended", "drops", "bytes"]
    (toy,) = [run for run in runs_of(two_runs) if run.spec.name == "toy"]
    assert row[:2] + row[3:4] + row[5:6] == [toy.run_id, "toy", "succeeded", "everything"]
    assert "would drop" in result.stderr
    as_json = json.loads(said(invoke, two_runs, "gc", "--all", "--dry-run", "--json").stdout)
    assert as_json["dry_run"] is True
    (dropped,) = as_json["dropped"]
    assert dropped["bytes"] == as_json["bytes"] == int(row[6])
    assert (dropped["run_id"], dropped["level"]) == (toy.run_id, "run")
    with closing(open_store(two_runs)) as store:
        assert store.trajectory(toy.run_id).parameters is not None


def test_raw_data_go_first_and_then_the_run(invoke: Invoke, two_runs: str) -> None:
    result = said(invoke, two_runs, "gc", "--raw", "--state", "succeeded")
    assert "raw data" in result.stdout
    assert "dropped 120 B of 1 run" in result.stderr
    assert [run.raw_dropped_at is None for run in runs_of(two_runs)] == [True, False]
    toy = runs_of(two_runs)[1].run_id
    assert "raw data dropped" in invoke("runs", "show", toy, "--store", two_runs).stdout
    said(invoke, two_runs, "gc", "--label", "a=b", "--task", "t", "--keep-per-owner", "1KiB")
    said(invoke, two_runs, "gc", "--keep", "0", code=2)
    said(invoke, two_runs, "gc", "--keep", "0", "--all")
    assert [run.state.value for run in runs_of(two_runs)] == ["queued"]
    with closing(open_store(two_runs)) as store:
        actions = {(entry.action, entry.record_id) for entry in store.list_audit().entries}
    assert len(actions) == 1
    assert {action for action, _ in actions} == {"store gc"}
    result = said(invoke, two_runs, "gc", "--older-than", "1s")
    assert result.stderr == "nothing to drop: no ended run meets the policy\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--all says that all runs are meant"),
        (["--raw"], "--all says that all runs are meant"),
        (["--older-than", "1s"], "would delete the only ended run of the store"),
        (["--older-than", "soon"], "must be a duration such as 36h or 30d, not 'soon'"),
        (["--older-than", "999999999w"], "too long"),
        (["--keep", "10GB"], "must be a size such as 500MiB or 10GiB"),
        (["--keep-per-owner", "-1"], "must be a size"),
        (["--state", "running"], "running runs are never dropped"),
        (["--state", "runing"], "must be one of: queued"),
        (["--field", "spec.optimiser.name=sgd"], "did you mean spec.optimizer.name"),
        (["--label", "x"], "must be NAME=VALUE"),
    ],
)
def test_what_makes_no_sense_is_refused(
    invoke: Invoke, unchanged: str, arguments: list[str], words: str
) -> None:
    result = said(invoke, unchanged, "gc", *arguments, code=2)
    assert words in result.stderr
    assert len(runs_of(unchanged)) == 2


def test_a_store_that_is_not_ours_stays_as_it_is(invoke: Invoke, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.sqlite"
    with closing(sqlite3.connect(foreign)) as other:
        other.execute("CREATE TABLE runs (run_id TEXT)")
    before = foreign.read_bytes()
    copy = str(tmp_path / "copy")
    for command in (["gc", "--all"], ["check"], ["vacuum"], ["backup", copy]):
        result = said(invoke, f"sqlite:///{foreign}", *command, code=2)
        assert "another application" in result.stderr
        said(invoke, f"sqlite:///{tmp_path}/none.sqlite", *command, code=2)
    assert foreign.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["foreign.sqlite"]


def test_a_check_lists_what_is_wrong(invoke: Invoke, two_runs: str) -> None:
    assert said(invoke, two_runs, "check").stderr == "nothing is wrong\n"
    with closing(sqlite3.connect(two_runs.removeprefix("sqlite:///"))) as other, other:
        other.execute("DELETE FROM events WHERE seq = 3")
    result = said(invoke, two_runs, "check", "--quick", code=1)
    assert result.stdout.splitlines()[0] == "check\trecord\tfinding"
    assert "without gaps" in result.stdout
    found = json.loads(said(invoke, two_runs, "check", "--json", code=1).stdout)["findings"]
    assert "log" in {item["check"] for item in found}


def test_a_backup_is_restored_into_a_new_store(
    invoke: Invoke, two_runs: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite"
    as_json = json.loads(said(invoke, two_runs, "backup", str(copy), "--json").stdout)
    assert as_json == {"file": str(copy), "bytes": copy.stat().st_size}
    said(invoke, two_runs, "backup", str(copy), code=2)
    said(invoke, two_runs, "backup", str(copy), "--force")
    assert "only into an empty store" in said(invoke, two_runs, "restore", str(copy), code=1).stderr
    new = f"sqlite:///{tmp_path}/new.sqlite"
    said(invoke, new, "restore", str(copy))
    assert runs_of(new) == runs_of(two_runs)
    assert "smaller" in said(invoke, new, "vacuum").stdout


def test_the_lines_for_postgres_have_no_password(invoke: Invoke) -> None:
    url = "postgresql://me:hunter2@db.lan:5433/runs?sslmode=require&password=hunter2"
    result = said(invoke, url, "backup", "my copy.dump")
    assert result.stdout == (
        "pg_dump --format=custom --no-owner --no-privileges '--file=my copy.dump' "
        "'--dbname=host=db.lan port=5433 user=me dbname=runs sslmode=require'\n"
    )
    assert "Nothing was copied: run this line" in result.stderr
    assert "PGPASSFILE" in result.stderr
    assert "hunter2" not in result.stderr
    as_json = json.loads(said(invoke, url, "backup", "f", "--json").stdout)
    assert "hunter2" not in str(as_json)
    assert "autovacuum" in said(invoke, url, "vacuum", code=2).stderr


@pytest.mark.parametrize("url", ["mysql://me@db.lan/runs", "SQLITE:///runs.sqlite", "runs.sqlite"])
def test_no_line_is_made_for_another_database(invoke: Invoke, url: str) -> None:
    assert "must be a URL such as" in said(invoke, url, "backup", "f", code=2).stderr
