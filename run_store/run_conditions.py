"""The conditions of a list of runs, each of which an index answers.

SQL of this module and of `run_lists` calls the posting of the run that is looked at ``d``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.engine import Connection

from mentorgrad.domain.name_pattern import compiled
from mentorgrad.domain.query import FieldFilter, RunFilter, TextSearch
from mentorgrad.domain.run_fields import LOSS, RunField, canonical, field_of
from mentorgrad.field_limits import check
from run_store import invariants, paging, run_terms, text_search
from run_store.sql_text import Sql, exists
from run_store.visibility import Viewer

MAX_BRANCHES = 16
"""Maximum terms whose runs are read in order by themselves, and then merged."""


@dataclass(frozen=True)
class Range:
    """A range of numbers; None: no bound."""

    low: float | None = None
    """Lower bound, inclusive."""
    high: float | None = None
    """Upper bound, inclusive."""

    def of(self, sql: Sql, value: str) -> list[str]:
        """The conditions that a value lies in it."""
        found = [] if self.low is None else [f"{value} >= {sql.bind(self.low)}"]
        return found if self.high is None else [*found, f"{value} <= {sql.bind(self.high)}"]

    def __bool__(self) -> bool:
        return (self.low, self.high) != (None, None)

    def __contains__(self, number: float) -> bool:
        return (self.low is None or number >= self.low) and (
            self.high is None or number <= self.high
        )


@dataclass(frozen=True)
class Condition:
    """A condition on runs."""

    test: str
    """Whether the run of ``d`` meets it, by a few rows of an index."""
    ids: str = ""
    """Query for the run_ids that may meet it, by an index; empty: there is no such index."""
    terms: tuple[int, ...] = ()
    """The runs with any of these terms meet it, and no others; empty: it is another condition."""


@dataclass(frozen=True)
class Conditions:
    """What a list is restricted to."""

    all: tuple[Condition, ...] = ()
    """Conditions that runs meet all."""
    created: Range = Range()
    """Range of creation times, microseconds."""
    loss: Range = Range()
    """Range of selection losses."""
    text_search: TextSearch | None = None
    """How a text is searched for; None: no text is."""


def any_of(sql: Sql, terms: Sequence[int]) -> Condition:
    """The condition that a run has any of some terms."""
    named = sql.bind_all(terms)
    same = f"p.run_id = d.run_id AND p.term_id IN {named}"
    if len(terms) == 1:  # by the primary key, in whose order many tests follow each other
        same += " AND p.created_at = d.created_at"
    return Condition(
        exists(f"SELECT 1 FROM run_terms p WHERE {same}"),
        f"SELECT p.run_id FROM run_terms p WHERE p.term_id IN {named}",
        tuple(terms),
    )


def conditions_of(
    sql: Sql, connection: Connection, wanted: RunFilter, viewer: Viewer
) -> Conditions:
    """The conditions of a filter, and of what a viewer sees.

    Raises:
        InvalidInput: The filter is not valid: for example, it names no field of runs.
    """
    check(wanted, "filter")
    created = Range(
        None if wanted.created_after is None else paging.micros(wanted.created_after),
        None if wanted.created_before is None else paging.micros(wanted.created_before) - 1,
    )
    found = [*_equal(sql, wanted), *_seen(sql, viewer)]
    how = None
    if wanted.text:
        text = wanted.text.casefold()
        how = text_search.search_of(connection, text)
        found.append(
            Condition(
                text_search.matches(sql, how, "d.run_id", text), text_search.found(sql, how, text)
            )
        )
    if wanted.name_contains:
        found.append(_named(sql, connection, wanted.name_contains.casefold()))
    if wanted.name_pattern:
        found += _with_literal(sql, connection, compiled(wanted.name_pattern).literal)
    if wanted.run_ids:
        found.append(_ids(sql, wanted.run_ids))
    result = Conditions(tuple(found), created, text_search=how)
    for item in wanted.fields:
        result = _with_field(sql, result, item)
    return result


def _seen(sql: Sql, viewer: Viewer) -> Iterator[Condition]:
    if not viewer.is_admin:
        terms = {run_terms.term_id("owner", owner) for owner in ("", viewer.owner)}
        if viewer.project:
            terms.add(run_terms.term_id("project", viewer.project))
        yield any_of(sql, sorted(terms))


def _equal(sql: Sql, wanted: RunFilter) -> Iterator[Condition]:
    for key, value in wanted.labels.items():
        yield any_of(sql, [run_terms.of_label(key, value)])
    for field, value in (
        ("experiment", wanted.experiment_id),
        ("owner", wanted.owner),
        ("spec.objective", wanted.objective),
        ("task", wanted.task),
        ("mentor", wanted.mentor),
    ):
        if value:
            yield any_of(sql, [run_terms.term_id(field, value)])
    if wanted.states:
        yield any_of(sql, sorted({run_terms.of_state(state) for state in wanted.states}))


def _ids(sql: Sql, given: Sequence[str]) -> Condition:
    ids = sorted({run_id for run_id in given if invariants.is_run_id(run_id)})
    if not ids:
        return _NONE
    named = sql.bind_all(ids)
    return Condition(
        f"d.run_id IN {named}", f"SELECT r.run_id FROM runs r WHERE r.run_id IN {named}"
    )


def _named(sql: Sql, connection: Connection, text: str) -> Condition:
    how = text_search.search_of(connection, text)
    test = text_search.matches(sql, None, "d.run_id", text, name_only=True)
    if how is TextSearch.PREFIX:  # no index finds other parts of names
        return Condition(test)
    return Condition(test, text_search.found(sql, how, text, name_only=True))


def _with_literal(sql: Sql, connection: Connection, literal: str) -> list[Condition]:
    """The condition that a name has a part of a pattern, where an index finds it; `name_search`
    matches the pattern itself."""
    found = _named(sql, connection, literal)
    return [found] if found.ids else []


_NONE = Condition("1 = 0", "SELECT r.run_id FROM runs r WHERE 1 = 0")


# -- fields -------------------------------------------------------------------------------------


def _with_field(sql: Sql, found: Conditions, item: FieldFilter) -> Conditions:
    text = None if item.equals is None else canonical(item.field, item.equals)
    if item.field == LOSS:
        exact = None if text is None else float(text)
        low, high = (item.at_least, item.at_most) if exact is None else (exact, exact)
        return replace(found, loss=_both(found.loss, Range(low, high)))
    field = field_of(item.field)
    assert field is not None  # noqa: S101 - the filter was checked
    if text is not None and text != field.default:
        more = [any_of(sql, [run_terms.of_field(item.field, text)])]
    elif text is not None:
        more = [*_having(sql, field), Condition(f"NOT {_recorded(sql, item.field)}")]
    else:
        more = _within(sql, item, field)
    return replace(found, all=(*found.all, *more))


def _both(one: Range, other: Range) -> Range:
    lows = [low for low in (one.low, other.low) if low is not None]
    highs = [high for high in (one.high, other.high) if high is not None]
    return Range(max(lows, default=None), min(highs, default=None))


def _having(sql: Sql, field: RunField) -> Iterator[Condition]:
    """The conditions that a run has the field at all."""
    for path, value in field.within:
        yield any_of(sql, [run_terms.of_field(path, value)])


def _recorded(sql: Sql, path: str) -> str:
    """Condition that a value of the field is recorded: the run has not the default."""
    return _among(sql, f"f.field = {sql.bind(path)}")


def _within(sql: Sql, item: FieldFilter, field: RunField) -> list[Condition]:
    """The conditions that the value of a field lies in a range."""
    bounds = Range(item.at_least, item.at_most)
    numbers = [f"f.field = {sql.bind(item.field)}", "f.number IS NOT NULL"]
    where = " AND ".join([*numbers, *bounds.of(sql, "f.number")])
    if field.default and float(field.default) in bounds:
        test = f"({_among(sql, where)} OR NOT {_recorded(sql, item.field)})"
        return [*_having(sql, field), Condition(test)]
    few = sql.execute(f"{_TERMS} WHERE {where} LIMIT {MAX_BRANCHES + 1}").scalars().all()
    if len(few) <= MAX_BRANCHES:
        return [any_of(sql, few) if few else _NONE]
    of_terms = "FROM field_terms f CROSS JOIN run_terms p WHERE p.term_id = f.term_id"
    return [Condition(_among(sql, where), f"SELECT p.run_id {of_terms} AND {where}")]


def _among(sql: Sql, where: str) -> str:
    """Condition that a value of a field is recorded for a run, under conditions on ``f``. All terms
    of the run are looked at: they are few."""
    values = sql.execute(
        f"SELECT count(*) FROM ({_TERMS} WHERE {where} LIMIT {_MANY_VALUES}) AS n"
    ).scalar_one()
    of_run = "SELECT 1 FROM run_terms p"
    if values < _MANY_VALUES:
        # Adding zero keeps the databases from looking up each of the terms.
        terms = f"{_TERMS} WHERE {where}"
        return exists(f"{of_run} WHERE p.run_id = d.run_id AND p.term_id + 0 IN ({terms})")
    # SQLite reads the left side of a CROSS JOIN first.
    return exists(
        f"{of_run} CROSS JOIN field_terms f "
        f"WHERE p.run_id = d.run_id AND f.term_id = p.term_id AND {where}"
    )


_TERMS = "SELECT f.term_id FROM field_terms f"
_MANY_VALUES = 2_000
"""Number of values from which a condition looks up those of each run, instead of reading them
all first."""
