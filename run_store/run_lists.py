"""Statements that read a page of a list of runs, in any order and under any conditions.

Every statement reads from indexes as far as the page needs, in one of two ways:

- *walk*: postings of a term in the list's order, each tested for the other conditions;
- *gather*: all runs of the condition that fewest runs meet, tested for the others and then sorted.

The first reads few rows if many runs meet all conditions, the second if few runs meet one of them.
So the conditions are counted up to a limit. See decision record 41.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mentorgrad.domain.query import RunOrder
from run_store.paging import Cursor
from run_store.run_conditions import MAX_BRANCHES, Condition, Conditions
from run_store.run_terms import ALL, NO_LOSS, UNENDED, of_state
from run_store.sql_text import Sql

FEW = 1_000
"""Number of runs up to which a list gathers them."""

MANY = 10_000
"""Number of runs up to which the runs of a term are counted, to walk those of the rarest one."""

_UNENDED = [of_state(state) for state in UNENDED]


@dataclass(frozen=True)
class _Start:
    """What a list reads first."""

    terms: tuple[int, ...] = (ALL,)
    """Terms whose postings are read."""
    met: Condition | None = None
    """The condition that is met by what is read."""
    ids: str = ""
    """Of the postings, read only those of these runs; empty: all."""
    is_sorted: bool = True
    """Whether postings are read in the list's order: a walk."""


