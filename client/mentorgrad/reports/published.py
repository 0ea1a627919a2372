"""Published figures beside those of an experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mentorgrad.domain.experiment import Report
from mentorgrad.domain.run import Score
from mentorgrad.domain.spec import Criterion
from mentorgrad.means import mean
from mentorgrad.reports.tables import ReportTable
from mentorgrad.reports.texts import DASH, number
from mentorgrad.schema import bounded


@dataclass(frozen=True)
class PublishedFigure:
    """A figure that somebody has published, and what it compares with."""

    task: str = bounded("", required=True)
    """Name of the task in the experiment."""
    arm: str = bounded("", required=True)
    """Name of the arm that follows what was done."""
    value: float = bounded(0.0, ge=-1.0, le=1.0)
    """The figure."""
    source: str = bounded("", required=True)
    """Where it stands."""
    variation: str = ""
    """Name of the variation; empty: all of them."""
    metric: Criterion = Criterion.ACCURACY
    """What it measures on the test rows."""
    note: str = ""
    """In what it differs from the arm; empty: nothing is known."""


def published_table(
    report: Report,
    figures: Sequence[PublishedFigure],
    test_of: Callable[[str], Score | None],
) -> ReportTable:
    """The figures, and the means of the runs that they compare with.

    Args:
        report: The experiment's report.
        figures: The published figures.
        test_of: Id of a run → its test score; None if it has none.
    """
    return ReportTable(
        "Published figures",
        ("arm", "task", "metric", "published", "here", "runs", "source", "note"),
        tuple(_row(report, figure, test_of) for figure in figures),
        "Test rows, seeds and settings can differ; the experiment's file says in what.",
    )


def _row(
    report: Report, figure: PublishedFigure, test_of: Callable[[str], Score | None]
) -> tuple[str, ...]:
    scores = [
        test_of(cell.run_id)
        for cell in report.cells
        if (cell.arm, cell.task) == (figure.arm, figure.task)
        and figure.variation in ("", cell.variation)
        and cell.test_loss is not None
    ]
    values = [getattr(score, figure.metric) for score in scores if score is not None]
    known = [value for value in values if value is not None]
    return (
        figure.arm,
        figure.task + (f", {figure.variation}" if figure.variation else ""),
        figure.metric.value.replace("_", " "),
        number(figure.value, 3),
        number(mean(known), 3) if known else DASH,
        str(len(known)),
        figure.source,
        figure.note,
    )
