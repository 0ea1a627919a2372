"""Baselines as texts: the table of one result, and a line for each in a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from mentorgrad.cli.support.output import Output, number
from mentorgrad.domain.run import Baseline, RunResult


def show_baselines(out: Output, result: RunResult) -> None:
    """Prints the table of a result's baselines, if there are any."""
    if result.baselines:
        columns = ("baseline", "test loss", "test accuracy", "labelled rows", "detail")
        rows = [
            (item.name, *_figures(item), str(item.labelled_rows), item.detail)
            for item in result.baselines
        ]
        out.table(columns, rows)


def compared_baselines(results: Sequence[RunResult | None]) -> list[tuple[str, ...]]:
    """A row for each baseline that any result has: its name and its test figures in each."""
    found = [
        {item.name: item for item in (result.baselines if result else ())} for result in results
    ]
    names = dict.fromkeys(name for of_result in found for name in of_result)
    return [
        (
            f"{name} (test loss, accuracy)",
            *(", ".join(_figures(of_result.get(name, Baseline()))) for of_result in found),
        )
        for name in names
    ]


def _figures(item: Baseline) -> tuple[str, str]:
    """Test loss and accuracy; dashes without a score."""
    if item.test is None:
        return number(None), number(None)
    return number(item.test.loss), number(item.test.accuracy, 3)
