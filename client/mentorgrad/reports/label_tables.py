"""Tables of what a classifier predicts for the test rows of each label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mentorgrad.domain.event import EventKind, Finished
from mentorgrad.domain.label_score import LabelScore
from mentorgrad.domain.query import EventQuery, RunReader
from mentorgrad.reports.tables import ReportTable
from mentorgrad.reports.texts import DASH, number

MOST_PRINTED_LABELS = 12
"""Labels up to which a matrix is printed on a terminal."""


def recorded_label_scores(reader: RunReader, run_id: str) -> tuple[LabelScore, ...]:
    """The label scores of a run's final test; empty for a run that is no classifier, has no test
    rows, has not ended, or was recorded before there were any.

    Raises:
        NotFound: The run does not exist.
    """
    ends = reader.events(run_id, EventQuery(kinds=(EventKind.FINISHED,)))
    found = [event.payload for event in ends if isinstance(event.payload, Finished)]
    return found[-1].label_scores if found else ()


def label_tables(scores: Sequence[LabelScore], most: int) -> Iterator[ReportTable]:
    """The figures of each label, and the matrix if it is recorded and has at most `most` labels."""
    if not scores:
        return
    yield ReportTable(
        "Labels on test",
        ("label", "test rows", "predicted", "precision", "recall", "F1"),
        tuple(
            (
                one.label,
                f"{one.rows:,}",
                f"{one.predicted:,}",
                *(number(share, 3) for share in (one.precision, one.recall, one.f1)),
            )
            for one in scores
        ),
    )
    if len(scores) <= most and all(one.guesses for one in scores):
        labels, counts = [one.label for one in scores], [one.guesses for one in scores]
        yield matrix_table("Labels on test, by prediction", labels, counts)


def matrix_table(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> ReportTable:
    """Rows by label and prediction, `counts` [labels, labels]."""
    rows = tuple(
        (label, *(f"{count}" if count else DASH for count in of_label))
        for label, of_label in zip(labels, counts, strict=True)
    )
    return ReportTable(title, ("label", *labels), rows)