class RunList:
    """A page of a list of runs.

    Args:
        sql: Takes the values of the statement.
        conditions: Conditions of the list.
        order: Order of the list.
        cursor: Where the page starts.
        most: Maximum rows of the statement.
    """

    def __init__(
        self, sql: Sql, conditions: Conditions, order: RunOrder, cursor: Cursor, most: int
    ) -> None:
        self._sql = sql
        self._conditions = conditions
        self._by_loss = order is RunOrder.BEST_SELECTION_LOSS
        self._way, self._beyond = ("DESC", "<") if cursor.descending else ("ASC", ">")
        self._after = cursor.after
        if self._by_loss and cursor.after is not None:
            is_none, loss, run_id = cursor.after
            self._after = (NO_LOSS if is_none else loss, run_id)
        self._limit = sql.bind(most)
        self._no_loss = sql.bind(NO_LOSS)

    def statement(self) -> str:
        """Statement with the columns key, run_id and projection. The key is the creation time in
        microseconds, or the selection loss, infinite if there is none."""
        return self._page_with("runs.projection", "JOIN runs ON runs.run_id = page.run_id")

    def names(self) -> str:
        """Statement with the columns key, as above, run_id and case-folded name."""
        # Not joined, since then all names might be read before the first row.
        name = "SELECT t.name FROM run_texts t WHERE t.run_id = page.run_id"
        return self._page_with(f"coalesce(({name}), '')")

    def _page_with(self, column: str, joined: str = "") -> str:
        branches = list(self._branches(self._start()))
        page = branches[0]
        if len(branches) > 1:
            # UNION, since a run may have several of the terms.
            union = " UNION ".join(f"SELECT key, run_id FROM ({one}) AS b" for one in branches)
            page = f"{union} {self._ordered('key', 'run_id')}"
        return (
            f"SELECT page.key, page.run_id, {column} FROM ({page}) AS page {joined} "
            f"ORDER BY page.key {self._way}, page.run_id {self._way}"
        )

    def _ordered(self, key: str, run_id: str) -> str:
        return f"ORDER BY {key} {self._way}, {run_id} {self._way} LIMIT {self._limit}"

    # -- where to start ---------------------------------------------------------------------

    def _start(self) -> _Start:
        found, ranges = self._conditions.all, list(self._ranges())
        if not ranges and not found:
            return _Start()
        if not ranges and len(found) == 1 and 0 < len(found[0].terms) <= MAX_BRANCHES:
            return _Start(found[0].terms, found[0])
        counts = self._counts([item for item in [*found, *ranges] if item.ids])
        for least, count in sorted(counts, key=lambda pair: pair[1]):
            if count < FEW and len(least.terms) == 1:
                return _Start(least.terms, least, is_sorted=False)
            if count < FEW:
                return _Start(ids=least.ids, is_sorted=False)
            if 0 < len(least.terms) <= MAX_BRANCHES:
                return _Start(least.terms, least)
        return _Start()

    def _ranges(self) -> Iterator[Condition]:
        """The ranges that the order's own index does not serve."""
        sql, bounds = self._sql, self._conditions
        if self._by_loss and bounds.created:
            where = _all(f"d.term_id = {sql.bind(ALL)}", *bounds.created.of(sql, "d.created_at"))
            yield Condition("", f"SELECT d.run_id FROM run_terms d WHERE {where}")
        if not self._by_loss and bounds.loss:
            ended = [f"d.term_id = {sql.bind(ALL)}", "d.rank IS NOT NULL"]
            parts = [
                f"SELECT d.run_id FROM run_terms d WHERE {_all(*ended, *self._in_loss('d.rank'))}",
                f"SELECT d.run_id FROM run_terms d WHERE d.term_id IN {sql.bind_all(_UNENDED)} "
                f"AND {_all(*self._in_loss(self._loss_of_unended()))}",
            ]
            yield Condition("", " UNION ALL ".join(parts))

    def _counts(self, conditions: Sequence[Condition]) -> list[tuple[Condition, int]]:
        """How many runs each condition's index names, up to `MANY` or `FEW`."""
        if not conditions:
            return []
        counts = (
            f"(SELECT count(*) FROM (SELECT 1 FROM ({item.ids}) AS i "
            f"LIMIT {MANY if item.terms else FEW}) AS n)"
            for item in conditions
        )
        found = self._sql.execute(f"SELECT {', '.join(counts)}").one()
        return list(zip(conditions, found, strict=True))

    # -- what to read -----------------------------------------------------------------------

    def _branches(self, start: _Start) -> Iterator[str]:
        tests = [item.test for item in self._conditions.all if item is not start.met]
        if not start.is_sorted:
            yield self._gathered(start, tests)
            return
        for term in start.terms:
            found = [f"d.term_id = {self._sql.bind(term)}", *tests]
            if self._by_loss:
                yield self._branch("d.rank", ["d.rank IS NOT NULL", *found])
            else:
                yield self._branch("d.created_at", found)
        if self._by_loss:
            found = [f"d.term_id IN {self._sql.bind_all(_UNENDED)}"]
            found += [item.test for item in self._conditions.all]
            yield self._branch(self._loss_of_unended(), found)

    def _gathered(self, start: _Start, tests: Sequence[str]) -> str:
        found, hint = [f"d.term_id = {self._sql.bind(start.terms[0])}", *tests], ""
        if start.ids:
            found.append(f"d.run_id IN ({start.ids})")
            # SQLite would walk all runs to find a given few of them.
            hint = "" if self._sql.is_postgres else " INDEXED BY ix_run_terms_run_id_term_id"
        return self._branch(self._loss() if self._by_loss else "d.created_at", found, hint)

    def _branch(self, key: str, found: Sequence[str], hint: str = "") -> str:
        bounds = self._conditions
        where = [*found, *bounds.created.of(self._sql, "d.created_at")]
        if bounds.loss:
            where += self._in_loss(key if self._by_loss else self._loss())
        if self._after is not None:
            where.append(f"({key}, d.run_id) {self._beyond} {self._sql.bind_all(self._after)}")
        return (
            f"SELECT {key} AS key, d.run_id AS run_id FROM run_terms AS d{hint} "
            f"WHERE {_all(*where)} {self._ordered(key, 'd.run_id')}"
        )

    def _in_loss(self, loss: str) -> list[str]:
        return [*self._conditions.loss.of(self._sql, loss), f"{loss} < {self._no_loss}"]

    def _loss(self) -> str:
        """The loss of a run; read from the run itself until it ends."""
        return f"coalesce(d.rank, {self._loss_of_unended()})"

    def _loss_of_unended(self) -> str:
        loss = "SELECT r.best_selection_loss FROM runs r WHERE r.run_id = d.run_id"
        return f"coalesce(({loss}), {self._no_loss})"


def _all(*conditions: str) -> str:
    return " AND ".join(conditions)
