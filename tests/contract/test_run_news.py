"""What every `NewsReader` tells of many runs at once."""

from __future__ import annotations

from typing import Any

from mentorgrad.domain.annotation import RunUpdate
from mentorgrad.domain.event import Created
from mentorgrad.domain.query import EventQuery
from mentorgrad.domain.run import RunState
from run_store import sql_news
from run_store.visibility import OnBehalf
from tests.contract.test_store_care import end, recorded


def test_the_news_of_all_runs_are_read_at_once(opened: Any, monkeypatch: Any) -> None:
    store = opened.store
    monkeypatch.setattr(sql_news, "_AT_ONCE", 7)  # so that there are several queries for events
    ended = recorded(store, segments=5)
    running = recorded(store, ended=False, segments=2)
    queued = store.create(Created())[0].run_id
    store.update_run(queued, RunUpdate(note="to be read"))
    seen = {ended: 3, running: 5, queued: 0, "gone": 0, "no id\0": 2}
    found = store.news(seen, 100)
    assert set(found) == {ended, running, queued}
    assert [(found[run].last_seq, found[run].state) for run in (ended, running, queued)] == [
        (9, RunState.SUCCEEDED),
        (5, RunState.RUNNING),
        (1, RunState.QUEUED),
    ]
    for run_id in found:
        after = EventQuery(after_seq=seen[run_id])
        assert list(found[run_id].events) == list(store.stored_events(run_id, after))
    newest = store.news({ended: 0, running: 0}, 2)
    assert [[e.seq for e in newest[run].events] for run in (ended, running)] == [[8, 9], [4, 5]]
    end(store, running)
    again = store.news({run: news.last_seq for run, news in found.items()}, 100)
    assert [len(again[run].events) for run in (ended, running, queued)] == [0, 1, 0]
    assert again[running].state is RunState.SUCCEEDED
    assert store.news({}, 100) == {}


def test_others_runs_have_no_news(opened: Any) -> None:
    alice = opened.store.seen_by(OnBehalf("alice", "lab"))
    run_id = alice.create(Created())[0].run_id
    for viewer, is_seen in ((OnBehalf("bob", ""), False), (OnBehalf("bob", "lab"), True)):
        assert bool(opened.store.seen_by(viewer).news({run_id: 0}, 1)) == is_seen
