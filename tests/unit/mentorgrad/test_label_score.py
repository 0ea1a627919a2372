"""The scores of each label follow from the rows by label and prediction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentorgrad.domain.event import Created, Finished
from mentorgrad.domain.label_score import MOST_GUESSED_LABELS, label_scores
from mentorgrad.domain.run import RunState
from mentorgrad.reports.label_tables import label_tables, recorded_label_scores
from mentorgrad.reports.run_report import run_page
from mentorgrad.schema import evolve
from run_store.temporary_store import TemporaryRunStore
from tests.support.toy_run import toy_log

COUNTS = np.array([[9, 1], [3, 7]])


def test_precision_recall_and_f1_are_those_of_the_matrix() -> None:
    good, bad = label_scores(("good", "bad"), COUNTS)
    assert (good.label, good.rows, good.predicted, good.guesses) == ("good", 10, 12, (9, 1))
    assert (good.precision, good.recall, good.f1) == (0.75, 0.9, pytest.approx(9 / 11))
    assert (bad.precision, bad.recall, bad.f1) == (0.875, 0.7, pytest.approx(7 / 9))


def test_what_has_no_rows_has_no_share() -> None:
    seen, unseen, guessed = label_scores(("a", "b", "c"), np.array([[1, 0, 1], [0] * 3, [0] * 3]))
    assert (seen.precision, seen.recall) == (1.0, 0.5)
    assert (unseen.precision, unseen.recall, unseen.f1) == (None, None, None)
    assert (guessed.precision, guessed.recall, guessed.f1) == (0.0, None, 0.0)


@given(st.integers(1, MOST_GUESSED_LABELS + 2), st.integers(0, 2**32 - 1))
def test_the_rows_of_all_labels_are_all_rows(labels: int, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, (labels, labels))
    scores = label_scores([str(label) for label in range(labels)], counts)
    assert sum(one.rows for one in scores) == sum(one.predicted for one in scores) == counts.sum()
    for one, of_label in zip(scores, counts.tolist(), strict=True):
        assert list(one.guesses) == (of_label if labels <= MOST_GUESSED_LABELS else [])
        for share in (one.precision, one.recall, one.f1):
            assert share is None or 0 <= share <= 1


def test_a_run_keeps_them_with_its_last_event_and_reports_show_them() -> None:
    store = TemporaryRunStore()
    run_id = store.import_run(toy_log()).run_id
    scores = recorded_label_scores(store, run_id)
    assert scores == label_scores(("good", "bad"), COUNTS)
    figures, matrix = label_tables(scores, 2)
    assert figures.rows[0] == ("good", "10", "12", "0.750", "0.900", "0.818")
    assert (matrix.columns, matrix.rows[1]) == (("label", "good", "bad"), ("bad", "3", "7"))
    assert [table.title for table in label_tables(scores, 1)] == [figures.title]
    assert figures.title in run_page(store, run_id)
    assert list(label_tables((), 9)) == []


def test_a_run_without_them_has_none() -> None:
    store = TemporaryRunStore()
    *log, last = toy_log()
    failed = evolve(last, payload=Finished(RunState.FAILED))
    assert recorded_label_scores(store, store.import_run([*log, failed]).run_id) == ()
    assert recorded_label_scores(store, store.create(Created())[0].run_id) == ()
