"""What SQLAlchemy does for every statement, done for those that go past it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from mentorgrad.domain.event import Created
from mentorgrad.errors import Unavailable
from run_store import dialects, row_inserts
from run_store.open import open_store
from run_store.tables import events, runs

MINUTE = timedelta(minutes=1)


@pytest.mark.slow
def test_a_bulk_insert_that_times_out_is_unavailable(postgres_url: str, event_maker: Any) -> None:
    url = sa.make_url(postgres_url)
    options = f"{url.query.get('options', '')} -c lock_timeout=300"
    impatient = url.update_query_dict({"options": options})
    store = open_store(impatient.render_as_string(hide_password=False))
    run, _ = store.create(Created())
    lease = store.claim(run.run_id, "worker", MINUTE)
    make = event_maker(run.run_id, lease.last_seq, lease.attempt)
    chunk = [make(make.segment(step, step)) for step in range(1, 20)]
    other = dialects.engine_of(dialects.parse(postgres_url))
    with other.begin() as connection:
        connection.execute(sa.text("LOCK TABLE events IN SHARE MODE"))
        with pytest.raises(Unavailable, match="lock timeout") as caught:
            store.append(run.run_id, 1, chunk)
        assert caught.value.retryable
        assert store.get_run(run.run_id).last_seq == lease.last_seq
    assert store.append(run.run_id, 1, chunk) == make.seq
    other.dispose()
    store.close()


@pytest.mark.slow
def test_a_bulk_insert_on_a_lost_connection_gives_that_connection_up(postgres_url: str) -> None:
    open_store(postgres_url).close()
    engine = dialects.engine_of(dialects.parse(postgres_url))
    rows = [{"run_id": "a", "seq": seq} for seq in range(20)]
    with engine.connect() as connection, engine.connect() as other:
        backend = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        with pytest.raises(sa.exc.OperationalError) as caught:
            row_inserts.insert_rows(connection, events, rows)
        assert caught.value.connection_invalidated
        assert connection.invalidated
    engine.dispose()


@pytest.mark.slow
def test_a_connection_that_broke_while_idle_is_replaced_and_no_other_is_asked(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = sa.text("SELECT pg_backend_pid()")
    engine = dialects.engine_of(dialects.parse(postgres_url))
    other = dialects.engine_of(dialects.parse(postgres_url))

    def backend() -> int:
        with engine.connect() as connection:
            return int(connection.execute(asked).scalar_one())

    def end(pid: int) -> None:
        with other.connect() as connection:
            connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    pings: list[Any] = []
    ping = engine.dialect.do_ping
    monkeypatch.setattr(engine.dialect, "do_ping", lambda c: pings.append(c) or ping(c))
    first = backend()
    assert backend() == first
    assert pings == []
    end(first)
    assert backend() != first
    engine.dispose()
    other.dispose()


@pytest.mark.slow
def test_a_bulk_insert_of_a_row_that_is_there_is_an_integrity_error(postgres_url: str) -> None:
    store = open_store(postgres_url)
    run, _ = store.create(Created())
    store.close()
    engine = dialects.engine_of(dialects.parse(postgres_url))
    with engine.connect() as connection:
        row = dict(connection.execute(sa.select(runs)).mappings().one())
        names = [name for name in row if type(runs.c[name].type) in row_inserts._COPY_TYPES]
        kept = {name: row[name] for name in names if row[name] is not None}
        with pytest.raises(sa.exc.IntegrityError):
            row_inserts.insert_rows(connection, runs, [kept] * 20)
        assert not connection.invalidated
    engine.dispose()
    assert run.run_id
