"""What lists find runs by: an inverted index from terms to runs.

A term is one fact that runs share, such as their owner, their state, a label, or a value of a field
of their specs. `run_terms` has one row per run and term, in the orders of lists, so that the first
page of the runs with a term is read from the index alone, and so are the next ones. The id of a
term is a digest of it, so that a writer need not look it up.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mentorgrad.domain.run import Run, RunState
from mentorgrad.domain.run_fields import TEST, FieldValue, spec_values, value_of
from run_store import invariants
from run_store.paging import micros, rankable

UNENDED = tuple(state for state in RunState if not state.is_final)
"""States of runs that have no rank yet."""

NO_LOSS = math.inf
"""Rank of an ended run without a selection loss: it comes last."""


@functools.lru_cache(4096)
def term_id(field: str, value: str = "") -> int:
    """Id of a term, a signed 64-bit integer."""
    text = f"{len(field)}:{field}{value}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


ALL = term_id("run")
"""The term that every run has."""


def of_state(state: RunState) -> int:
    """The term of a state."""
    return term_id("state", state.value)


def of_label(key: str, value: str) -> int:
    """The term of a label."""
    return term_id(f"label.{key}", value)


def of_field(path: str, text: str) -> int:
    """The term of a value of a field; see `mentorgrad.domain.run_fields`."""
    return term_id(path, text)


def field_values(run: Run) -> list[FieldValue]:
    """The values of a run that are recorded as terms of fields."""
    return [*spec_values(run.spec), *figure_values(run)]


def figure_values(run: Run) -> Iterator[FieldValue]:
    """Those of them that a run has only once it has ended."""
    test = run.result.test if run.result is not None else None
    for name in TEST if test is not None else ():
        figure = getattr(test, name)
        if figure is not None and math.isfinite(figure):
            yield value_of(f"result.test.{name}", figure)


def terms_of(run: Run, experiment_id: str, values: Iterable[FieldValue]) -> set[int]:
    """All terms of a run, whose `field_values` are given."""
    facts: Mapping[str, str] = {
        "experiment": experiment_id,
        "project": run.project,
        "task": invariants.task_of(run.spec),
    }
    return {
        ALL,
        term_id("owner", run.owner),
        term_id("mentor", run.spec.mentor.name),
        of_state(run.state),
        *(term_id(field, value) for field, value in facts.items() if value),
        *(of_label(key, value) for key, value in run.labels.items()),
        *(of_field(value.field, value.text) for value in values),
    }


def rank_of(run: Run) -> float | None:
    """What the runs are ordered by in the order of losses; None: until the run ends, its loss is
    read from the run itself."""
    if not run.state.is_final:
        return None
    loss = rankable(run.best_selection_loss)
    return NO_LOSS if loss is None else loss


def posting_rows(run: Run, terms: Iterable[int]) -> list[dict[str, Any]]:
    """Rows of `run_terms`."""
    assert run.created_at is not None  # noqa: S101 - a run that was created
    created, rank = micros(run.created_at), rank_of(run)
    return [
        {"term_id": term, "created_at": created, "run_id": run.run_id, "rank": rank}
        for term in sorted(terms)
    ]


def term_rows(values: Iterable[FieldValue]) -> list[dict[str, Any]]:
    """Rows of `field_terms`, in the order in which concurrent writers insert them."""
    rows = {
        term: {"term_id": term, "field": value.field, "number": value.number}
        for value in values
        for term in (of_field(value.field, value.text),)
    }
    return [rows[term] for term in sorted(rows)]


def text_rows(run: Run, is_numbered: bool) -> list[dict[str, Any]]:
    """The row of `run_texts`, case-folded; none without a text.

    Args:
        run: The run.
        is_numbered: Whether the database numbers the rows itself, as SQLite does: its full-text
            index is much smaller if they are numbered from 1.
    """
    name = run.spec.name.casefold()
    labels = (part for pair in run.labels.items() for part in pair)
    other = "\n".join(filter(None, [run.note, *labels])).casefold()
    if not name and not other:
        return []
    row = {"run_id": run.run_id, "name": name, "other": other}
    return [row if is_numbered else row | {"text_id": term_id("text", run.run_id)}]
