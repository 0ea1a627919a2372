"""Lists of runs: every filter and every order against all runs, read one by one."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.event import Created, Finished
from mentorgrad.domain.objective import CausalPrompt, Function, LabelPrompt
from mentorgrad.domain.query import FieldFilter, RunFilter, RunOrder, TextSearch
from mentorgrad.domain.run import Run, RunResult, RunState, Score
from mentorgrad.domain.spec import DataFiles, MentorChoice, Optimizer, RunSpec, Task
from mentorgrad.errors import InvalidInput
from mentorgrad.serialization import to_dict
from run_store import name_search, run_lists, sql_reader
from run_store.open import open_store
from run_store.protocols import RunStore
from run_store.visibility import EVERYTHING, OnBehalf
from tests.support.event_maker import EventMaker

COUNT = 60
VIEWERS = (EVERYTHING, OnBehalf("alice", "vision"), OnBehalf("bob", ""), OnBehalf("nobody", ""))
OWN_DATA = DataFiles("rows.csv", text_field="said")


def spec(chance: random.Random) -> RunSpec:
    own = chance.random() < 0.3
    return RunSpec(
        chance.choice((LabelPrompt(), LabelPrompt(n_tokens=4), CausalPrompt(), Function())),
        Task("own", OWN_DATA, "what", ("a", "b")) if own else Task(shots=chance.choice((8, 16))),
        Optimizer(
            learning_rate=chance.choice((0.05, 0.01, 1.0)), batch_size=chance.choice((8, 32))
        ),
        mentor=MentorChoice(
            chance.choice(("none", "small")), options={"k": 3} if chance.random() < 0.5 else {}
        ),
        seed=chance.randrange(20),
        checkpoint_interval=timedelta(seconds=chance.choice((0.5, 10))),
        name=chance.choice(("", "Plain tuning", "100%_Ünique", "x")),
        labels={key: chance.choice("ab") for key in ("team", "x") if chance.random() < 0.5},
    )


def filled(store: RunStore) -> list[Run]:
    """Runs of several owners in all states, some of them edited; returns them, oldest first."""
    chance = random.Random(0)
    for _ in range(COUNT):
        view = store.seen_by(
            chance.choice((*VIEWERS[:3], OnBehalf("mate", "vision"), OnBehalf("carol", "")))
        )
        experiment = chance.choice(("", "", "e1"))
        run, _ = view.create(Created(spec(chance)), experiment_id=experiment)
        if chance.random() < 0.8:
            execute(store, run.run_id, chance)
        if chance.random() < 0.3:
            update = RunUpdate({"team": chance.choice("ab")}, ("x",), chance.choice(("", "A Note")))
            store.update_run(run.run_id, update)
    return list(store.list_runs(order=RunOrder.OLDEST, page_size=1000))


def execute(store: RunStore, run_id: str, chance: random.Random) -> None:
    lease = store.claim(run_id, "worker", timedelta(minutes=1))
    make = EventMaker(run_id, lease.last_seq, lease.attempt)
    loss = chance.choice((0.25, 0.5, 0.5, 1.5, math.inf))
    events = [make(make.scored(0, loss))]
    match chance.randrange(5):
        case 0:
            pass  # goes on
        case 1:
            store.append(run_id, lease.attempt, events)
            store.transition(run_id, RunState.INTERRUPTED)
            return
        case 2:
            events.append(make(Finished(RunState.FAILED, error="why")))
        case _:
            test = Score(chance.choice((0.3, 0.6)), chance.choice((0.5, None, math.nan)), 10)
            events.append(make(Finished(RunState.SUCCEEDED, RunResult(test=test))))
    store.append(run_id, lease.attempt, events)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunStore]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('lists')}/runs.db"
    else:
        url = request.getfixturevalue("module_postgres_url")
    found = open_store(url)
    yield found
    found.close()


@pytest.fixture(scope="module")
def there(store: RunStore) -> list[Run]:
    return filled(store)


# -- what a filter means ------------------------------------------------------------------------


def value_at(run: Run, path: str) -> Any:
    """The value of a field; LookupError if the run has no such field."""
    if path == "best_selection_loss":
        return run.best_selection_loss
    found: Any = {"spec": to_dict(run.spec)}
    if run.result is not None:
        found["result"] = to_dict(run.result)
    *parts, last = path.split(".")
    for part in parts:
        found = found[part]
    return found.get(last)


def same(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return set(value) == {text}  # a union
    if isinstance(value, (bool, str)) or value is None:
        return {True: "true", False: "false", None: ""}.get(value, value) == text
    return math.isfinite(float(value)) and float(value) == float(text)


def meets(run: Run, item: FieldFilter) -> bool:
    try:
        value = value_at(run, item.field)
    except LookupError:
        return False
    if item.equals is not None:
        return same(value, item.equals)
    if value is None or not math.isfinite(float(value)):
        return False
    low, high = item.at_least, item.at_most
    return (low is None or value >= low) and (high is None or value <= high)


def matches(run: Run, experiment: set[str], wanted: RunFilter, how: TextSearch | None) -> bool:
    objective = next(iter(to_dict(run.spec)["objective"]))
    texts = [run.spec.name, run.note, *(part for pair in run.labels.items() for part in pair)]
    if how is TextSearch.PREFIX:
        is_found = run.spec.name.casefold().startswith(wanted.text.casefold())
    else:
        is_found = any(wanted.text.casefold() in text.casefold() for text in texts)
    assert run.created_at is not None
    return (
        (not wanted.states or run.state in wanted.states)
        and wanted.objective in ("", objective)
        and wanted.task in ("", "" if objective == "function" else run.spec.task.name)
        and wanted.mentor in ("", run.spec.mentor.name)
        and wanted.name_contains.casefold() in run.spec.name.casefold()
        and wanted.labels.items() <= run.labels.items()
        and (wanted.created_after is None or run.created_at >= wanted.created_after)
        and (wanted.created_before is None or run.created_at < wanted.created_before)
        and wanted.owner in ("", run.owner)
        and (not wanted.experiment_id or run.run_id in experiment)
        and all(meets(run, item) for item in wanted.fields)
        and (not wanted.text or is_found)
        and re.search(wanted.name_pattern, run.spec.name, re.IGNORECASE) is not None
        and (not wanted.run_ids or run.run_id in wanted.run_ids)
    )


def seen(run: Run, viewer: OnBehalf) -> bool:
    mine = run.owner in ("", viewer.owner) or (viewer.project and run.project == viewer.project)
    return viewer.is_admin or bool(mine)


def expected(runs: list[Run], order: RunOrder, is_wanted: Any, viewer: OnBehalf) -> list[str]:
    found = [run for run in runs if seen(run, viewer) and is_wanted(run)]
    if order is RunOrder.NEWEST:
        found = found[::-1]
    elif order is RunOrder.BEST_SELECTION_LOSS:
        none = math.inf
        found.sort(
            key=lambda run: (
                none if run.best_selection_loss is None else run.best_selection_loss,
                run.run_id,
            )
        )
    return [run.run_id for run in found]


FIELDS = st.sampled_from(
    (
        FieldFilter("spec.seed", "3"),
        FieldFilter("spec.seed", "0"),
        FieldFilter("spec.seed", at_least=5),
        FieldFilter("spec.seed", at_most=5),
        FieldFilter("spec.seed", at_least=2, at_most=2.5),
        FieldFilter("spec.seed", at_least=100),
        FieldFilter("spec.optimizer.learning_rate", "0.05"),
        FieldFilter("spec.optimizer.learning_rate", "1"),
        FieldFilter("spec.optimizer.learning_rate", at_least=0.02),
        FieldFilter("spec.optimizer.batch_size", "8.0"),
        FieldFilter("spec.optimizer.directions", ""),
        FieldFilter("spec.objective", "causal_prompt"),
        FieldFilter("spec.objective.label_prompt.n_tokens", "8"),
        FieldFilter("spec.objective.label_prompt.n_tokens", at_most=6),
        FieldFilter("spec.objective.label_prompt.n_tokens", at_most=8),
        FieldFilter("spec.task.data.text_field", "said"),
        FieldFilter("spec.task.data.label_field", "label"),
        FieldFilter("spec.mentor.options.k", "3"),
        FieldFilter("spec.mentor.options.k", at_least=1),
        FieldFilter("spec.mentor.required", "false"),
        FieldFilter("spec.mentor.fallback", "none"),
        FieldFilter("spec.checkpoint_interval", "0.5"),
        FieldFilter("spec.checkpoint_interval", at_least=1),
        FieldFilter("spec.name", "Plain tuning"),
        FieldFilter("best_selection_loss", "0.5"),
        FieldFilter("best_selection_loss", at_most=0.6),
        FieldFilter("best_selection_loss", at_least=0.4),
        FieldFilter("result.test.loss", at_least=0.5),
        FieldFilter("result.test.accuracy", "0.5"),
    )
)


@st.composite
def filters(draw: Any, there: list[Run]) -> RunFilter:
    times = st.none() | st.sampled_from([run.created_at for run in there])
    rarely = lambda values: st.sampled_from((*[values[0]] * 3, *values))  # noqa: E731
    return RunFilter(
        states=draw(rarely(((), (RunState.SUCCEEDED,), (RunState.RUNNING, RunState.FAILED)))),
        objective=draw(rarely(("", "function", "label_prompt"))),
        task=draw(rarely(("", "tickets", "own"))),
        mentor=draw(rarely(("", "small", "none"))),
        name_contains=draw(rarely(("", "TUN", "%_ü", "_", "nothing"))),
        labels=draw(rarely(({}, {"team": "a"}, {"team": "b", "x": "a"}))),
        created_after=draw(times),
        created_before=draw(times),
        owner=draw(rarely(("", "alice", "carol"))),
        experiment_id=draw(rarely(("", "e1"))),
        fields=tuple(draw(st.lists(FIELDS, max_size=2))),
        text=draw(rarely(("", "team", "note", "plain", "Pl", '100%_"'))),
        name_pattern=draw(rarely(("", "^p.*g$", "lain T?t", "[^a-z]$|^x"))),
        run_ids=draw(st.just(()) | st.just((*(run.run_id for run in there[::3]), "x", ""))),
    )


@pytest.mark.parametrize("few", [run_lists.FEW, 0], ids=["gathered", "walked"])
def test_any_filter_in_any_order_is_what_it_says(
    store: RunStore, there: list[Run], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lists, "FEW", few)
    experiment = {run.run_id for run in store.list_runs(RunFilter(experiment_id="e1"))}
    assert 0 < len(experiment) < COUNT

    # The same code runs on both databases, but for a few statements.
    @settings(max_examples=30 if store.url.startswith("sqlite") else 12)
    @given(filters(there), st.sampled_from(RunOrder), st.sampled_from(VIEWERS))
    def check(wanted: RunFilter, order: RunOrder, viewer: OnBehalf) -> None:
        view, found, token = store.seen_by(viewer), [], ""
        while True:
            page = view.list_runs(wanted, order, 7, token)
            found += [run.run_id for run in page]
            token = page.next_page_token
            if not token:
                break
        how = page.text_search
        assert (how is None) == (not wanted.text)
        assert found == expected(
            there, order, lambda run: matches(run, experiment, wanted, how), viewer
        )

    check()


def test_a_search_by_a_pattern_goes_on_where_it_has_stopped(
    store: RunStore, there: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(name_search, "MAX_NAMES", 9)
    monkeypatch.setattr(sql_reader, "MAX_NAMES", 9)
    for order in RunOrder:
        found, cuts, token = [], 0, ""
        while True:
            page = store.list_runs(RunFilter(name_pattern="^x$"), order, 4, token)
            found += [run.run_id for run in page]
            cuts += page.is_cut
            token = page.next_page_token
            if not token:
                break
        assert found == expected(there, order, lambda run: run.spec.name == "x", EVERYTHING)
        assert 0 < cuts <= COUNT // 9


def test_a_text_is_found_in_parts_where_there_is_an_index(store: RunStore) -> None:
    how = store.list_runs(RunFilter(text="lain tun")).text_search
    is_sqlite = store.url.startswith("sqlite")
    assert how in ({TextSearch.FULL_TEXT} if is_sqlite else {TextSearch.TRIGRAM, TextSearch.PREFIX})
    assert store.list_runs(RunFilter(text="pl")).text_search is TextSearch.PREFIX


@pytest.mark.parametrize(
    ("item", "field", "said"),
    [
        (FieldFilter("spec.optimizer.learning_rte", "1"), "field", "spec.optimizer.learning_rate"),
        (FieldFilter("optimizer.kind", "sgd"), "field", "did you mean spec.optimizer.name"),
        (FieldFilter("spec.seed"), "", "must have `equals`, `at_least` or `at_most`"),
        (FieldFilter("spec.seed", "x"), "equals", "must be a number, not 'x'"),
        (FieldFilter("spec.seed", "1", at_least=2), "equals", "cannot be combined with a range"),
        (FieldFilter("spec.name", at_most=2), "at_most", "requires a field with numbers"),
        (
            FieldFilter("spec.mentor.mode", "often"),
            "equals",
            "must be one of: blocking, overlapped",
        ),
        (FieldFilter("spec.seed", at_least=math.nan), "at_least", "must be a finite number"),
    ],
)
def test_an_impossible_condition_is_refused_by_its_path(
    store: RunStore, item: FieldFilter, field: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        store.list_runs(RunFilter(fields=(FieldFilter("spec.seed", "1"), item)))
    (violation,) = caught.value.violations
    assert violation.field == ("filter.fields[1]." + field).rstrip(".")
    assert said in violation.description


def test_a_run_that_is_deleted_is_in_no_list(store: RunStore) -> None:
    run, _ = store.create(Created(RunSpec(name="to be deleted", labels={"gone": "soon"})))
    for wanted in (RunFilter(text="to be"), RunFilter(labels={"gone": "soon"})):
        assert [found.run_id for found in store.list_runs(wanted)] == [run.run_id]
    store.transition(run.run_id, RunState.CANCELLED)
    store.delete(run.run_id)
    for wanted in (RunFilter(text="to be"), RunFilter(labels={"gone": "soon"})):
        assert not store.list_runs(wanted).runs
